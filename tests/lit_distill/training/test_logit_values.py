"""A method that sums log-likelihoods over spans of tokens, sure ones of its teacher first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from ranks import on_two_ranks
from shipped_methods import quiet_trainer
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from lit_distill.batch import Batch
from lit_distill.losses import CrossEntropy, ForwardKL, Term
from lit_distill.models import Ensemble, LanguageModel, LayerCopyStudent, TeacherSpec, shard, teach
from lit_distill.schedules import Constant
from lit_distill.training.distillation import Distillation
from lit_distill.training.logit_values import logit_values

BATCH = collate(samples(5, 100), extra=2)


def spans(count: int) -> Tensor:
    """The span of each row: two rows make one."""
    return torch.arange(count) // 2


def of_spans(log_q: Tensor, kl: Tensor) -> Tensor:
    """Probabilities of spans, each as important as the student is close to its teacher there."""
    numbers = spans(len(log_q))
    likely = torch.zeros(len(log_q) // 2 + 1, dtype=log_q.dtype).index_add(0, numbers, log_q).exp()
    return (likely[numbers] * torch.exp(-kl)).sum()


class Spans(Distillation):
    """`of_spans` as a term."""

    needs_teacher = True

    def losses(self, batch: Batch) -> dict[str, Term]:
        values = logit_values(
            self.student,
            [CrossEntropy(), ForwardKL(2.0)],
            batch["rows"],
            batch["targets"],
            self.student.encode(batch),
            self.teach(batch),
        )
        return {"spans": Term(of_spans(-values[0], values[1]), "rows")}


def models(folder: Path) -> tuple[LanguageModel, LanguageModel]:
    teacher = TeacherSpec(str(folder)).build().double()
    student = LayerCopyStudent().build(teacher, 0).double()
    return teacher.requires_grad_(False), student


def by_logits(teacher: LanguageModel, student: LanguageModel) -> Tensor:
    """The same from whole logits."""
    both = (model.logits(model.encode(BATCH).rows(BATCH["rows"])) for model in (student, teacher))
    own, theirs = both
    log_q = -CrossEntropy()(own, None, BATCH["targets"])
    return of_spans(log_q, ForwardKL(2.0)(own, theirs))


def test_a_method_makes_its_own_term_of_the_values(tiny_bert: Path) -> None:
    options: dict[str, Any] = {"dropout": 0.0, "optimizer": torch.optim.SGD}
    module = Spans(teacher=TeacherSpec(str(tiny_bert)), schedule=Constant(), **options)
    quiet_trainer(max_steps=1).fit(module, datamodule=Served([[BATCH]]))
    expected = by_logits(*models(tiny_bert)) / len(BATCH["rows"])
    assert module.logged["spans"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_gradient_is_that_of_whole_logits_also_with_weights_in_pieces(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """The second pass reads the heads of student and teacher again."""

    def loss(teacher: LanguageModel, student: LanguageModel) -> Tensor:
        taught = teach([teacher], Ensemble(), BATCH)
        losses = [CrossEntropy(), ForwardKL(2.0)]
        rows = BATCH["rows"], BATCH["targets"]
        values = logit_values(student, losses, *rows, student.encode(BATCH), taught)
        return of_spans(-values[0], values[1])

    whole = models(tiny_bert)
    expected = by_logits(*whole)
    expected.backward()

    def agree(student: LanguageModel) -> None:
        for (name, ours), theirs in zip(
            student.named_parameters(), whole[1].parameters(), strict=True
        ):
            grad = ours.grad.full_tensor() if isinstance(ours.grad, DTensor) else ours.grad
            if theirs.grad is None:
                assert grad is None or not grad.any(), name
            else:
                assert grad is not None
                torch.testing.assert_close(grad, theirs.grad, rtol=1e-11, atol=1e-13, msg=name)

    alone = models(tiny_bert)
    loss(*alone).backward()
    agree(alone[1])

    def work() -> None:
        distributed.init_process_group("gloo")
        pieces = models(tiny_bert)
        names = ("data_parallel", "tensor_parallel")
        for model in pieces:
            shard(model, init_device_mesh("cpu", (2, 1), mesh_dim_names=names))
        found = loss(*pieces)
        torch.testing.assert_close(found, expected)
        found.backward()
        agree(pieces[1])
        distributed.destroy_process_group()

    on_two_ranks(work, tmp_path / "log.txt")
