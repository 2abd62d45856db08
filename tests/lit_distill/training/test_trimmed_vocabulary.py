"""Runs whose student has a part of its teacher's vocabulary: the teacher reads it, and no less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import writers
import yaml
from batches import Served, collate, samples, window
from lightning.pytorch import seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from safetensors.torch import load_file
from shipped_methods import CASES, Keep, Shipped, quiet_trainer, read
from test_every_method import command
from transformers import AutoModelForMaskedLM, AutoTokenizer
from trimmed import trimmed_folder, trimmed_vocabulary

from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.methods import TripleLoss
from lit_distill.models import LayerCopyStudent, TeacherSpec, TrimmedModel, shard
from lit_distill.schedules import Constant

IDS = [f"{shipped.name}-{family}" for shipped, family in CASES]


def reading(args: list[str], shipped: Shipped, vocabulary: Path) -> list[str]:
    """The words of a `fit` whose students have a vocabulary."""
    own = {"init_args": {"vocabulary": str(vocabulary)}}
    if not shipped.students:
        return [*args, f"--model.student.vocabulary={vocabulary}"]
    given = next(one for one in args if one.startswith("--model.students="))
    students = json.loads(given.partition("=")[2])
    for one in students.values():
        one["init_args"] |= own["init_args"]
    several = [f"--model.students={json.dumps(students)}" if one == given else one for one in args]
    return [one for one in several if not one.startswith("--tokenizer=")]


@pytest.mark.rotated(4)  # two whole runs
@pytest.mark.parametrize(("shipped", "family"), CASES, ids=IDS)
def test_it_is_a_run_below_a_teacher_that_was_trimmed_before(
    shipped: Shipped, family: str, tiny_models: dict[str, Path], tiny_corpus: Path, tmp_path: Path
) -> None:
    """Bit for bit, whatever the method asks the teacher for; on what the student writes as well."""
    whole = tiny_models[family]
    if shipped.reads_prompts:
        whole = writers.save(family, tmp_path / "writer")
    vocabulary, before = tmp_path / "vocabulary", tmp_path / "before"
    trimmed_vocabulary(whole, vocabulary, share=0.8)
    trimmed_folder(whole, vocabulary, before)
    ends = []
    for teacher, run in ((whole, tmp_path / "inside"), (before, tmp_path / "outside")):
        args, _ = command(shipped, family, teacher, tiny_corpus, run)
        args = reading(args, shipped, vocabulary) if teacher is whole else args
        assert main(args) == 0
        ends.append(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    inside, outside = ends
    assert inside.keys() == outside.keys()
    assert all(torch.equal(value, outside[name]) for name, value in inside.items())


def test_the_export_has_the_vocabulary_and_what_was_lost_is_measured(
    tiny_bert: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    vocabulary, run = tmp_path / "vocabulary", tmp_path / "run"
    found = trimmed_vocabulary(tiny_bert, vocabulary)
    shipped = next(one for one, family in CASES if (one.name, family) == ("triple_loss", "bert"))
    args, _ = command(shipped, "bert", tiny_bert, tiny_corpus, run)
    assert main([*args, f"--model.student.vocabulary={vocabulary}"]) == 0
    student = AutoModelForMaskedLM.from_pretrained(run / "student-last")
    tokenizer = AutoTokenizer.from_pretrained(run / "student-last")
    assert student.config.vocab_size == len(tokenizer) == found.size
    assert student.config.pad_token_id == tokenizer.pad_token_id
    report = json.loads((run / "report.json").read_text("utf-8"))
    scores = report["last"]["students"]["student"]
    for own in (scores["mean"], *scores["languages"].values()):
        assert 0 < own["lost_share"] < 1
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert config["tokenizer"] == str(vocabulary)
    args = [*args[1:], f"--model.student.vocabulary={vocabulary}"]
    assert main(["validate", *args, "--ckpt_path=best"]) == 0
    assert main(["fit", *args, "--trainer.max_steps=3", "--ckpt_path=last"]) == 0


def test_a_whole_vocabulary_changes_nothing(
    tiny_bert: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    """Where every piece is kept, a run is the same as without."""
    vocabulary = tmp_path / "vocabulary"
    trimmed_vocabulary(tiny_bert, vocabulary, share=1.0)
    shipped = next(one for one, family in CASES if (one.name, family) == ("triple_loss", "bert"))
    ends = []
    for name, more in (("with", [f"--model.student.vocabulary={vocabulary}"]), ("without", [])):
        args, _ = command(shipped, "bert", tiny_bert, tiny_corpus, tmp_path / name)
        assert main([*args, *more]) == 0
        ends.append(load_file(tmp_path / name / "student-last" / "model.safetensors"))
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_a_cache_of_another_vocabulary_is_refused(
    tiny_bert: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one of the vocabulary is read."""
    vocabulary = tmp_path / "vocabulary"
    trimmed_vocabulary(tiny_bert, vocabulary)
    shipped = next(one for one, family in CASES if (one.name, family) == ("triple_loss", "bert"))
    args, _ = command(shipped, "bert", tiny_bert, tiny_corpus, tmp_path / "run")
    args = [
        *args,
        "--data.mask_variants=1",
        "--model.alpha_cos=0",
        "--model.restrict_kd_to_mask=true",
    ]
    of_student = f"--model.student.vocabulary={vocabulary}"
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    caching = ["cache-teacher", *args[1:], "--cache.k=8"]
    assert main([*caching, f"--output={whole}"]) == 0
    assert main([*caching, f"--output={cut}", of_student]) == 0
    capsys.readouterr()
    assert main([*args, of_student, f"--model.teacher_cache={whole}"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "tokenizer" in shown
    assert main([*args, of_student, f"--model.teacher_cache={cut}"]) == 0


def test_students_of_different_vocabularies_are_refused(
    tiny_bert: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocabulary = tmp_path / "vocabulary"
    trimmed_vocabulary(tiny_bert, vocabulary)
    shipped = next(one for one, _ in CASES if one.name == "mutual_learning")
    args, _ = command(shipped, "bert", tiny_bert, tiny_corpus, tmp_path / "run")
    given = next(one for one in args if one.startswith("--model.students="))
    students = json.loads(given.partition("=")[2])
    next(iter(students.values()))["init_args"]["vocabulary"] = str(vocabulary)
    args = [one for one in args if one != given]
    assert main([*args, f"--model.students={json.dumps(students)}"]) == 2
    assert "their vocabularies differ" in " ".join(capsys.readouterr().err.split())


@pytest.mark.rotated(2)  # two processes
def test_teachers_in_pieces_lose_as_whole_ones(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FSDP2 splits what is kept; the bucket of what is lost is added on each rank."""
    monkeypatch.setattr(
        "lit_distill.training.building.shard", lambda model, mesh: shard(model.double(), mesh)
    )
    vocabulary = tmp_path / "vocabulary"
    size = trimmed_vocabulary(tiny_bert, vocabulary).size
    texts = samples(6, size)
    parts = [[collate(texts[:1])], [collate(texts[1:])]]
    whole, pieces = tmp_path / "whole.pt", tmp_path / "pieces.pt"

    def run(ranks: list[list[Batch]], path: Path, **more: Any) -> None:
        seed_everything(0, verbose=False)
        module = TripleLoss(
            teacher=TeacherSpec(str(tiny_bert), lost="unknown"),
            student=LayerCopyStudent(num_layers=2, vocabulary=str(vocabulary)),
            dropout=0.0,
            optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
            schedule=Constant(warmup=0.0),
        )
        options: dict[str, Any] = {"max_steps": 2, "max_epochs": -1, "callbacks": [Keep(path)]}
        loop = quiet_trainer(**{**options, **more})
        loop.fit(module, datamodule=Served([window(batches) * 2 for batches in ranks]))
        assert isinstance(module.teacher, TrimmedModel)

    run([[collate(texts)]], whole)

    def work() -> None:
        strategy = ModelParallelStrategy(
            data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo"
        )
        run(parts, pieces, strategy=strategy, devices=2, precision="32-true")

    on_two_ranks(work, tmp_path / "log.txt")
    change = read(whole)
    assert (change - read(pieces)).norm() / change.norm() < 1e-10
