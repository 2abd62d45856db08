"""docs/one_step.md is true: its files are there, and they are the files that a step runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from shipped_methods import quiet_trainer

from data_modules import MultilingualCorpus
from data_modules.reading.sources import Source
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/one_step.md"
PACKAGES = ("lit_distill", "data_modules", "callbacks")


class Profile(Callback):
    """Notes which functions of ours run from the end of the first update to that of the second."""

    def __init__(self) -> None:
        self.ran: set[CodeType] = set()

    def on_train_batch_end(self, *_: Any) -> None:
        def note(frame: FrameType, event: str, _: Any) -> None:
            if event == "call" and ours(frame.f_code):
                self.ran.add(frame.f_code)

        sys.setprofile(None if sys.getprofile() else note)


def ours(code: CodeType) -> bool:
    path = Path(code.co_filename)
    inside = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES
    return inside and not code.co_name.startswith("<")  # lambdas, comprehensions, generators


@pytest.fixture
def ran(text_folder: Path, tiny_bert: Path, tmp_path: Path) -> set[CodeType]:
    """Functions of ours that one update of TripleLoss runs, the making of its batch included."""
    module = TripleLoss(
        student=LayerCopyStudent(num_layers=2),
        teacher=TeacherSpec(str(tiny_bert)),
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=1e-3),
    )
    data = MultilingualCorpus(
        [Source(files="{language}.txt")],
        str(text_folder),
        tokenizer=str(tiny_bert),
        max_length=16,
        batch_tokens=128,
        cache_dir=str(tmp_path / "cache"),
    )
    profile = Profile()
    clipped = {"gradient_clip_val": 1.0, "precision": "32-true", "max_steps": 2}
    quiet_trainer(callbacks=[profile], default_root_dir=tmp_path, **clipped).fit(module, data)
    assert sys.getprofile() is None
    return profile.ran


def linked(text: str) -> list[str]:
    """The files and folders of the project that a part of the page links, in order."""
    return re.findall(r"\]\(\.\./([^)#]+)\)", text)


def test_every_file_on_the_page_is_there() -> None:
    text = PAGE.read_text("utf-8")
    assert [path for path in linked(text) if not (ROOT / path).exists()] == []
    named = re.findall(r"\[`([^`]+)`\]\(\.\./([^)#]+)\)", text)
    assert [name for name, path in named if not path.endswith(name)] == []


def test_the_page_names_the_files_that_a_step_runs_and_no_other(ran: set[CodeType]) -> None:
    text = PAGE.read_text("utf-8")
    ((functions, number),) = re.findall(r"some (\d+) functions in (\d+) files", text)
    files = {str(Path(code.co_filename).relative_to(ROOT)) for code in ran}
    rows = [line for line in text.split("\n## ")[2].splitlines() if line.startswith("| [")]
    assert sorted(linked("\n".join(rows))) == sorted(files)
    assert int(number) == len(files)
    assert abs(int(functions) - len(ran)) <= 15, f"{len(ran)} functions: write it down"
