"""What of stages cannot work, said before the first step; and when a stage ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from batches import Served, collate, samples
from lightning.pytorch import seed_everything
from shipped_methods import quiet_trainer

from lit_distill.errors import UserError
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, Student, TeacherSpec
from lit_distill.training.stages.progress import Progress
from lit_distill.training.stages.stage import Plateau, Stage, check_order

BATCH = collate(samples(4, 100))
LAST = Stage("last")


def fitted(folder: Path, plan: list[Stage], student: Student | None = None, **options: Any) -> None:
    seed_everything(0, verbose=False)
    module = TripleLoss(
        teacher=TeacherSpec(str(folder)),
        student=student or LayerCopyStudent(num_layers=2),
        stages=plan,
    )
    loop = quiet_trainer(max_steps=3, **options)
    try:
        loop.fit(module, datamodule=Served([[BATCH] * 3], [BATCH]))
    finally:
        assert loop.global_step == 0


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Stage("a", until=1, train=["encode"]), r"train names 'encode', .*did you mean .*encoder"),
        (
            Stage("a", until=1, freeze=["bert", "clss"]),
            r"freeze names 'clss', .*did you mean 'cls'",
        ),
        (Stage("a", until=1, freeze=["*"]), "nothing is left to train"),
        (Stage("a", until=1, weights={"ce": 2.0}), r"names 'ce', .* are kd, mlm, cos"),
        (Stage("a", until=1, weights={"*": 0}), r"all terms \(kd, mlm, cos\) have the factor 0"),
        (
            Stage("a", until=1, train=["cls.predictions.transform"], weights={"*": 0, "cos": 1}),
            r"its terms \(cos\) reach nothing of what it trains",
        ),
        (Stage("a", until=Plateau()), r"is watched by validations .* and this run has none"),
        (Stage("a", until=1, restore_best=True), r"is watched by validations"),
    ],
)
def test_a_stage_that_cannot_work_is_refused(tiny_bert: Path, stage: Stage, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(tiny_bert, [stage, LAST])


def test_what_is_wrong_with_a_later_stage_is_said_as_early(tiny_bert: Path) -> None:
    wrong = Stage("later", until=2, weights={"ce": 1.0})
    with pytest.raises(UserError, match="Stage later: weights names 'ce'"):
        fitted(tiny_bert, [Stage("a", until=1), wrong, LAST])


def test_a_stage_cannot_train_what_the_run_freezes(tiny_bert: Path) -> None:
    student = LayerCopyStudent(num_layers=2, freeze=["encoder.layer.0"])
    with pytest.raises(UserError, match=r"does not train in this run at all"):
        fitted(tiny_bert, [Stage("a", until=1, train=["encoder.layer.0"]), LAST], student)


def test_an_unknown_monitor_is_found_by_the_trial_validation(tiny_bert: Path) -> None:
    stage = Stage("a", until=Plateau(), monitor="val/lost")
    with pytest.raises(UserError, match=r"monitor is 'val/lost', .*has measured .*val/loss"):
        fitted(tiny_bert, [stage, LAST], limit_val_batches=1.0)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ([Stage("a"), LAST], "Stage a has no end"),
        ([Stage("a", until=3), Stage("b", until=3), LAST], "Stage b ends with update 3"),
        ([Stage("a", until=3), Stage("b", Plateau()), Stage("c", until=2), LAST], "earlier one"),
        ([Stage("a", until=1), Stage("a", until=2), LAST], "two stages 'a'"),
        ([Stage("a", until=3)], "the last one and ends with the run"),
        ([Stage("a", restore_best=True)], "leave restore_best out"),
    ],
)
def test_stages_that_do_not_follow_each_other_are_refused(plan: list[Stage], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_order(plan)


def test_numbers_outside_of_their_ranges_are_refused() -> None:
    for wrong in ({"until": 0}, {"rate": 0.0}, {"weights": {"kd": -1.0}}):
        with pytest.raises(UserError, match="use a"):
            Stage("a", **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="patience"):
        Plateau(patience=0)


def test_the_last_pattern_that_fits_a_term_holds() -> None:
    stage = Stage("a", weights={"*": 0, "state_*": 2, "state_0_1": 3})
    assert [stage.factor(term) for term in ("hard", "state_1_2", "state_0_1")] == [0.0, 2.0, 3.0]
    assert Stage("a", weights={"kd": 0}).factor("hard") == 1.0


def test_a_plateau_counts_validations_that_are_no_better() -> None:
    progress = Progress([Stage("a", Plateau(patience=2, min_delta=0.1)), LAST])
    values = [math.nan, 5.0, 4.95, 4.8, 4.75, 4.71]
    seen = [progress.see(value, update) for update, value in enumerate(values)]
    assert seen == [False, True, False, True, False, False]
    assert (progress.best, progress.best_at, progress.flat) == (4.8, 3, True)
    assert progress.is_over(6)
    progress.next(6)
    assert (progress.number, progress.began, progress.ends, progress.flat) == (1, 6, [6], False)
    assert progress.best is None
    assert not progress.is_over(10**6)


def test_a_plateau_ends_after_so_many_updates_all_the_same() -> None:
    progress = Progress([Stage("a", until=7), Stage("b", Plateau(most=5)), LAST])
    assert [progress.is_over(update) for update in (6, 7)] == [False, True]
    progress.next(7)
    assert [progress.is_over(update) for update in (11, 12)] == [False, True]


def test_other_stages_cannot_go_on_from_a_checkpoint() -> None:
    then = Progress([Stage("a", 1), Stage("b", 2), LAST])
    then.next(1)
    state = then.state()
    now = Progress([Stage("a", 1), Stage("b", 5), Stage("new", 7), LAST])
    now.restore(state)  # those to come may be others
    assert (now.number, now.ends) == (1, [1])
    for plan in ([Stage("b", 2), LAST], [LAST]):
        with pytest.raises(UserError, match="lies in stage 2 of its run, a, b"):
            Progress(plan).restore(state)


def test_a_run_of_no_stages_is_not_touched(tiny_bert: Path) -> None:
    module = TripleLoss(teacher=TeacherSpec(str(tiny_bert)))
    loop = quiet_trainer()
    loop.fit(module, datamodule=Served([[BATCH]]))
    assert module.stages not in loop.callbacks  # type: ignore[attr-defined]
