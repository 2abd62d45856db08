"""A cache of a task teacher gives the live numbers up to half precision, or is refused."""

from __future__ import annotations

import copy
import functools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labelled
import numpy as np
import pytest
import torch
from conftest import WORDS
from labelled import LABELS, classifier
from shipped_methods import quiet_trainer
from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

from data_modules import (
    AnswerSpans,
    LabelledCorpus,
    LabelledSource,
    MultipleChoice,
    Regression,
    TokenLabels,
    Typos,
)
from lit_distill.errors import UserError
from lit_distill.losses import (
    AccumulationWindow,
    ForwardKL,
    LogitMSE,
    ReverseKL,
    RowLoss,
    SoftTarget,
)
from lit_distill.methods import FineTune
from lit_distill.models import (
    CachedTeacher,
    LanguageModel,
    LiveTeachers,
    PretrainedStudent,
    TeacherCache,
    TeacherSpec,
)
from lit_distill.schedules import Constant
from lit_distill.tools.caching.cache_cli import CacheCLI
from lit_distill.tools.caching.cache_teacher import CacheOptions, cache_teacher

ALL = CacheOptions(temperature=2.0, shard_tokens=200)
TAGS = ["B-LONG", "I-LONG", "O"]
Make = Callable[..., LabelledCorpus]


@pytest.fixture(scope="module")
def teacher(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tiny_bert, tmp_path_factory.mktemp("teacher"), LABELS[::-1])


@pytest.fixture(scope="module")
def tagger(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagger")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    torch.manual_seed(3)
    numbers = {tag: number for number, tag in enumerate(TAGS)}
    names = {"id2label": dict(enumerate(TAGS)), "label2id": numbers}
    model = BertForTokenClassification(BertConfig.from_pretrained(tiny_bert, **names))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    return folder


def salads(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Texts with another text beside each, and words with tags."""
    draw, found = random.Random(seed), labelled.rows(count, WORDS["en"], seed)
    for row in found:
        row["other"] = " ".join(draw.choices(WORDS["en"].split(), k=draw.randint(2, 9)))
        row["tokens"] = row["text"].split()
        row["tags"] = ["O" if len(word) < 5 else "B-LONG" for word in row["tokens"]]
        row["tags"][-1] = "I-LONG"
        row["fit"] = "short" if len(row["tokens"]) < 6 else "long"
    return found


@pytest.fixture(scope="module")
def make(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A corpus of one language, and one more that is tested alone."""
    root = tmp_path_factory.mktemp("labelled")
    labelled.write(root / "en.jsonl", salads(60))
    labelled.write(root / "de.jsonl", salads(9, seed=1))

    def build(columns: Any = None, **options: Any) -> LabelledCorpus:
        given, own = columns or {}, {"data_dir": str(root), "cache_dir": str(root / "cache")}
        sources = [
            LabelledSource("en", files="en.jsonl", **given),
            LabelledSource("de", test="de.jsonl", validation="de.jsonl", **given),
        ]
        settings: dict[str, Any] = {
            "tokenizer": str(tiny_bert), "max_length": 32, "batch_tokens": 128, "holdout": 5,
            "updates_per_epoch": 4, **own,
        }  # fmt: skip
        return LabelledCorpus(sources, **{**settings, **options})

    return build


def write(folder: Path, teacher: Path, data: LabelledCorpus, options: CacheOptions = ALL) -> str:
    cache_teacher(str(folder), TeacherSpec(str(teacher)), data, options)
    return str(folder)


def soft(*losses: RowLoss) -> dict[str, SoftTarget]:
    return {type(loss).__name__: SoftTarget(loss) for loss in losses}  # type: ignore[arg-type]


def method_of(student: Path, teacher: Path | None, cache: str | None, **options: Any) -> FineTune:
    given: dict[str, Any] = {
        "soft": soft(ForwardKL(2.0)),
        "optimizer": functools.partial(torch.optim.SGD, lr=0.05),
        "schedule": Constant(warmup=0.0),
        "dropout": 0.0,
        "student": PretrainedStudent(str(student)),
        "teacher": TeacherSpec(str(teacher)) if teacher else None,
        "teacher_cache": cache,
        **options,
    }
    return FineTune(**given)


def fit(method: FineTune, data: LabelledCorpus, updates: int = 3) -> dict[str, float]:
    torch.manual_seed(1)
    trainer = quiet_trainer(max_steps=updates, limit_val_batches=0, log_every_n_steps=1)
    trainer.fit(method, datamodule=data)
    return dict(method.logged)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "texts": ("teacher", {}),
    "pairs": ("teacher", {"columns": {"second": "other"}}),
    "words": ("tagger", {"task": TokenLabels()}),
    "another text": ("teacher", {"columns": {"teacher_text": "other"}}),
    "noise": ("teacher", {"noise": Typos(0.2)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_of_the_live_teacher(
    kind: str, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Of every divergence, on every window, in passes and an order of their own."""
    who, options = KINDS[kind]
    folder, data = request.getfixturevalue(who), make(**options)
    write(tmp_path / "cache", folder, data)
    losses = (ForwardKL(2.0), ReverseKL(2.0))
    model = TeacherSpec(str(folder)).build()
    method = FineTune(soft=soft(*losses), teacher=TeacherSpec(str(folder)))
    method.students["student"] = _shaken(model)
    method.teachers["teacher"] = model
    windows = np.random.default_rng(0).permutation(len(data.train.lengths))
    cached = CachedTeacher(str(tmp_path / "cache"))
    for number, own in enumerate(np.array_split(windows, 3)):
        batch = data.collator()(own, np.full_like(own, number))
        found = {}
        for source in (LiveTeachers(method.teachers, method.ensemble), cached):
            method.cast.source = source
            read = source.read(batch)
            terms = method.losses(read, AccumulationWindow.single(read, 0.5))
            found[type(source).__name__] = {n: term.sum.item() for n, term in terms.items()}
        assert found["CachedTeacher"] == pytest.approx(found["LiveTeachers"], rel=2e-3)
        assert found["LiveTeachers"]["ForwardKL"] > 1.0


def _shaken(model: LanguageModel) -> LanguageModel:
    """A copy with other weights."""

    other = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    return other


@pytest.mark.parametrize("who", ["teacher", "tagger"])
def test_a_run_without_the_teacher_is_the_run_with_it(
    who: str, make: Make, tiny_bert: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(who)
    own: dict[str, Any] = {"task": TokenLabels()} if who == "tagger" else {"labels": LABELS[::-1]}
    cache = write(tmp_path / "cache", folder, make(**own))
    live = fit(method_of(tiny_bert, folder, None), make(**own))
    alone = fit(method_of(tiny_bert, None, cache), make(**own))
    assert alone == pytest.approx(live, rel=1e-2)  # half precision, carried through three updates
    assert live["ForwardKL"] > 0.05


def test_all_labels_are_kept_exactly(make: Make, teacher: Path, tmp_path: Path) -> None:
    write(tmp_path / "cache", teacher, make())
    manifest = TeacherCache(tmp_path / "cache").manifest
    said = {"k": 3, "labels": LABELS[::-1], "view": "", "temperature": 2.0, "mask_variants": None}
    assert said.items() <= manifest.provenance.items()
    error = manifest.error or {}
    assert set(error) == {"en", "all"}  # the other language has no training texts
    assert error["all"]["kept"] == pytest.approx(1.0, abs=1e-6)
    assert error["all"]["maximum"] < 1e-3


# -- what is refused ------------------------------------------------------------------------------


def test_what_a_cache_was_not_made_for_is_refused(
    make: Make, teacher: Path, tagger: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    cache = write(tmp_path / "cache", teacher, make())

    def run(data: LabelledCorpus, **options: Any) -> dict[str, float]:
        given: dict[str, Any] = {"student": tiny_bert, "teacher": None, "cache": cache}
        return fit(method_of(**{**given, **options}), data, updates=1)

    with pytest.raises(UserError, match=r"labels: \['good', 'fair', 'bad'\] in .* \['bad', 'fair'"):
        run(make())  # alone, the student has the labels of the data, in its order
    with pytest.raises(UserError, match=r"corpus: .*view: '' in the cache, 'teacher_' now"):
        run(make({"teacher_text": "other"}))
    with pytest.raises(UserError, match="corpus: "):
        run(make({"text": "other"}))
    with pytest.raises(UserError, match=r"temperature: 2\.0 in the cache, 1.0 now"):
        run(make(labels=LABELS[::-1]), soft=soft(ForwardKL(1.0)))
    with pytest.raises(UserError, match=r"LogitMSE.* needs the teacher's logits"):
        run(make(labels=LABELS[::-1]), soft=soft(LogitMSE()))


def test_what_cannot_be_cached_is_one_line(
    make: Make, teacher: Path, tagger: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(UserError, match=r"Typos decides in every pass .* TokenLabels"):
        write(folder, tagger, make(task=TokenLabels(), noise=Typos(0.1)))
    with pytest.raises(UserError, match=r"cache.positions is tokens, and a classifier"):
        write(folder, teacher, make(), CacheOptions(positions="tokens"))
    with pytest.raises(UserError, match=r"which has 3 .*, says nothing about"):
        write(folder, teacher, make({"label": "fit"}))
    with pytest.raises(UserError, match="BertForMaskedLM"):
        write(folder, tiny_bert, make())
    assert not folder.exists()


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (Regression(), "a number for each text"),
        (MultipleChoice(), "one of several texts"),
        (AnswerSpans(), "the first and the last token"),
    ],
)
def test_tasks_without_labels_are_refused(task: Any, what: str, make: Make) -> None:
    with pytest.raises(UserError, match=f"{type(task).__name__} asks for {what}"):
        make(task=task).provenance()


def test_the_temperature_is_that_of_the_soft_targets() -> None:
    def asked(**options: Any) -> float:
        command = object.__new__(CacheCLI)
        command.model = FineTune(teacher=TeacherSpec("somewhere"), **options)
        command.config = json.loads('{"model": {"init_args": {}}}')
        return command._temperature()

    assert asked(soft=soft(ForwardKL(3.0), ReverseKL(3.0))) == 3.0
    assert asked() == 1.0
    with pytest.raises(UserError, match=r"several \(ForwardKL 3, ReverseKL 2\): .*--cache.temp"):
        asked(soft=soft(ForwardKL(3.0), ReverseKL(2.0)))
