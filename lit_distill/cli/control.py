"""`--control`: the runs with which a distilled student is to be compared.

`no_teacher` is the same run without the teacher's signal: the same start, text in the same order,
updates, optimizer and schedule; a teacher still gives layers to carved students, and
is compared with. `truncation` is the start itself, exported as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

from callbacks.saving.due_validation import end_without_training
from data_modules.objectives.objectives import Noised, NoTargets
from lit_distill.cli.parsing.types import imported
from lit_distill.errors import UserError
from lit_distill.methods import SupervisedKD
from lit_distill.models import FreshStudent
from lit_distill.training.distillation import Distillation

NO_TEACHER, TRUNCATION = "no_teacher", "truncation"
UNTRAINED = "the truncation control: nothing was trained, this is the start of a run"


def controlled(config: Namespace, parse: Callable[[Sequence[str]], Namespace]) -> Namespace:
    """The configuration of the control that it names; without one, itself.

    Args:
        config: as parsed.
        parse: reads the command line again, with more options at its end.

    Raises:
        UserError: there is no such control, or none of this run.
    """
    control = config["control"]
    if control is None:
        return config
    if control not in (NO_TEACHER, TRUNCATION):
        close = get_close_matches(control, (NO_TEACHER, TRUNCATION), 1)
        hint = f"did you mean {close[0]}?" if close else f"use {NO_TEACHER} or {TRUNCATION}."
        raise UserError(f"--control: {control!r} is none: {hint}")
    model = config["model"]
    if control == TRUNCATION:
        _check_start(model.get("init_args") or {})
        return config
    headless = not imported(model["class_path"]).needs_head
    config = parse([f"--model={json.dumps(_alone(model['class_path']))}"])
    _give_targets(config["data"].get("init_args") or {})
    if headless:
        _give_heads(config["model"]["init_args"])
    return config


def note_of(control: str | None, name: str) -> str:
    """What a model card says of a control; empty of another run.

    Args:
        control: which.
        name: of the method whose control it is.
    """
    if control != NO_TEACHER:
        return ""
    return f"the no-teacher control of a run of {name}: the same but for the teacher's signal"


def train_nothing(trainer: Trainer) -> None:
    """Has a fit end before its first update, as one does: validated, saved and exported."""
    loop: Any = trainer.fit_loop
    end_without_training(trainer, lambda _: None)
    end = loop.run

    def run() -> None:
        Distillation.of(trainer.lightning_module).notes = [UNTRAINED]
        loop.epoch_loop.max_steps = 0  # not before: schedules are made for the run's own
        end()

    loop.run = run


def _alone(path: str) -> dict[str, Any]:
    """A method without its teacher, as class and knobs; what both have keeps its value.

    Raises:
        UserError: it hears none.
    """
    method: type[Distillation] = imported(path)
    if method.alone is None and method.hears is None:
        peers = " Its students learn from each other: train each alone." * method.takes_several
        raise UserError(
            f"--control {NO_TEACHER}: {method.__name__} hears no teacher, so there is no control "
            f"without one.{peers}"
        )
    knobs = {"teacher_source": None, "teacher_cache": None, **(method.alone or {})}
    if method.alone is None:
        path = f"lit_distill.methods.{SupervisedKD.__name__}"
        knobs |= SupervisedKD.alone
    return {"class_path": path, "init_args": knobs}


def _give_targets(data: Any) -> None:
    """Has the method choose what is predicted where the data's objective has no targets."""
    objective = data.get("objective")
    if objective is not None and imported(objective["class_path"]) in (NoTargets, Noised):
        data["objective"] = None
        rank_zero_info("The control learns from tokens of the text, so it has targets.")


def _give_heads(model: Any) -> None:
    """Has students of a method of states begin with a head where their teacher has none."""
    students = model.get("students") or {}
    if model.get("student") is None and not students:
        model["student"] = {"class_path": "LayerCopyStudent", "init_args": {}}
    for start in filter(None, (model["student"], *students.values())):
        if "fresh_head" in signature(imported(start["class_path"])).parameters:
            start["init_args"]["fresh_head"] = True


def _check_start(model: Any) -> None:
    starts = [model.get("student"), *(model.get("students") or {}).values()]
    for start in filter(None, starts):
        kind = imported(start["class_path"])
        if isinstance(kind, type) and issubclass(kind, FreshStudent):
            raise UserError(
                f"--control {TRUNCATION}: a FreshStudent starts from random numbers, so there is "
                "nothing of the teacher to cut off: leave it out, or use LayerCopyStudent."
            )
