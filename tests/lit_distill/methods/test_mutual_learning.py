"""Deep mutual learning against loops over the models' own logits; the average as a peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cohorts import BATCH, built, carved, fit, fresh, logits_of, loss_and_gradients, weights
from oracles import mutual as oracle

from lit_distill.errors import UserError
from lit_distill.losses.fused import row_pass
from lit_distill.losses.fused.tiles import buffers
from lit_distill.methods import MaskedLM, MutualLearning
from lit_distill.models import LayerCopyStudent
from lit_distill.schedules import Constant

SGD: dict[str, Any] = {
    "optimizer": lambda groups: torch.optim.SGD(groups, lr=0.5),
    "schedule": Constant(warmup=0.0),
}


@pytest.mark.parametrize("to_mean", [False, True])
@pytest.mark.parametrize("layers", [(3, 2), (3, 2, 1)])
def test_it_is_the_formula(tiny_bert: Path, layers: tuple[int, ...], to_mean: bool) -> None:
    method = built(MutualLearning(1.5, 0.7, to_mean, students=carved(*layers)), tiny_bert)
    loss, _ = loss_and_gradients(method)
    logits = {name: logits_of(model, BATCH) for name, model in method.students.items()}
    targets = BATCH["targets"].tolist()
    expected = 0.0
    for name in logits:
        others = [logits[other] for other in logits if other != name]
        hard, soft = oracle.one_model(logits[name], others, targets, 1.5, to_mean)
        expected += (hard + 0.7 * soft).real / len(targets)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("tile_bytes", [None, 3000], ids=["one tile", "tiles of a few rows"])
def test_without_weight_every_peer_is_alone_bit_for_bit(
    tiny_bert: Path, tile_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the memory for tiles, which peers that hear each other share."""
    if tile_bytes is not None:
        monkeypatch.setattr(row_pass, "buffers", lambda heads, _: buffers(heads, tile_bytes))
    students = fresh(a=1, b=2, c=1)
    together = MutualLearning(alpha=0.0, students=students, **SGD)
    fit(together, tiny_bert, gradient_clip_val=0.5)
    for name, start in students.items():
        alone = MaskedLM(students={name: start}, **SGD)
        fit(alone, tiny_bert, gradient_clip_val=0.5)
        assert torch.equal(weights(alone)[name], weights(together)[name]), name


def test_a_student_learns_from_the_average_of_itself(tiny_bert: Path) -> None:
    method = MutualLearning(decay=0.9, students=fresh(one=1), **SGD)
    seen = []
    step = method.optimizer_step

    def noted(*args: Any, **options: Any) -> None:
        before = weights(method)
        step(*args, **options)
        seen.append((before, weights(method)))

    method.optimizer_step = noted  # type: ignore[method-assign]
    trainer = fit(method, tiny_bert, updates=3, accumulate=2)
    assert list(method.students) == ["one", "average"]
    assert len(seen) == 3
    for before, after in seen:
        followed = 0.9 * before["average"] + 0.1 * after["one"]
        torch.testing.assert_close(after["average"], followed, rtol=1e-5, atol=1e-7)
    assert torch.equal(seen[0][0]["average"], seen[0][0]["one"])
    average = method.students["average"]
    assert not average.training
    assert method.students["one"].training
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert optimised == {id(p) for p in method.students["one"].parameters()}
    assert set(method.logged) == {"one/mlm", "one/kl", "loss"}


def test_an_average_that_has_moved_pulls(tiny_bert: Path) -> None:
    method = built(MutualLearning(decay=0.9, students={"one": LayerCopyStudent()}), tiny_bert)
    assert method.losses(BATCH)["one/kl"].sum.abs() < 1e-12  # it is still the student itself
    with torch.no_grad():
        next(method.students["average"].parameters()).add_(1.0)
    logits = {name: logits_of(model, BATCH) for name, model in method.students.items()}
    _, soft = oracle.one_model(logits["one"], [logits["average"]], BATCH["targets"].tolist(), 1.0)
    kl = method.losses(BATCH)["one/kl"].sum
    assert kl.item() == pytest.approx(soft.real, rel=1e-12)
    assert set(loss_and_gradients(method)[1]) == {"one"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"students": fresh(one=1)}, "give several"),
        ({"students": fresh(one=1, two=1), "decay": 0.9}, "give several"),
        ({"students": fresh(one=1, average=1)}, "name of its average"),
        ({"decay": 1.0}, r"decay is 1.0: .* in \(0, 1\)"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MutualLearning(**options)
