"""Time of one triple-loss step over its floor, on CPU.

    python benchmarks/triple_loss_step.py --rounds 9

Floor: a bare teacher forward (no_grad, sdpa, head on the same rows) and a bare student forward and
backward on its own cross-entropy; no framework, no optimizer. Ours adds the losses, clipping and
AdamW, by hand ("ours") or inside Lightning with the shipped optimizer, callbacks and TensorBoard
logger ("lightning"); "plain" is the formula with whole logits and autograd.

Ratios are of process CPU time (all threads; one by default, for machines with other work), each
candidate against the floor of the same round; medians and quartiles of interleaved rounds in random
order. Random weights, dropout 0, float32; teacher BERT 12 x 256, student 6 x 256, 64 tokens a
sequence, 15 % masked; 8 sequences at a vocabulary of 30,522 and 4 at 119,547.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from timing.lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from timing.rounds import Step, compare, milliseconds
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM

from callbacks import NonFiniteLoss
from lit_distill.batch import Batch, row_targets
from lit_distill.losses import CrossEntropy, ForwardKL, Head, cosine, linear_losses
from lit_distill.methods import TripleLoss
from lit_distill.models import TeacherSpec
from lit_distill.training.distillation import Distillation

LENGTH, SHARE_MASKED = 64, 0.15
SEQUENCES = {30_522: 8, 119_547: 4}
TEMPERATURE, ALPHA_CE, ALPHA_MLM, ALPHA_COS = 2.0, 5.0, 2.0, 1.0
LOG_EVERY = 50


def bert(vocabulary: int, layers: int, width: int, seed: int) -> BertForMaskedLM:
    """A BERT of random weights."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(4, width // 64),
        intermediate_size=4 * width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    return BertForMaskedLM(config)


def random_batch(
    vocabulary: int, sequences: int, length: int = LENGTH, device: str = "cpu"
) -> Batch:
    """Sequences without padding; targets are random tokens."""
    torch.manual_seed(2)
    shape, positions = (sequences, length), sequences * length
    masked = round(SHARE_MASKED * positions)
    return Batch(
        input_ids=torch.randint(vocabulary, shape).to(device),
        attention_mask=torch.ones(shape, dtype=torch.int64, device=device),
        tokens=torch.arange(positions, device=device),
        rows=torch.randperm(positions)[:masked].sort().values.to(device),
        targets=torch.randint(vocabulary, (masked,)).to(device),
        language=torch.zeros(sequences, dtype=torch.int64, device=device),
        counts={"tokens": positions, "masked": masked, "rows": masked, "sequences": sequences},
    )


@dataclass
class Workload:
    """One vocabulary, and whether soft targets count at masked or at all positions."""

    vocabulary: int
    all_rows: bool
    layers: tuple[int, int] = (12, 6)
    width: int = 256
    sequences: int | None = None
    length: int = LENGTH
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @functools.cached_property
    def batch(self) -> Batch:
        """Made where it is first read: a GPU cannot be used before a process forks."""
        sequences = self.sequences or SEQUENCES[self.vocabulary]
        return random_batch(self.vocabulary, sequences, self.length, self.device)

    @functools.cached_property
    def rows(self) -> Tensor:
        """Flat positions of the soft targets."""
        return self.batch["tokens" if self.all_rows else "rows"]

    @functools.cached_property
    def targets(self) -> Tensor:
        """Tokens at these, `IGNORED` where none is masked."""
        return row_targets(self.batch, self.rows)

    @property
    def name(self) -> str:
        return f"V={self.vocabulary} {'all' if self.all_rows else 'masked'} rows"

    def models(self) -> tuple[BertForMaskedLM, BertForMaskedLM]:
        """A fresh teacher and student; the same weights every time."""
        teacher, student = (
            bert(self.vocabulary, layers, self.width, seed).to(self.device, self.dtype)
            for seed, layers in enumerate(self.layers)
        )
        return teacher.eval().requires_grad_(False), student.train()

    def selected(self, hidden: Tensor) -> Tensor:
        """The rows (N, D) that are projected; all of them need no selection."""
        return hidden if self.all_rows else hidden.index_select(0, self.rows)

    def hidden(self, model: BertForMaskedLM) -> Tensor:
        """Last hidden states (B*T, D)."""
        batch = self.batch
        output = model.bert(batch["input_ids"], attention_mask=batch["attention_mask"])
        return output.last_hidden_state.flatten(0, 1)


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    teacher, student = work.models()
    labels = work.batch["input_ids"].flatten() if work.all_rows else work.targets

    def step() -> float:
        with torch.no_grad():
            teacher.cls(work.selected(work.hidden(teacher)))
        loss = functional.cross_entropy(student.cls(work.selected(work.hidden(student))), labels)
        loss.backward()
        student.zero_grad(set_to_none=True)
        return loss.item()

    return step


def optimise(student: nn.Module, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Backward, clipping, update."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def ours(work: Workload) -> Step:
    """Our losses in a hand-written loop."""
    teacher, student = work.models()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    count = work.batch["counts"]["masked"]
    coefficients = [ALPHA_CE / len(work.rows), ALPHA_MLM / count]

    def head(model: BertForMaskedLM, hidden: Tensor) -> Head:
        predictions, rows = model.cls.predictions, work.selected(hidden)
        return Head(predictions.transform(rows), *predictions.decoder.parameters())

    def step() -> float:
        with torch.no_grad():
            teacher_hidden = work.hidden(teacher)
            teacher_head = head(teacher, teacher_hidden)
        hidden = work.hidden(student)
        kl, ce = linear_losses(
            [ForwardKL(TEMPERATURE), CrossEntropy()],
            head(student, hidden),
            teacher_head,
            work.targets,
            coefficients,
        )
        cos = cosine(hidden, teacher_hidden) * (ALPHA_COS / len(hidden))
        loss = kl * coefficients[0] + ce * coefficients[1] + cos
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def plain(work: Workload) -> Step:
    """The formula as most people write it: all logits, `kl_div`, autograd."""
    teacher, student = work.models()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)

    def step() -> float:
        with torch.no_grad():
            teacher_hidden = work.hidden(teacher)
            p = functional.softmax(teacher.cls(work.selected(teacher_hidden)) / TEMPERATURE, -1)
        hidden = work.hidden(student)
        logits = student.cls(work.selected(hidden))
        log_q = functional.log_softmax(logits / TEMPERATURE, -1)
        kl = functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
        ce = functional.cross_entropy(logits, work.targets)
        cos = (1 - functional.cosine_similarity(hidden, teacher_hidden)).mean()
        loss = ALPHA_CE * kl + ALPHA_MLM * ce + ALPHA_COS * cos
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def in_lightning(work: Workload) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    callbacks = [*shipped_callbacks(), unseen_bar()]
    return LightningSteps(method(work), work.batch, callbacks, LOG_EVERY)


def method(work: Workload) -> Distillation:
    """The shipped method with the shipped optimizer."""
    made = TripleLoss(
        teacher=TeacherSpec("in memory"),
        temperature=TEMPERATURE,
        alpha_kd=ALPHA_CE,
        alpha_mlm=ALPHA_MLM,
        alpha_cos=ALPHA_COS,
        restrict_kd_to_mask=not work.all_rows,
        optimizer=shipped_optimizer("distilbert"),
    )
    return in_memory(made, *work.models())


CANDIDATES: dict[str, Callable[[Workload], Step]] = {
    "floor": floor,
    "ours": ours,
    "lightning": in_lightning,
    "plain": plain,
}


def measure_logging(rounds: int) -> None:
    """Prints what watching adds to a tiny step (in a large one noise would hide it), to 0.3 ms."""
    work = Workload(200, all_rows=True, layers=(1, 1), width=16, sequences=1)
    watched = {
        "nothing": ([], 0),
        "logger": ([], LOG_EVERY),
        "logger, callbacks, bar": (
            [c for c in (*shipped_callbacks(), unseen_bar()) if not isinstance(c, NonFiniteLoss)],
            LOG_EVERY,
        ),
        "and NonFiniteLoss": ([*shipped_callbacks(), unseen_bar()], LOG_EVERY),
    }
    # Each twice, mirrored: where a Trainer's memory lies costs as much as what is measured.
    names = [*watched, *reversed(watched)]
    steps = [(name, LightningSteps(method(work), work.batch, *watched[name])) for name in names]
    usual, logging = ({name: [] for name in watched} for _ in range(2))
    order = random.Random(0)
    for number in range(1, LOG_EVERY * (rounds + 1) + 1):
        for name, step in order.sample(steps, len(steps)):
            elapsed = milliseconds(step)
            if number > LOG_EVERY:  # the first log opens files
                (usual if number % LOG_EVERY else logging)[name].append(elapsed)
    bare = statistics.median(usual["nothing"])
    for name in watched:
        each = statistics.median(usual[name]) - bare
        extra = statistics.median(logging[name]) - bare - each if name != "nothing" else 0.0
        print(
            f"{name:22} {each + extra / LOG_EVERY:5.2f} ms a step over {bare:.2f}: every step "
            f"{each:.2f}, every {LOG_EVERY}th step {extra:.1f} more"
        )
    for _, step in steps:
        step.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vocabulary", type=int, nargs="*", default=list(SEQUENCES))
    own = ["ours", "lightning"]
    parser.add_argument("--candidates", nargs="*", default=own, choices=list(CANDIDATES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    for vocabulary in options.vocabulary:
        for all_rows in (False, True):
            work = Workload(vocabulary, all_rows)
            names = dict.fromkeys(["floor", *options.candidates])
            compare(work.name, {name: CANDIDATES[name](work) for name in names}, options.rounds)
    measure_logging(options.rounds)


if __name__ == "__main__":
    main()
