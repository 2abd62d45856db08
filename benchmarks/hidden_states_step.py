"""Time of one step of HiddenStates, with and without attention, over its floor, on CPU.

    python benchmarks/hidden_states_step.py --rounds 15

Floor: both bodies forward with the mapped states kept (the teacher's no_grad, sdpa), the student's
backward on the mean square of these, clipping and AdamW; no framework. Ours adds the losses: of
states ("states"), or of states and attention ("probabilities", "scores"), by hand; "lightning" is
"probabilities" inside Lightning with the shipped optimizer, callbacks and TensorBoard logger.
"plain" is the same loss as most people write it: eager attention whose probabilities are kept.

Ratios as in triple_loss_step.py. Random weights, dropout 0, float32; teacher BERT 12 x 256, student
6 x 256, 8 x 128 tokens, embeddings and every second layer mapped.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from relation_step import Workload
from timing.lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from timing.rounds import Step, compare
from torch import Tensor
from transformers import BertForMaskedLM
from triple_loss_step import LOG_EVERY, optimise

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import AttentionTerms, HiddenStates
from lit_distill.models import TeacherSpec
from lit_distill.training.distillation import Distillation

TERMS = {
    "states": None,
    "probabilities": AttentionTerms(),
    "scores": AttentionTerms(compare="scores"),
}


def mapped(model: BertForMaskedLM, batch: Batch, step: int) -> list[Tensor]:
    """The embeddings and every `step`-th layer's output (B, T, D), and no other kept."""
    kept: list[Tensor] = []
    layers = list(model.bert.encoder.layer)
    handles = [model.bert.embeddings.register_forward_hook(lambda *call: kept.append(call[2]))]
    for layer in layers[step - 1 :: step]:
        handles.append(layer.register_forward_hook(lambda *call: kept.append(_states(call[2]))))
    model.bert(batch["input_ids"], attention_mask=batch["attention_mask"])
    for handle in handles:
        handle.remove()
    return kept


def _states(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def fused(student: BertForMaskedLM) -> torch.optim.Optimizer:
    """AdamW over what is trained."""
    trained = [p for p in student.bert.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-6, fused=True)


def floor(work: Workload) -> Step:
    """The least that a step has to do."""
    teacher, student = work.models()
    optimizer = fused(student)

    def step() -> float:
        with torch.no_grad():
            mapped(teacher, work.batch, work.layers[0] // work.layers[1])
        ours = mapped(student, work.batch, 1)
        loss = torch.stack([states.square().mean() for states in ours]).sum()
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def method(work: Workload, attention: AttentionTerms | None) -> Distillation:
    """The shipped method on the workload's models."""
    made = HiddenStates(
        embeddings=True,
        attention=attention,
        teacher=TeacherSpec("in memory"),
        optimizer=shipped_optimizer("distilbert"),
    )
    return in_memory(made, *work.models())


def ours(work: Workload, attention: AttentionTerms | None) -> Step:
    """Our losses in a hand-written loop."""
    made = method(work, attention)
    student = made.student.model
    assert isinstance(student, BertForMaskedLM)
    optimizer, window = fused(student), AccumulationWindow.single(work.batch)
    student.train()

    def step() -> float:
        loss = window.total_loss(made.losses(work.batch, window))
        optimise(student, loss, optimizer)
        return loss.item()

    return step


def in_lightning(work: Workload) -> Step:
    """The method inside a Trainer, with the shipped optimizer, callbacks and logger."""
    callbacks = [*shipped_callbacks(), unseen_bar()]
    made = method(work, TERMS["probabilities"])
    return LightningSteps(made, work.batch, callbacks, LOG_EVERY)


def plain(work: Workload) -> Step:
    """The formula as most people write it: all states and eager probabilities, kept whole."""
    teacher, student = work.models()
    for model in (teacher, student):
        model.set_attn_implementation("eager")
    optimizer, factor = fused(student), work.layers[0] // work.layers[1]
    inputs = {name: work.batch[name] for name in ("input_ids", "attention_mask")}  # type: ignore[literal-required]
    mse = torch.nn.functional.mse_loss

    def step() -> float:
        wanted = {"output_hidden_states": True, "output_attentions": True}
        with torch.no_grad():
            theirs = teacher.bert(**inputs, **wanted)
        mine = student.bert(**inputs, **wanted)
        terms = [
            mse(s, t)
            for s, t in zip(mine.hidden_states, theirs.hidden_states[::factor], strict=True)
        ]
        pairs = zip(mine.attentions, theirs.attentions[factor - 1 :: factor], strict=True)
        loss = torch.stack([*terms, *(mse(s, t) for s, t in pairs)]).sum()
        optimise(student, loss, optimizer)
        return loss.item()

    return step


CANDIDATES: dict[str, Callable[[Workload], Step]] = {
    "floor": floor,
    "states": lambda work: ours(work, TERMS["states"]),
    "probabilities": lambda work: ours(work, TERMS["probabilities"]),
    "scores": lambda work: ours(work, TERMS["scores"]),
    "lightning": in_lightning,
    "plain": plain,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    own = [name for name in CANDIDATES if name != "floor"]
    parser.add_argument("--candidates", nargs="*", default=own, choices=list(CANDIDATES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    work = Workload(sequences=options.sequences, length=options.length)
    names = dict.fromkeys(["floor", *options.candidates])
    steps = {name: CANDIDATES[name](work) for name in names}
    compare(f"B={options.sequences} L={options.length}", steps, options.rounds)


if __name__ == "__main__":
    main()
