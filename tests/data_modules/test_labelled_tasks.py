"""Labelled corpora of every task: what is read, what is right, views of teachers, bad input."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labelled
import numpy as np
import pytest
import torch
from conftest import WORDS
from labelled import LABELS
from lightning.pytorch import Trainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from data_modules import (
    AnswerSpans,
    LabelledCorpus,
    LabelledSource,
    MultipleChoice,
    OpticalErrors,
    Regression,
    Romanised,
    TokenLabels,
    Typos,
)
from data_modules.text.deduplication import marks_of
from lit_distill.errors import UserError
from lit_distill.models import Predicted, TaskHead

Make = Callable[..., LabelledCorpus]
Rows = list[dict[str, Any]]


@pytest.fixture
def make(tiny_bert: Path, tmp_path: Path) -> Make:
    """A corpus of rows in one file, or of sources, set up."""

    def build(rows: Rows | list[LabelledSource], columns: Any = None, **options: Any):
        sources = rows
        if isinstance(rows[0], dict):
            path = tmp_path / f"{abs(hash(str(rows)))}.jsonl"
            labelled.write(path, rows)
            sources = [LabelledSource("en", files=str(path), **(columns or {}))]
        settings: dict[str, Any] = {
            "tokenizer": str(tiny_bert), "data_dir": str(tmp_path), "max_length": 32,
            "cache_dir": str(tmp_path / "cache"), "batch_tokens": 128, "updates_per_epoch": 6,
            "holdout": 5,
        }  # fmt: skip
        corpus = LabelledCorpus(sources, **{**settings, **options})
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        corpus.prepare_data()
        corpus.setup("fit")
        return corpus

    return build


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer whose tokens are bytes, without special ones around."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({one: i for i, one in enumerate(["<pad>", *alphabet])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("letters")
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>").save_pretrained(folder)
    return folder


def whole(corpus: LabelledCorpus, split: Any = "train", passes: int = 0) -> dict[str, Any]:
    """One batch of a whole split; its counts and its padding are checked."""
    windows = np.arange(len(corpus._stores[split].lengths))
    batch: Any = corpus._collator(split)(windows, np.full_like(windows, passes))
    mask = batch["attention_mask"]
    assert torch.equal(batch["tokens"], mask.flatten().nonzero().squeeze(1))
    rows, counts = batch["rows"], batch["counts"]
    assert bool((rows[1:] > rows[:-1]).all())
    assert bool(torch.isin(rows, batch["tokens"]).all())
    decisions = len(batch["options"]) if "options" in batch else len(rows)
    assert counts["decisions"] == decisions == len(batch["targets"])
    assert (counts["rows"], counts["sequences"]) == (len(rows), len(mask))
    assert batch["language"].shape == batch["sample_id"].shape == (len(mask),)
    return batch


def tagged(count: int, seed: int = 0) -> Rows:
    """Words, of which those of `NAMES` begin or go on with a name."""
    draw, found = random.Random(seed), list[dict[str, Any]]()
    for _ in range(count):
        words = draw.choices(WORDS["en"].split(), k=draw.randint(3, 7))
        tags, before = [], "O"
        for word in words:
            before = "O" if len(word) < 5 else "B-LONG" if before == "O" else "I-LONG"
            tags.append(before)
        found.append({"tokens": words, "tags": tags})
    return found


def spoken(corpus: LabelledCorpus, batch: dict[str, Any], view: str = "") -> list[str]:
    ids = batch[f"{view}input_ids"].flatten()[batch[f"{view}rows"]]
    tokenizer = corpus._teacher if view and corpus._teacher else corpus.tokenizer
    return tokenizer.convert_ids_to_tokens(ids.tolist())


# -- tasks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", ["first", "all"])
def test_words_have_their_labels(make: Make, pieces: Any) -> None:
    rows = tagged(40)
    corpus = make(rows, task=TokenLabels(pieces), deduplicate=False)
    assert corpus.task_head == TaskHead(Predicted.TOKEN_LABELS, ("B-LONG", "I-LONG", "O"))
    found = []
    for split in ("train", "validation"):
        batch = whole(corpus, split)
        texts = batch["rows"] // batch["input_ids"].shape[1]
        ids, tags = spoken(corpus, batch), [corpus.labels[t] for t in batch["targets"]]
        for text in range(len(batch["input_ids"])):
            own = [number for number, each in enumerate(texts.tolist()) if each == text]
            found.append([(ids[number], tags[number]) for number in own])
    expected = []
    for row in rows:
        cut = [corpus.tokenizer.tokenize(word) for word in row["tokens"]]
        kept = [own[:1] if pieces == "first" else own for own in cut]
        expected.append([(p, tag) for own, tag in zip(kept, row["tags"], strict=True) for p in own])
    assert sorted(found) == sorted(expected)
    assert all(report.pieceless == report.cut_words == 0 for report in corpus.report)


def test_words_behind_the_end_are_counted(make: Make) -> None:
    rows = tagged(40)
    corpus = make(rows, task=TokenLabels(), max_length=6, deduplicate=False)
    read = sum(len(whole(corpus, split)["rows"]) for split in ("train", "validation"))
    (report,) = corpus.report
    assert 0 < report.cut_words == sum(len(row["tokens"]) for row in rows) - read
    assert report.pieceless == 0


def test_a_word_without_a_piece_is_counted(make: Make) -> None:
    rows = [*tagged(40), {"tokens": ["cats", "\u200b", "sleep"], "tags": ["O", "O", "O"]}]
    corpus = make(rows, task=TokenLabels())
    assert [report.pieceless for report in corpus.report] == [1]


def test_numbers_are_values(make: Make) -> None:
    rows: Rows = labelled.rows(40, WORDS["en"], second=True)
    for number, row in enumerate(rows):
        row["label"] = [number / 7, str(number), number][number % 3]
    corpus = make(rows, {"second": "other"}, task=Regression())
    assert corpus.task_head == TaskHead(Predicted.TEXT_VALUE)
    values = []
    for split in ("train", "validation"):
        batch = whole(corpus, split)
        assert batch["targets"].tolist() == [-100] * len(batch["rows"])
        assert batch["values"].dtype == torch.float32
        assert batch["rows"].tolist() == [*range(0, batch["input_ids"].numel(),
                                                 batch["input_ids"].shape[1])]  # fmt: skip
        values += batch["values"].tolist()
    assert sorted(values) == sorted(torch.tensor([float(row["label"]) for row in rows]).tolist())


def test_choices_are_options_among_texts(make: Make) -> None:
    known = WORDS["en"].split()
    rows = [
        {"p": f"{known[n % 15]} {known[n // 15]} the", "q": "river", "a": "cats", "b": "read books",
         "c": f"old {known[n % 15]}", "label": n % 3}
        for n in range(40)
    ]  # fmt: skip
    columns = {"text": "p", "question": "q", "choices": ["a", "b", "c"]}
    corpus = make(rows, columns, task=MultipleChoice())
    assert corpus.task_head == TaskHead(Predicted.CHOICES)
    batch = whole(corpus)
    count, width = len(batch["targets"]), batch["input_ids"].shape[1]
    assert batch["options"].tolist() == np.arange(3 * count).reshape(count, 3).tolist()
    assert batch["rows"].tolist() == [width * text for text in range(3 * count)]
    texts = [corpus.tokenizer.decode(ids, skip_special_tokens=True) for ids in batch["input_ids"]]
    known_rows = {(f"{r['p']} {r['q']} {r['a']}"): r for r in rows}
    for number, right in enumerate(batch["targets"].tolist()):
        own = texts[3 * number : 3 * number + 3]
        row = known_rows[own[0]]
        assert own == [f"{row['p']} {row['q']} {row[c]}" for c in "abc"]
        assert right == row["label"]
        assert batch["sample_id"][3 * number : 3 * number + 3].tolist() == [number] * 3
    for windows, passes in (corpus.plan().batch(n) for n in range(4)):  # three texts for each
        assert corpus.collator()(windows, passes)["input_ids"].numel() <= corpus.batch_tokens


def test_answers_are_spans_of_rows(make: Make) -> None:
    known = WORDS["en"].split()
    rows = []
    for number in range(60):
        words = random.Random(number).choices(known, k=9)
        context, at = " ".join(words), number % 8
        answer = " ".join(words[at : at + 2])
        start = len(" ".join([*words[:at], ""]))
        missing = number % 10 == 9
        rows.append({"question": f"where {known[number % 15]}", "context": context,
                     "answer": None if missing else answer, "answer_start": start})  # fmt: skip
    corpus = make(rows, task=AnswerSpans(), max_length=64, batch_tokens=256)
    assert corpus.task_head == TaskHead(Predicted.SPANS)
    found = {}
    for split in ("train", "validation"):
        batch = whole(corpus, split)
        options, ids = batch["options"], batch["input_ids"].flatten()
        assert options.shape[0] == 2 * len(batch["input_ids"])
        assert torch.equal(options[1::2], torch.where(options[::2] < 0, -1, options[::2] + 1))
        real = options[::2][options[::2] >= 0]
        assert real.tolist() == [2 * row for row in range(len(batch["rows"]))]
        first, last = (
            batch["rows"][options[k::2].gather(1, batch["targets"][k::2, None])[:, 0] // 2]
            for k in (0, 1)
        )
        for text, begin, end in zip(batch["input_ids"], first, last, strict=True):
            key = corpus.tokenizer.decode(text, skip_special_tokens=True)
            found[key] = corpus.tokenizer.decode(ids[begin : end + 1], skip_special_tokens=True)
    assert found == {f"{row['question']} {row['context']}": row["answer"] or "" for row in rows}
    short = make(rows, task=AnswerSpans(), max_length=14)
    (report,) = short.report
    assert 0 < report.too_long < 60
    assert report.broken == 0


def test_contexts_come_from_a_file_of_passages(make: Make, tmp_path: Path) -> None:
    passages = [{"pid": f"p{n}", "text": f"the river runs past {w}"} for n, w in
                enumerate(WORDS["en"].split())]  # fmt: skip
    labelled.write(tmp_path / "passages.en.jsonl", passages)
    rows = [{"q": f"where {n}", "pid": f"p{n % 15}", "a": "river", "at": 4} for n in range(60)]
    labelled.write(tmp_path / "questions.en.jsonl", rows)
    columns = {"context": "pid", "question": "q", "answer": "a", "start": "at"}
    files = {"files": "questions.{language}.jsonl", "passages": "passages.{language}.jsonl"}
    source = LabelledSource(**files, **columns)
    batch = whole(make([source], task=AnswerSpans()))
    assert len(batch["input_ids"]) > 30
    labelled.write(tmp_path / "questions.en.jsonl", [*rows, {**rows[0], "pid": "p99"}])
    with pytest.raises(UserError, match=r"a context that is not among the passages.*line 61"):
        make([source], task=AnswerSpans())


def test_conll_files_say_what_json_says(make: Make, tmp_path: Path) -> None:
    rows = tagged(40)
    text = "\n".join(
        "".join(f"{w} {t}\n" for w, t in zip(r["tokens"], r["tags"], strict=True)) for r in rows
    )
    (tmp_path / "en.conll").write_text(text, "utf-8")
    ours = make([LabelledSource("en", files="en.conll")], task=TokenLabels())
    assert ours.content == make(rows, task=TokenLabels()).content
    (tmp_path / "en.conll").write_text(text + "\nbook\n", "utf-8")
    line = text.count("\n") + 2
    with pytest.raises(UserError, match=rf"at line {line}: broken columns \(1 columns, and line 1"):
        make([LabelledSource("en", files="en.conll")], task=TokenLabels())
    with pytest.raises(UserError, match="the task is TokenLabels"):
        make([LabelledSource("en", files="en.conll")])


# -- languages and labels -------------------------------------------------------------------------


def test_a_language_may_be_measured_only(make: Make, tmp_path: Path) -> None:
    for language in ("en", "de"):
        labelled.write(tmp_path / f"{language}.jsonl", labelled.rows(60, WORDS[language]))
    sources = [LabelledSource("en", files="en.jsonl"), LabelledSource("de", test="de.jsonl")]
    corpus = make(sources)
    assert corpus.languages == ["de", "en"]
    assert corpus.shares().tolist() == [0, 1]
    assert {*whole(corpus)["language"].tolist()} == {1}
    assert (len(corpus.val_dataloader()), len(corpus.test_dataloader())) == (1, 1)
    assert len(corpus.examples("test")) == 60
    windows, passes = corpus.plan().batch(0)
    assert len(corpus.collator()(windows, passes)["targets"]) > 0
    pattern = LabelledSource(validation="{language}.jsonl", languages=["de"])
    assert len(make([sources[0], pattern]).val_dataloader()) == 2
    with pytest.raises(UserError, match="A source needs either files or a dataset"):
        make([sources[0], LabelledSource("de")])


def test_the_head_has_the_labels_in_order(make: Make) -> None:
    rows = labelled.rows(60, WORDS["en"])
    assert make(rows).task_head == TaskHead(Predicted.TEXT_LABELS, ("bad", "fair", "good"))
    other = make(rows, labels=["good", "bad", "fair"])
    assert other.task_head.labels == ("good", "bad", "fair") == tuple(other.labels)
    numbered = [{**row, "label": number % 11} for number, row in enumerate(rows)]
    assert make(numbered).task_head.labels == tuple(map(str, range(11)))
    names = [f"l{number}" for number in range(11)]
    assert make(numbered, labels=names).task_head.labels == tuple(names)
    first, second = make(rows), make(rows, labels=["good", "bad", "fair"])
    a, b = whole(first)["targets"].tolist(), whole(second)["targets"].tolist()
    assert [first.labels[n] for n in a] == [second.labels[n] for n in b]
    assert a != b


def split_files(folder: Path, train: Rows, validation: Rows) -> LabelledSource:
    labelled.write(folder / "train.jsonl", train)
    labelled.write(folder / "validation.jsonl", validation)
    return LabelledSource("en", files="train.jsonl", validation="validation.jsonl")


def test_labels_that_cannot_work_are_told(make: Make, tmp_path: Path) -> None:
    rows = labelled.rows(60, WORDS["en"])
    train, held = rows[:50], rows[50:]
    odd = [*held[:4], {**held[4], "label": "odd"}]
    with pytest.raises(UserError, match=r"'odd' of the validation texts .*row 5\) is in no train"):
        make([split_files(tmp_path, train, odd)])
    with pytest.raises(UserError, match=r"labels names none, which no training row has"):
        make([split_files(tmp_path, train, held)], labels=[*LABELS, "none"])
    with pytest.raises(UserError, match=r"has the labels good, which data.init_args.labels does"):
        make([split_files(tmp_path, train, held)], labels=LABELS[:2])
    with pytest.raises(UserError, match="All training rows have the label 'bad'"):
        make([{**row, "label": "bad"} for row in rows])
    swapped = {"text": "label", "label": "text"}
    with pytest.raises(UserError, match="columns of text and label seem to be swapped"):
        make(rows, swapped, deduplicate=False)
    with pytest.raises(UserError, match=r"no number \('fair'\)"):
        make(rows, task=Regression())
    choices = [{"text": row["text"], "all": ["a", "b", "c"][: 2 + (n > 9)], "label": 0}
               for n, row in enumerate(rows)]  # fmt: skip
    with pytest.raises(UserError, match=r"another number \(3, and the first row has 2\)"):
        make(choices, {"choices": "all"}, task=MultipleChoice())
    with pytest.raises(UserError, match="needs the columns of the choices"):
        make(rows, task=MultipleChoice())
    uneven = [*tagged(30), {"tokens": ["a", "b"], "tags": ["O"]}]
    with pytest.raises(UserError, match=r"line 31: words and tags of unequal number \(2"):
        make(uneven, task=TokenLabels())


def test_a_tag_may_begin_where_it_only_went_on_in_training(make: Make, tmp_path: Path) -> None:
    train = [row for row in tagged(60) if "I-LONG" not in row["tags"]]
    held = [row for row in tagged(60) if "I-LONG" in row["tags"]]
    corpus = make([split_files(tmp_path, train, held)], task=TokenLabels())
    assert corpus.task_head.labels == ("B-LONG", "I-LONG", "O")
    odd = [*held, {"tokens": ["cats"], "tags": ["B-ODD"]}]
    with pytest.raises(UserError, match="'B-ODD' of the validation texts"):
        make([split_files(tmp_path, train, odd)], task=TokenLabels())


def test_a_hash_knows_the_text_alone(make: Make, letters: Path) -> None:
    rows = labelled.rows(60, WORDS["en"])
    corpus = make(rows)
    every = np.concatenate([corpus.examples("train"), corpus.examples("validation")])
    assert {*every.tolist()} == {*marks_of([row["text"].encode() for row in rows]).tolist()}
    other = make(rows, tokenizer=str(letters))
    assert other.examples("train").tolist() == corpus.examples("train").tolist()


# -- views ----------------------------------------------------------------------------------------


def test_a_teacher_reads_its_own_text(make: Make) -> None:
    rows = labelled.rows(60, WORDS["en"])
    for row in rows:
        row["de"] = " ".join(reversed(row["text"].split()))
    corpus = make(rows, {"teacher_text": "de"})
    batch = whole(corpus)
    for own, other in zip(batch["input_ids"], batch["teacher_input_ids"], strict=True):
        texts = [corpus.tokenizer.decode(ids, skip_special_tokens=True) for ids in (own, other)]
        assert texts[0].split() == texts[1].split()[::-1]
    width = batch["teacher_input_ids"].shape[1]
    assert batch["teacher_rows"].tolist() == [width * n for n in range(len(batch["rows"]))]
    assert batch["targets"].tolist() == whole(make(rows))["targets"].tolist()
    with pytest.raises(UserError, match="asks about places"):
        make(tagged(30), {"teacher_text": "de"}, task=TokenLabels())


@pytest.mark.parametrize("pieces", ["first", "all"])
def test_rows_of_two_tokenizers_are_of_the_same_words(make: Make, letters: Path, pieces: Any):
    rows = tagged(40)
    options = {"teacher_tokenizer": str(letters), "max_length": 24, "task": TokenLabels(pieces)}
    corpus = make(rows, **options)
    batch = whole(corpus)
    own, other = spoken(corpus, batch), spoken(corpus, batch, "teacher_")
    assert len(own) == len(other) == len(batch["targets"]) > 60
    starts = [(a, b) for a, b in zip(own, other, strict=True) if not a.startswith("##")]
    assert all(a.startswith(b.lstrip("Ġ")) for a, b in starts)
    assert sum(report.cut_words for report in corpus.report) > 0  # the letters are more
    assert batch["counts"]["teacher_tokens"] == int(batch["teacher_attention_mask"].sum())


@pytest.mark.parametrize("task", [None, TokenLabels("all")], ids=str)
def test_noise_is_a_function_of_seed_text_and_pass(make: Make, task: Any) -> None:
    rows = labelled.rows(60, WORDS["en"]) if task is None else tagged(60)
    given = {"noise": Typos(0.3), **({"task": task} if task else {})}
    corpus, clean = make(rows, **given), make(rows, **{**given, "noise": None})
    assert corpus.examples("train").tolist() == clean.examples("train").tolist()
    first, same, later = whole(corpus), whole(make(rows, **given)), whole(corpus, passes=1)
    assert all(torch.equal(first[key], same[key]) for key in first if key != "counts")
    assert first["input_ids"].tolist() != later["input_ids"].tolist()
    assert first["input_ids"].tolist() != whole(make(rows, **given, seed=1))["input_ids"].tolist()
    assert torch.equal(first["teacher_input_ids"], whole(clean)["input_ids"])
    windows = np.array([5, 3])  # alone they are read as among others
    some = corpus.collator()(windows, np.zeros(2, dtype=np.int64))
    length = int(some["attention_mask"][0].sum())
    assert some["input_ids"][0, :length].tolist() == first["input_ids"][5, :length].tolist()
    if task is None:
        assert torch.equal(first["targets"], whole(clean)["targets"])


def test_labels_of_words_stay_with_them_under_noise(make: Make, letters: Path) -> None:
    """Every word's teacher row is its first letter, and its label says how long it was."""
    rows = tagged(60)
    options = {"noise": OpticalErrors(0.5), "teacher_tokenizer": str(letters), "max_length": 128}
    corpus = make(rows, task=TokenLabels(), **options)
    batch = whole(corpus)
    ids, width = batch["teacher_input_ids"], batch["teacher_input_ids"].shape[1]
    for row, target in zip(batch["teacher_rows"].tolist(), batch["targets"].tolist(), strict=True):
        text, place = divmod(row, width)
        read = corpus._teacher.decode(ids[text, place:].tolist()).replace("<pad>", "")
        word = read.split()[0]
        assert (corpus.labels[target] == "O") == (len(word) < 5), word


def test_noise_that_cannot_work_is_told(make: Make) -> None:
    rows = labelled.rows(60, WORDS["en"])
    with pytest.raises(UserError, match="Romanised changes no text in en"):
        make(rows, noise=Romanised())
    with pytest.raises(UserError, match="leave noise and teacher_tokenizer out"):
        make(rows, noise=Typos(), task=AnswerSpans())
    with pytest.raises(UserError, match=r"Typos.rate is 2"):
        Typos(2.0)
