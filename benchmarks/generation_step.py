"""Time of one on-policy step (GKD) over its floor, on CPU.

    python benchmarks/generation_step.py --rounds 7
    python benchmarks/generation_step.py --candidates lightning-jsd trl-gkd-jsd  # with trl

Floor: transformers' `generate` with a cache, a bare teacher forward (no_grad, sdpa, head on the
rows of what was written) and a bare student forward and backward on the cross-entropy of those
rows; no framework, no optimizer. Ours is the whole method inside Lightning with the shipped
optimizer, callbacks and TensorBoard logger: generation, losses, clipping, AdamW. trl: the trainer's
own `training_step` on prompts of one length with dropout off, clipping and AdamW by hand.

Ratios as in triple_loss_step.py. Random weights, float32; teacher Llama 8 x 512, student 4 x 256;
8 prompts of 64 tokens and 64 new ones at a vocabulary of 32,000, 4 of 32 and 32 at 128,000. No
text ends before: with random weights hardly any would.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from rounds import Step, compare
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from lit_distill.batch import Batch
from lit_distill.losses import Divergence, ForwardKL, JensenShannon, ReverseKL
from lit_distill.methods import GKD
from lit_distill.models import Sampling, TeacherSpec

SIZES = {32_000: (8, 64), 128_000: (4, 32)}
"""Prompts, and tokens of a prompt and of what is written after it, by vocabulary."""
LOG_EVERY = 50
DIVERGENCES: dict[str, Divergence] = {
    "fkl": ForwardKL(t_squared=False),
    "rkl": ReverseKL(t_squared=False),
    "jsd": JensenShannon(0.5, t_squared=False),
}


def llama(vocabulary: int, layers: int, width: int, seed: int) -> LlamaForCausalLM:
    """A Llama of random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=256,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


@dataclass
class Workload:
    """One vocabulary."""

    vocabulary: int

    def __post_init__(self) -> None:
        self.texts, self.tokens = SIZES[self.vocabulary]
        torch.manual_seed(2)
        self.prompts = torch.randint(5, self.vocabulary - 1, (self.texts, self.tokens))

    @property
    def name(self) -> str:
        return f"V={self.vocabulary}"

    def models(self) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
        """A fresh teacher and student; the same weights every time."""
        teacher = llama(self.vocabulary, 8, 512, 0).eval().requires_grad_(False)
        student = llama(self.vocabulary, 4, 256, 1)
        with torch.no_grad():
            for model in (teacher, student):  # that no text ends
                model.lm_head.weight[-1] = 0
                model.generation_config.eos_token_id = None
        return teacher, student.train()

    def batch(self) -> Batch:
        """Prompts without responses."""
        mask = torch.ones_like(self.prompts)
        nothing = torch.empty(0, dtype=torch.int64)
        return Batch(
            input_ids=self.prompts,
            attention_mask=mask,
            prompt_ids=self.prompts,
            prompt_mask=mask,
            tokens=torch.arange(self.prompts.numel()),
            rows=nothing,
            targets=nothing,
            labelled=torch.zeros(self.texts, dtype=torch.int64),
            language=torch.zeros(self.texts, dtype=torch.int64),
            sample_id=torch.arange(self.texts),
            counts={
                "tokens": self.prompts.numel(),
                "sequences": self.texts,
                "rows": 0,
                "masked": 0,
            },
        )

    def write(self, student: LlamaForCausalLM) -> Tensor:
        """Prompts and continuations (texts, 2 x tokens), by transformers."""
        student.eval()
        whole = student.generate(
            self.prompts,
            attention_mask=torch.ones_like(self.prompts),
            do_sample=True,
            top_k=0,
            max_new_tokens=self.tokens,
            eos_token_id=None,
            pad_token_id=0,
        )
        student.train()
        return whole

    def rows(self, model: LlamaForCausalLM, whole: Tensor) -> Tensor:
        """Logits (texts x tokens, V) that predict the continuation."""
        hidden = model.model(whole, use_cache=False).last_hidden_state
        return model.lm_head(hidden[:, self.tokens - 1 : -1].flatten(0, 1))


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    teacher, student = work.models()

    def step() -> float:
        whole = work.write(student)
        with torch.no_grad():
            work.rows(teacher, whole)
        targets = whole[:, work.tokens :].flatten()
        loss = functional.cross_entropy(work.rows(student, whole), targets)
        loss.backward()
        student.zero_grad(set_to_none=True)
        return loss.item()

    return step


def in_lightning(divergence: Divergence, work: Workload) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    method = GKD(
        divergence,
        student_share=1.0,
        sampling=Sampling(work.tokens),
        teacher=TeacherSpec("in memory"),
        optimizer=shipped_optimizer("fine_tuning"),
    )
    in_memory(method, *work.models())  # type: ignore[arg-type]
    return LightningSteps(method, work.batch(), [*shipped_callbacks(), unseen_bar()], LOG_EVERY)


def trl(trainer: str, beta: float, work: Workload) -> Step:
    """One of trl's trainers, where trl is installed."""
    import peer_trl_on_policy

    step: Step = getattr(peer_trl_on_policy, trainer)(beta, work)
    return step


CANDIDATES: dict[str, Callable[[Workload], Step]] = {
    "floor": floor,
    **{
        f"lightning-{name}": functools.partial(in_lightning, divergence)
        for name, divergence in DIVERGENCES.items()
    },
    "trl-gkd-jsd": functools.partial(trl, "gkd", 0.5),
    "trl-distillation-rkl": functools.partial(trl, "distillation", 1.0),
    "trl-distillation-jsd": functools.partial(trl, "distillation", 0.5),
}


def peak(work: Workload, name: str) -> float:
    """MiB above the start that three steps of a candidate reach, in a forked child (Linux)."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        step = CANDIDATES[name](work)
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak that building it had
        start = _resident("VmRSS")
        for _ in range(3):
            step()
        os.write(writing, str(_resident("VmHWM") - start).encode())
        os._exit(0)
    os.wait()
    return float(os.read(reading, 99))


def _resident(name: str) -> float:
    """MiB, of this process: resident now (VmRSS) or at the most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", action="store_true", help="peaks in the place of times")
    parser.add_argument("--vocabulary", type=int, nargs="*", default=list(SIZES))
    ours = [name for name in CANDIDATES if name.startswith("lightning")]
    parser.add_argument("--candidates", nargs="*", default=ours, choices=list(CANDIDATES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    for vocabulary in options.vocabulary:
        work = Workload(vocabulary)
        names = ["floor", *(name for name in options.candidates if name != "floor")]
        if options.memory:
            for name in names:
                print(f"{work.name:22} {name:14} {peak(work, name):6.0f} MiB above the start")
        else:
            compare(work.name, {name: CANDIDATES[name](work) for name in names}, options.rounds)


if __name__ == "__main__":
    main()
