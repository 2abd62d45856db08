"""trl's `GKDTrainer` and `DistillationTrainer` on our batches.

Both run their whole `train`, with a loader of ours. `DistillationTrainer` knows only text of the
student's own: here it is handed the given completions where it would have generated its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from causal_step import Workload
from datasets import Dataset
from timing.loops import STEPS, LoopSteps, Requests
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from trl import DistillationConfig, DistillationTrainer
from trl.experimental.gkd import GKDConfig, GKDTrainer

from lit_distill.batch import IGNORED

SPECIAL = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}


class GKD(GKDTrainer):  # type: ignore[misc]
    """Reads the given loader, and keeps the loss of the latest step."""

    requests: Requests[Any]
    latest: Tensor

    def get_train_dataloader(self) -> Requests[Any]:
        return self.requests

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self.latest = super().training_step(*args, **kwargs)
        return self.latest


class Distillation(DistillationTrainer):  # type: ignore[misc]
    """The same, with given completions."""

    requests: Requests[Any]
    latest: Tensor

    def get_train_dataloader(self) -> Requests[Any]:
        return self.requests

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        return generation_batch

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self.latest = super().training_step(*args, **kwargs)
        return self.latest


def gkd(work: Workload) -> LoopSteps[Any]:
    """Supervised GKD: given text only (lmbda 0), forward KL (beta 0)."""
    ids, mask = work.batch["input_ids"], work.batch["attention_mask"]
    labels = ids.clone()
    labels[:, : work.prompt] = IGNORED
    prompts = {
        "prompts": ids[:, : work.prompt],
        "prompt_attention_mask": mask[:, : work.prompt],
    }
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels, **prompts}
    config = GKDConfig(lmbda=0.0, beta=0.0, temperature=1.0, **_arguments(work))
    return _steps(GKD, config, work, batch)


def distillation(work: Workload) -> LoopSteps[Any]:
    """The chunked divergence of the main codebase, forward KL (beta 0)."""
    ids, mask = work.batch["input_ids"], work.batch["attention_mask"]
    batch = {
        "prompt_ids": ids[:, : work.prompt],
        "prompt_mask": mask[:, : work.prompt],
        "completion_ids": ids[:, work.prompt :],
        "completion_mask": mask[:, work.prompt :],
        "num_items_in_batch": mask[:, work.prompt :].sum(),
    }
    config = DistillationConfig(beta=0.0, temperature=1.0, **_arguments(work))
    return _steps(Distillation, config, work, batch)


def _arguments(work: Workload) -> dict[str, Any]:
    """What both are told: one step after another, nothing written, AdamW as everybody's."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "max_steps": STEPS,
        "per_device_train_batch_size": work.sequences,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": False,
        "bf16": False,  # the weights are, where the workload is
        "use_cpu": work.device == "cpu",
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch_fused",
        "max_grad_norm": 5.0,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _steps(
    trainer_class: type[Any], config: Any, work: Workload, batch: Mapping[str, Tensor]
) -> LoopSteps[Any]:
    teacher, student = work.models()
    vocabulary = {**SPECIAL, "word": len(SPECIAL)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "<unk>")),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
    )
    trainer = trainer_class(
        model=student,
        teacher_model=teacher,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["word"], "messages": [[]]}),
        processing_class=tokenizer,
    )
    requests = trainer.requests = Requests(batch)
    return LoopSteps(requests, trainer.train, lambda: trainer.latest.item())
