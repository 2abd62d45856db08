"""Changes of a student: written down as plain values, made again, undone in an export."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from own_surgeries import Gates

import lit_distill.models
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import (
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    LoRA,
    PretrainedStudent,
    Student,
    Surgery,
    TeacherSpec,
    VocabularyTransferStudent,
    student_from_state,
    student_state,
    undo,
)
from lit_distill.models.students.surgery import class_path, describe, surgery_from

MakeBatch = Callable[..., Batch]


def moved(model: LanguageModel) -> LanguageModel:
    """With other values in all that trains."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def test_a_changed_student_comes_back_and_is_plain_in_the_end(
    tiny_bert: Path, make_batch: MakeBatch, tmp_path: Path
) -> None:
    spec = PretrainedStudent(str(tiny_bert), surgeries=[Gates(), Gates("output.dense", 0.5)])
    student = moved(spec.build(None, 0))
    batch = make_batch(student)
    state = json.loads(json.dumps(student_state(student)))
    again = student_from_state(state, student.state_dict())
    again.load_state_dict(student.state_dict(), strict=True)
    assert student_state(again) == state
    before = student.logits(student.encode(batch).rows(batch["tokens"]))
    assert torch.equal(again.logits(again.encode(batch).rows(batch["tokens"])), before)
    undo(again, tmp_path)
    plain = PretrainedStudent(str(tiny_bert)).build(None, 0)
    assert again.state_dict().keys() == plain.state_dict().keys()
    assert student_state(again)["surgeries"] == []
    after = again.logits(again.encode(batch).rows(batch["tokens"]))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    assert not torch.allclose(after, plain.logits(plain.encode(batch).rows(batch["tokens"])))


@pytest.mark.parametrize("start", ["pretrained", "layers", "fresh", "vocabulary"])
def test_every_start_may_be_changed(tiny_bert: Path, start: str) -> None:
    surgeries, teacher = [Gates()], TeacherSpec(str(tiny_bert)).build()
    student: Student = {
        "pretrained": PretrainedStudent(str(tiny_bert), surgeries=[*surgeries]),
        "layers": LayerCopyStudent(surgeries=[*surgeries]),
        "fresh": FreshStudent(surgeries=[*surgeries]),
        "vocabulary": VocabularyTransferStudent(*[str(tiny_bert)] * 2, surgeries=[*surgeries]),
    }[start]
    model = student.build(teacher, 0)
    assert all(isinstance(layer.intermediate.dense.gate, torch.Tensor) for layer in model.layers)
    assert model.surgeries == [describe(Gates())]
    assert not any("gate" in name for name, _ in teacher.named_parameters())
    # weights of a carved or fresh student are in no folder
    known = model.config.name_or_path
    assert known == (str(tiny_bert) if start == "pretrained" else "")


def test_ours_are_known_by_the_package_whatever_their_file() -> None:
    assert class_path(LoRA) == "lit_distill.models.LoRA"
    assert class_path(Gates) == "own_surgeries.Gates"
    for kind in Surgery.__subclasses__():
        if kind.__module__.startswith("lit_distill."):
            assert getattr(lit_distill.models, kind.__name__) is kind
    assert surgery_from(describe(LoRA(rank=3))) == LoRA(rank=3)


@pytest.mark.parametrize(
    "path",
    ["strange_module.Strange", "subprocess.Popen", "torch.nn.Linear",
     "lit_distill.models.FreshStudent", "lit_distill.models.Surgery", "Gates", ""],
)  # fmt: skip
def test_a_checkpoint_cannot_name_what_is_run(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange_module.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from lit_distill.models import Surgery\nclass Strange(Surgery): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = path.partition(".")[0]
    with pytest.raises(UserError, match=rf"permit its module \(--allow-module {module}\)"):
        surgery_from({"class_path": path, "init_args": {}})
    assert not (tmp_path / "ran").exists()
    assert "strange_module" not in sys.modules


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 3}, "does not take what was saved of it"),
        ({"rank": 0}, "LoRA.rank is 0"),
        ({"rank": "__import__"}, "LoRA.rank is '__import__'"),
        ({"targets": [3]}, "does not take"),
    ],
)
def test_what_a_checkpoint_gives_is_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        surgery_from({"class_path": "lit_distill.models.LoRA", "init_args": values})


@dataclass(frozen=True)
class Unwritten(Gates):
    odd: Any = field(default=torch.float32)


def test_what_a_checkpoint_could_not_hold_is_refused_at_the_start(tiny_bert: Path) -> None:
    with pytest.raises(UserError, match=r"cannot hold the surgery Unwritten .*frozen dataclass"):
        PretrainedStudent(str(tiny_bert), surgeries=[Unwritten()]).build(None, 0)


def test_nothing_left_to_train_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(UserError, match=r"BertForMaskedLM, is left to train \(frozen: \*\)"):
        PretrainedStudent(str(tiny_bert), freeze=["*"]).build(None, 0)
    spec = PretrainedStudent(str(tiny_bert), freeze=["*"], surgeries=[Gates()])
    trained = [name for name, p in spec.build(None, 0).named_parameters() if p.requires_grad]
    assert len(trained) == 4
    assert all(name.endswith("gate") for name in trained)
