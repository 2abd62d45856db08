"""Whether a teacher knows what it is asked about: its answers about some validation text.

Shapes: N rows, V outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lit_distill.batch import IGNORED
from lit_distill.cli.preflight.findings import Finding
from lit_distill.models import LanguageModel, Predicted, teacher_view
from lit_distill.training.distillation import Distillation

LANGUAGES, BATCHES, ROWS = 20, 16, 256
"""How many languages are looked at, and of each how many batches or answers, at most."""
GUESSING = 0.95
"""A loss above this share of that of even guessing says that nothing is known."""


@torch.no_grad()
def doubts(module: Distillation, loaders: Any) -> Iterator[Finding]:
    """Teachers whose answers are no better than guessing, or those to a shuffled question.

    Args:
        module: with its models.
        loaders: of validation.
    """
    loaders = loaders if isinstance(loaders, list) else [loaders]
    batches = [batch for loader in loaders[:LANGUAGES] for batch in _enough(loader)]
    for name, teacher in module.cast.teacher_models.items():
        kinds = (Predicted.TOKENS, Predicted.TEXT_LABELS, Predicted.TOKEN_LABELS)
        if not teacher.anatomy.has_head or teacher.anatomy.predicts not in kinds:
            continue
        answers = [_answers(teacher, batch) for batch in batches if _has_rows(batch)]
        if not answers:
            continue
        logits, targets = (torch.cat(parts) for parts in zip(*answers, strict=True))
        if teacher.anatomy.predicts == Predicted.TOKENS:
            yield from _of_tokens(name, logits, targets)
        else:
            labels = [str(one) for one in teacher.config.id2label.values()]
            yield from _of_labels(name, logits, targets, labels)


def _enough(loader: Any) -> Iterator[Any]:
    """The first batches of a loader, until they have some answers."""
    rows = 0
    for batch in islice(loader, BATCHES):
        yield batch
        rows += len(batch.get("rows", ())) if isinstance(batch, dict) else 0
        if rows >= ROWS:
            return


def _has_rows(batch: Any) -> bool:
    return isinstance(batch, dict) and "targets" in batch and len(batch["rows"]) > 0


def _answers(teacher: LanguageModel, batch: Any) -> tuple[Tensor, Tensor]:
    """Log-probabilities (N, V) and what was right (N,), of rows of the teacher's own view."""
    view = teacher_view(batch)
    moved = {
        k: v.to(next(teacher.parameters()).device) if isinstance(v, Tensor) else v
        for k, v in batch.items()
    }
    rows = moved["teacher_rows"] if view and "teacher_rows" in moved else moved["rows"]
    kept = moved["targets"] != IGNORED
    rows, targets = rows[kept][:ROWS], moved["targets"][kept][:ROWS]
    found = teacher.logits(teacher.encode(moved, view).rows(rows))  # type: ignore[arg-type]
    return found.float().log_softmax(-1).cpu(), targets.cpu()


def _of_tokens(name: str, logits: Tensor, targets: Tensor) -> Iterator[Finding]:
    loss, even = functional.nll_loss(logits, targets).item(), math.log(logits.shape[-1])
    if loss > GUESSING * even:
        yield Finding(
            "warning",
            name,
            f"What {name} says of the validation text has a loss of {loss:.2f} nats a token, and "
            f"guessing evenly has {even:.2f}: it knows nothing of this text.",
            "Is it the model that was meant, trained on these languages, with this tokenizer? A "
            "classifier or a headless body opened as a language model has a random head.",
        )


def _of_labels(name: str, logits: Tensor, targets: Tensor, labels: list[str]) -> Iterator[Finding]:
    chosen = logits.argmax(-1)
    right = (chosen == targets).float().mean().item()
    shares = torch.bincount(targets, minlength=len(labels)).float() / len(targets)
    commonest = shares.max().item()
    if right >= commonest or len(targets) < 20:
        return
    counts = torch.zeros(len(labels), len(labels))
    counts.index_put_((chosen, targets), torch.ones(len(targets)), accumulate=True)
    meant = counts.argmax(1)  # what is right where it says a label
    renamed = (meant[chosen] == targets).float().mean().item()
    text = (
        f"{name} is right in {right:.0%} of {len(targets)} validation answers, and the commonest "
        f"label alone in {commonest:.0%}."
    )
    remedy = "Is it a model of this task, and are text and labels those that it learnt?"
    if renamed > max(0.6, right + 0.3):
        pairs = [
            f"{labels[said]} as {labels[int(meant[said])]}"
            for said in range(len(labels))
            if counts[said].sum() and int(meant[said]) != said
        ]
        remedy = (
            f"Its labels stand in another order: {renamed:.0%} would be right by reading "
            f"{', '.join(pairs[:6])}. Give the data its order (--data.labels), or mend id2label."
        )
    yield Finding("warning", name, text, remedy)
