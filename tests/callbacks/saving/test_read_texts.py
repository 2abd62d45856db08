"""What a student's folder says of the texts it has read: its data, its start, its teachers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentences
from lightning.pytorch import LightningDataModule, Trainer

from callbacks import AtomicCheckpointIO, ExportStudent, RunCheckpoint, read_texts
from data_modules import MaskedTokens, MultilingualCorpus, Source
from lit_distill.errors import UserError
from lit_distill.files.seen_texts import HASHES, SeenTexts, hashes_of
from lit_distill.methods import MaskedLM, TripleLoss
from lit_distill.models import PretrainedStudent, TeacherSpec
from lit_distill.tools.evaluating.cells.seen import seen_in
from lit_distill.tools.export import export
from lit_distill.training.distillation import Distillation


@pytest.fixture
def corpus(text_folder: Path, tiny_bert: Path, tmp_path: Path) -> MultilingualCorpus:
    """Trains on 40 sentences, is selected by 6 and tested on 5 others."""
    lines = sentences("en", 51)
    for name, own in (("train", lines[:40]), ("dev", lines[40:46]), ("test", lines[46:])):
        (tmp_path / f"{name}.txt").write_text("\n".join(own) + "\n")
    source = Source("en", files="train.txt", validation="dev.txt", test="test.txt")
    return MultilingualCorpus(
        [source], str(tmp_path), tokenizer=str(tiny_bert), cache_dir=str(tmp_path / "cache"),
        objective=MaskedTokens(), max_length=16, batch_tokens=128, updates_per_epoch=2,
    )  # fmt: skip


def train(
    method: Distillation, data: Any, folder: Path, updates: int = 2, resume: Path | None = None
) -> Path:
    trainer = Trainer(
        accelerator="cpu", max_steps=updates, default_root_dir=folder, logger=False,
        plugins=[AtomicCheckpointIO()], callbacks=[ExportStudent(), RunCheckpoint()],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(method, datamodule=data, ckpt_path=resume)
    return folder / "student"


def known(folder: Path) -> set[int]:
    seen = SeenTexts.of(folder)
    return set() if seen is None else {*seen.hashes.tolist()}


class Silent(LightningDataModule):
    """The same data from a module that does not say what is read of it."""

    def __init__(self, corpus: MultilingualCorpus) -> None:
        super().__init__()
        corpus.setup("fit")
        self.corpus, self.tokenizer = corpus, corpus.tokenizer
        self.languages, self.objective = corpus.languages, corpus.objective

    def train_dataloader(self) -> Any:
        self.corpus.trainer = self.trainer
        return self.corpus.train_dataloader()

    def val_dataloader(self) -> Any:
        return self.corpus.val_dataloader()


def copy(model: Path, folder: Path, *read: str) -> Path:
    """A model that says it has read some texts."""
    shutil.copytree(model, folder)
    SeenTexts.among(hashes_of(read)).write(folder)
    return folder


def test_an_export_refuses_what_its_run_read_and_nothing_else(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    student = train(MaskedLM(student=PretrainedStudent(str(tiny_bert))), corpus, tmp_path / "run")
    for folder in (student, tmp_path / "run/student-last"):
        found = [seen_in(str(folder), corpus, split) for split in ("train", "validation", "test")]
        assert found == [40, 6, 0]
    assert known(student) == {*hashes_of(sentences("en", 46)).tolist()}
    assert seen_in(str(tiny_bert), corpus, "train") == 0  # nobody knows


def test_a_checkpoint_and_its_run_are_enough(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    student = train(MaskedLM(student=PretrainedStudent(str(tiny_bert))), corpus, run)
    (later,) = export(str(run), str(tmp_path / "later")).values()
    assert known(later) == known(student)
    assert "tells which texts were read" not in capsys.readouterr().out
    alone = tmp_path / "elsewhere/checkpoints/last.ckpt"
    alone.parent.mkdir(parents=True)
    (run / "checkpoints/last.ckpt").rename(alone)
    (bare,) = export(str(alone)).values()
    assert SeenTexts.of(bare) is None
    said = capsys.readouterr().out
    assert f"Nothing in {alone.parent.parent} tells which texts were read" in said


def test_a_student_inherits_from_its_start_and_its_teacher(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    """And a resumed run keeps what its folders, which may be gone then, had said."""
    names = ("start", "teacher")
    folders = {name: copy(tiny_bert, tmp_path / name, f"read by the {name}") for name in names}

    def method() -> Distillation:
        teacher = TeacherSpec(str(folders["teacher"]))
        return TripleLoss(student=PretrainedStudent(str(folders["start"])), teacher=teacher)

    run = tmp_path / "run"
    student = train(method(), corpus, run)
    own = {*hashes_of(sentences("en", 46)).tolist()}
    every = own | {*hashes_of(["read by the start", "read by the teacher"]).tolist()}
    assert known(student) == every
    for folder in folders.values():
        for name in ("seen_texts.npy", "seen_texts.json"):
            (folder / name).unlink()
    train(method(), corpus, run, updates=4, resume=run / "checkpoints/last.ckpt")
    assert known(run / "student-last") == every
    grandchild = train(MaskedLM(student=PretrainedStudent(str(student))), Silent(corpus), run / "2")
    assert known(grandchild) == every


def test_what_a_teacher_says_is_damaged(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    start = copy(tiny_bert, tmp_path / "start", "a text")
    np.save(start / HASHES, np.zeros(3))
    with pytest.raises(UserError, match=r"start/seen_texts.npy .* do not say"):
        train(MaskedLM(student=PretrainedStudent(str(start))), corpus, tmp_path / "run")
    assert read_texts(tmp_path / "run") is None
