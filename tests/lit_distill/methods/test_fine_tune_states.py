"""Hidden states beside labels, against loops over single numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from labelled import classifier, collate, pairs

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import FineTune
from lit_distill.models import Ensemble, LanguageModel, LayerCopyStudent, TeacherSpec
from lit_distill.training.stages.stage import Stage
from lit_distill.training.states.layer_maps import TopAligned
from lit_distill.training.states.state_terms import StateTerms

TEXTS = pairs(5)
BATCH = collate(TEXTS, extra=2)
PAIRS = ((0, 2), (1, 3), (2, 4))


@pytest.fixture(scope="module")
def teacher(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tiny_bert, tmp_path_factory.mktemp("classifier"))


def built(folder: Path, states: StateTerms, stages: list[Stage] | None = None) -> FineTune:
    """Ready for a batch, in float64; dropout is off."""
    method = FineTune(states=states, teacher=TeacherSpec(str(folder)), stages=stages)
    teacher = TeacherSpec(str(folder)).build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent().build(teacher, 0).double()
    method.on_models_built()
    return method


def states_of(model: LanguageModel, batch: Batch) -> list[list[list[list[float]]]]:
    """States by layer, text, position and number, by Transformers' own forward."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    given = {name: batch[name] for name in names}  # type: ignore[literal-required]
    with torch.no_grad():
        found = model.model(**given, output_hidden_states=True).hidden_states
    return [state.tolist() for state in found]


@pytest.mark.parametrize("tokens", ["all", "first"])
def test_every_pair_is_a_mean_over_its_tokens(
    teacher: Path, tokens: Literal["all", "first"]
) -> None:
    method = built(teacher, StateTerms(TopAligned(below=True), tokens=tokens))
    ours, theirs = (states_of(model, BATCH) for model in (method.student, method.teacher))
    found = method.losses(BATCH, AccumulationWindow.single(BATCH))
    assert list(found) == ["hard", *(f"state_{own}_{other}" for own, other in PAIRS)]
    for own, other in PAIRS:
        values = []
        for text, (one, another, _) in enumerate(TEXTS):
            length = len(one) + len(another) if tokens == "all" else 1
            for place in range(length):
                both = zip(ours[own][text][place], theirs[other][text][place], strict=True)
                squares = [(s - t) ** 2 for s, t in both]
                values.append(sum(squares) / len(squares))
        term = found[f"state_{own}_{other}"]
        assert BATCH["counts"][term.per] == len(values)
        assert term.sum.item() == pytest.approx(sum(values), rel=1e-12)


def test_what_a_stage_leaves_out_is_not_computed(teacher: Path) -> None:
    """Neither states nor, where nobody hears it, the teacher."""
    plan = [Stage("labels", until=1, weights={"state_*": 0}), Stage("all")]
    method = built(teacher, StateTerms(TopAligned()), plan)
    window = AccumulationWindow.single(BATCH)
    window.factor = method.stages.factor
    del method.teachers["teacher"]
    assert list(method.losses(BATCH, window)) == ["hard"]
    only = AccumulationWindow.single(BATCH)
    only.factor = lambda term: float(term.startswith("state"))
    whole = built(teacher, StateTerms(TopAligned()))
    assert list(whole.losses(BATCH, only)) == ["state_1_3", "state_2_4"]


def test_states_without_a_counterpart_are_refused(teacher: Path) -> None:
    method = built(teacher, StateTerms())
    viewed = {f"teacher_{name}": BATCH[name] for name in ("input_ids", "attention_mask", "rows")}  # type: ignore[literal-required]
    batch = Batch(**{**BATCH, **viewed})  # type: ignore[typeddict-item]
    with pytest.raises(UserError, match="whose positions are not the student's"):
        method.losses(batch, AccumulationWindow.single(batch))  # type: ignore[arg-type]
    spec = TeacherSpec(str(teacher))
    several = FineTune(states=StateTerms(), teacher=spec, ensemble=Ensemble({"other": spec}))
    with pytest.raises(UserError, match=r"compares with one teacher, .*other"):
        several.on_models_built()
    with pytest.raises(UserError, match="learns from a teacher and none is given"):
        FineTune(states=StateTerms())
