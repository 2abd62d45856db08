"""A step of forward KL on given text, for decoders: floor, ours, and the plain formula.

Floor: a bare teacher forward (no_grad, sdpa, head at the completion's rows) and a bare student
forward and backward on its own cross-entropy there; no framework, no optimizer. Ours is
`SupervisedKD` inside Lightning with the shipped optimizer, callbacks and logger. Random weights,
dropout 0; teacher Llama 8 x 512, student 4 x 256, tied heads.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from timing.lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from timing.workers import Step
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from triple_loss_step import LOG_EVERY, optimise

from lit_distill.batch import Batch
from lit_distill.losses import ForwardKL
from lit_distill.methods import SupervisedKD
from lit_distill.models import TeacherSpec


def llama(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A Llama of random weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


@dataclass
class Workload:
    """Prompts and completions of one length each; the completion's tokens are the rows.

    `layers` and `widths` are the teacher's and the student's.
    """

    vocabulary: int
    sequences: int
    prompt: int
    completion: int
    layers: tuple[int, int] = (8, 4)
    widths: tuple[int, int] = (512, 256)
    heads: tuple[int, int] = (8, 4)
    feed_forward: int = 4
    key_value_heads: int = 4
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @functools.cached_property
    def batch(self) -> Batch:
        """Texts without padding; the row before a token predicts it."""
        torch.manual_seed(2)
        length = self.prompt + self.completion
        shape, positions = (self.sequences, length), self.sequences * length
        ids = torch.randint(4, self.vocabulary, shape)  # below: special tokens of the peers
        rows = torch.arange(positions).view(shape)[:, self.prompt - 1 : -1].flatten()
        targets = ids[:, self.prompt :].flatten()
        count = len(rows)
        return Batch(
            input_ids=ids.to(self.device),
            attention_mask=torch.ones(shape, dtype=torch.int64, device=self.device),
            tokens=torch.arange(positions, device=self.device),
            rows=rows.to(self.device),
            targets=targets.to(self.device),
            language=torch.zeros(self.sequences, dtype=torch.int64, device=self.device),
            counts={"tokens": positions, "masked": 0, "rows": count, "sequences": self.sequences},
        )

    def models(self) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
        """A fresh teacher and student; the same weights every time."""
        sizes = zip(self.layers, self.widths, self.heads, strict=True)
        configs = [
            LlamaConfig(
                vocab_size=self.vocabulary,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=self.key_value_heads,
                intermediate_size=self.feed_forward * width,
                max_position_embeddings=self.prompt + self.completion,
                tie_word_embeddings=True,
                attn_implementation="sdpa",
                use_cache=False,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            )
            for layers, width, heads in sizes
        ]
        teacher, student = (
            llama(config, seed).to(self.device, self.dtype) for seed, config in enumerate(configs)
        )
        return teacher.eval().requires_grad_(False), student.train()

    def hidden(self, model: LlamaForCausalLM) -> Tensor:
        """Last hidden states (N, D) of the rows."""
        batch = self.batch
        output = model.model(batch["input_ids"], attention_mask=batch["attention_mask"])
        return output.last_hidden_state.flatten(0, 1).index_select(0, batch["rows"])


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    teacher, student = work.models()
    targets = work.batch["targets"]

    def step() -> float:
        with torch.no_grad():
            teacher.lm_head(work.hidden(teacher))
        loss = functional.cross_entropy(student.lm_head(work.hidden(student)), targets)
        loss.backward()
        student.zero_grad(set_to_none=True)
        return loss.item()

    return step


def plain(work: Workload) -> Step:
    """Rows selected before the head, then two log-softmaxes, `kl_div` and autograd."""
    teacher, student = work.models()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)

    def step() -> float:
        with torch.no_grad():
            log_p = teacher.lm_head(work.hidden(teacher)).log_softmax(-1)
        log_q = student.lm_head(work.hidden(student)).log_softmax(-1)
        loss = functional.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def in_lightning(work: Workload) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    method = SupervisedKD(
        divergence=ForwardKL(),
        teacher=TeacherSpec("in memory"),
        optimizer=shipped_optimizer("small_model"),
    )
    callbacks = [*shipped_callbacks(), unseen_bar()]
    return LightningSteps(in_memory(method, *work.models()), work.batch, callbacks, LOG_EVERY)
