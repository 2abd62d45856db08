"""Probes at validations: students and teachers, when, and as they were left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from callbacks import ProbeReport
from lit_distill.errors import UserError
from lit_distill.measures.probing import Asked, MaskedPronouns, Metrics, ModelProbe
from lit_distill.measures.probing.asked import plain_engine
from lit_distill.models import load_tokenizer


@pytest.fixture
def probe(tmp_path: Path) -> MaskedPronouns:
    """Over words that the tiny models know, maybe in pieces."""
    book = {
        "he": "the",
        "she": "old",
        "work": ["[MASK] river runs past.", "cats read [MASK] books."],
    }
    path = tmp_path / "prompts.yaml"
    path.write_text(yaml.safe_dump({"en": book}))
    return MaskedPronouns(prompts=str(path), pieces="multiply")


def test_student_and_teacher_stand_beside_each_other(
    fit: Any, probe: MaskedPronouns, tiny_bert: Path
) -> None:
    trainer, module = fit(ProbeReport(probe, "pronouns"), taught=True)
    tokenizer = load_tokenizer(str(tiny_bert))
    logged = trainer.callback_metrics
    for prefix, model in (
        ("val/pronouns", module.student),
        ("val/teacher/pronouns", module.cast.teacher_models["teacher"]),
    ):
        found = probe.of(Asked("it", model.eval(), tokenizer, plain_engine(tokenizer)))
        assert {*found} == {
            name.removeprefix(f"{prefix}/") for name in logged if name.startswith(f"{prefix}/")
        }
        for name, value in found.items():
            assert logged[f"{prefix}/{name}"].item() == pytest.approx(value, abs=1e-5)


class Counting(ModelProbe):
    """Notes whom it asks, and whether they train."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def of(self, asked: Asked) -> Metrics:
        self.asked.append((asked.name, any(module.training for module in asked.model.modules())))
        return {"number": float(len(self.asked))}


def test_it_asks_before_the_first_step_and_then_as_often_as_is_wanted(fit: Any) -> None:
    probe = Counting()
    report = ProbeReport(probe, every=2)
    trainer, module = fit(report, taught=True, max_epochs=3, num_sanity_val_steps=1)
    assert probe.asked == [(name, False) for name in ("student", "teacher", "student", "student")]
    assert trainer.callback_metrics["val/probe/number"] == 4.0
    assert report.state_dict() == {"validations": 3}
    assert module.student.training


def test_what_cannot_be_asked_ends_the_run_before_its_first_step(
    fit: Any, probe: MaskedPronouns
) -> None:
    refusing = MaskedPronouns(probe.languages, probe.prompts, "refuse")
    words = {"en": {"he": "readold", "she": "old", "work": ["[MASK] river."]}}
    assert probe.prompts is not None
    Path(probe.prompts).write_text(yaml.safe_dump(words))
    with pytest.raises(UserError, match="The tokenizer of student writes 'readold' in"):
        fit(ProbeReport(refusing))
