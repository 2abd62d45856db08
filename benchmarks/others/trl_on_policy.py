"""trl's `GKDTrainer` and `DistillationTrainer`, writing themselves, one training step at a time.

A step is the trainer's own `training_step` (generation, losses, backward), clipping and AdamW; what
its loop adds around that is not counted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import Dataset
from generation_workload import Workload
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import DistillationConfig, DistillationTrainer
from trl.experimental.gkd import GKDConfig, GKDTrainer

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def gkd(beta: float, work: Workload) -> Callable[[], float]:
    """Of the experimental part, on-policy (lmbda 1)."""
    config = GKDConfig(lmbda=1.0, beta=beta, max_new_tokens=work.tokens, **_arguments(work))
    mask, width = torch.ones_like(work.prompts), work.tokens
    # A given text as long as what will be written: by its length the loss is divided.
    ids = torch.cat([work.prompts, work.prompts], 1)
    labels = torch.cat([torch.full_like(work.prompts, -100), work.prompts], 1)

    def inputs() -> dict[str, torch.Tensor]:
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "prompts": work.prompts,
            "prompt_attention_mask": mask,
        }

    return _steps(GKDTrainer, config, work, inputs, work.texts * width)


def distillation(beta: float, work: Workload) -> Callable[[], float]:
    """The chunked divergence of the main codebase."""
    config = DistillationConfig(
        beta=beta, max_completion_length=work.tokens, top_p=1.0, **_arguments(work)
    )
    texts = [{"prompt": " ".join(f"w{token}" for token in row)} for row in work.prompts.tolist()]
    return _steps(DistillationTrainer, config, work, lambda: texts, None)


def _arguments(work: Workload) -> dict[str, Any]:
    return {
        "temperature": 1.0,
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": work.texts,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _steps(
    trainer_class: type[Any],
    config: Any,
    work: Workload,
    inputs: Callable[[], Any],
    items: int | None,
) -> Callable[[], float]:
    teacher, student = work.models()
    words = {f"w{number}": number for number in range(len(SPECIAL), work.vocabulary - 1)}
    vocabulary = {**{word: number for number, word in enumerate(SPECIAL)}, **words}
    engine = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=engine, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    with torch.no_grad():  # the trainers take the tokenizer's: no text may end there either
        for model in (teacher, student):
            model.lm_head.weight[2] = 0
    trainer = trainer_class(
        model=student,
        teacher_model=teacher,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["w5"], "messages": [[]]}),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    model = trainer.accelerator.prepare_model(student)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)

    def step() -> float:
        model.train()
        count = None if items is None else torch.tensor(items)
        loss = trainer.training_step(model, inputs(), count)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step
