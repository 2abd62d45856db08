"""torchdistill's `DistillationBox` on our batches: unmodified models, forward hooks, its losses.

Its `KDLoss` takes the softmax over dimension 1, which are the positions of (B, T, V): logits are
made (N, V) before it gets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import relation_step
from timing.workers import Step
from torch import Tensor, nn
from torch.nn import functional
from torchdistill.core.distillation import get_distillation_box
from torchdistill.losses.mid_level import KDLoss
from triple_loss_step import ALPHA_CE, ALPHA_COS, ALPHA_MLM, TEMPERATURE, Workload

from lit_distill.batch import Batch

Outputs = Mapping[str, Mapping[str, Tensor]]


class RowKD(KDLoss):  # type: ignore[misc]
    """`KDLoss` on logits at flat `rows` (N,), which leave padding out."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__(
            *("cls", "output") * 2, temperature=TEMPERATURE, alpha=ALPHA_MLM, beta=ALPHA_CE
        )
        self.rows = rows

    def flat(self, outputs: Outputs) -> Outputs:
        """The logits (N, V) in place of (B, T, V)."""
        return {"cls": {"output": outputs["cls"]["output"].flatten(0, 1)[self.rows]}}

    def forward(self, student: Outputs, teacher: Outputs, targets: Tensor) -> Tensor:
        loss: Tensor = super().forward(self.flat(student), self.flat(teacher), targets)
        return loss


class Cosine(nn.Module):
    """1 - cosine of the last states."""

    def __init__(self, student_path: str, teacher_path: str) -> None:
        super().__init__()
        self.paths = student_path, teacher_path

    def forward(self, student: Outputs, teacher: Outputs, targets: Tensor) -> Tensor:
        pairs = zip((student, teacher), self.paths, strict=True)
        ours, theirs = (outputs[path]["output"].flatten(0, 1) for outputs, path in pairs)
        return functional.cosine_embedding_loss(ours, theirs, ours.new_ones(len(ours)))


class Relations(nn.Module):
    """The plain formula of MiniLMv2, which torchdistill does not have."""

    def __init__(self, student: Sequence[str], teacher: Sequence[str], heads: int) -> None:
        super().__init__()
        self.paths, self.heads = (student, teacher), heads

    def forward(self, student: Outputs, teacher: Outputs, targets: None) -> Tensor:
        mine, theirs = (
            [outputs[path]["output"] for path in paths]
            for outputs, paths in zip((student, teacher), self.paths, strict=True)
        )
        return relation_step.whole_relations(mine, theirs, self.heads)


def triple_loss(work: Workload) -> Step:
    """`KDLoss` with its hard loss, and the cosine, which is written for it."""
    last = [f"bert.encoder.layer.{count - 1}.output" for count in work.layers]
    terms = {
        "kd": RowKD(work.rows),
        "cos": Cosine(student_path=last[1], teacher_path=last[0]),
    }
    weights = {"kd": 1.0, "cos": ALPHA_COS}
    hooks = [["cls", path] for path in last]
    return _steps(work.models(), work.batch, work.targets, terms, weights, hooks)


def relations(work: relation_step.Workload) -> Step:
    """Hooks on the projections of unmodified masked LMs, heads included."""
    hooks = [
        [f"bert.encoder.layer.{number - 1}.attention.self.{kind}" for kind in relation_step.KINDS]
        for number in (work.layer, work.layers[1])
    ]
    terms = {"relations": Relations(hooks[1], hooks[0], work.heads)}
    return _steps(work.models(), work.batch, None, terms, {"relations": 1.0}, hooks)


def _steps(
    models: tuple[nn.Module, nn.Module],
    batch: Batch,
    targets: Tensor | None,
    terms: Mapping[str, nn.Module],
    weights: Mapping[str, float],
    hooks: Sequence[Sequence[str]],
) -> Step:
    """As in torchdistill's examples, without their loop over epochs."""
    teacher, student = (
        {"forward_proc": "forward_batch_only_as_kwargs", "forward_hook": {"output": list(paths)}}
        for paths in hooks
    )
    sums = {name: {"criterion": term, "weight": weights[name]} for name, term in terms.items()}
    config = {
        "num_epochs": 1,
        "teacher": {**teacher, "requires_grad": False},
        "student": student,
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": sums}},
        "optimizer": {
            "key": "AdamW",
            "kwargs": {"lr": 1e-6, "fused": True},
            "max_grad_norm": 5.0,
        },
    }
    device = batch["input_ids"].device
    box = get_distillation_box(*models, {}, config, device, None, False, 1)
    box.pre_epoch_process(epoch=0)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    def step() -> float:
        loss = box.forward_process(inputs, targets=targets, supp_dict=None)
        box.post_forward_process(loss)
        return float(loss.item())

    return step
