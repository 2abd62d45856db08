"""Labelled corpora: what a classifier reads, which label it is to say, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labelled
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import WORDS
from labelled import LABELS
from lightning.pytorch import Trainer
from transformers import AutoTokenizer

from data_modules import LabelledCorpus, LabelledSource
from data_modules.labelling.collation import Labels, label_numbers
from data_modules.labelling.stored import StoredLabels
from lit_distill.batch import LabelledBatch
from lit_distill.errors import UserError

Make = Callable[..., LabelledCorpus]
SOURCE = LabelledSource(files="{language}.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`en.jsonl` and `de.jsonl`, 60 rows each, and `more/pairs.jsonl`."""
    place = tmp_path_factory.mktemp("labelled")
    for language in ("en", "de"):
        labelled.write(place / f"{language}.jsonl", labelled.rows(60, WORDS[language]))
    (place / "more").mkdir()
    labelled.write(place / "more/pairs.jsonl", labelled.rows(60, WORDS["en"], second=True))
    return place


@pytest.fixture
def make(folder: Path, tiny_bert: Path, tmp_path: Path) -> Make:
    def build(*sources: LabelledSource, set_up: bool = True, **options: Any) -> LabelledCorpus:
        settings: dict[str, Any] = {
            "tokenizer": str(tiny_bert), "data_dir": str(folder), "max_length": 32,
            "cache_dir": str(tmp_path / "cache"), "batch_tokens": 128, "updates_per_epoch": 6,
            "holdout": 5,
        }  # fmt: skip
        corpus = LabelledCorpus(list(sources) or [SOURCE], **{**settings, **options})
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        if set_up:
            corpus.prepare_data()
            corpus.setup("fit")
        return corpus

    return build


def seen(corpus: LabelledCorpus, split: str = "train") -> dict[str, dict[str, Any]]:
    """What every text of a split is read as, by its text; batches are checked on the way."""
    store = corpus._stores[split]  # type: ignore[index]
    found = {}
    for start in range(0, len(store.lengths), 7):
        windows = np.arange(start, min(start + 7, len(store.lengths)))
        batch = corpus._collator(split)(windows, np.zeros_like(windows))  # type: ignore[arg-type]
        assert {*batch} <= {*LabelledBatch.__annotations__}
        width, mask = batch["input_ids"].shape[1], batch["attention_mask"]
        real = mask.flatten().nonzero().squeeze(1)
        assert torch.equal(batch["tokens"], real)
        assert batch["rows"].tolist() == [number * width for number in range(len(windows))]
        assert batch["counts"] == {
            "tokens": len(real), "sequences": len(windows), "rows": len(windows), "masked": 0,
            "decisions": len(windows),
        }  # fmt: skip
        assert batch["sample_id"].tolist() == windows.tolist()
        for index, ids in enumerate(batch["input_ids"]):
            length = int(mask[index].sum())
            assert mask[index].tolist() == [1] * length + [0] * (width - length)
            types = batch["token_type_ids"][index] if "token_type_ids" in batch else None
            found[corpus.tokenizer.decode(ids[:length], skip_special_tokens=True)] = {
                "ids": ids[:length].tolist(), "label": int(batch["targets"][index]),
                "types": None if types is None else types[:length].tolist(),
                "language": corpus.languages[int(batch["language"][index])],
            }  # fmt: skip
    return found


def test_a_text_is_read_as_its_tokenizer_reads_it(make: Make, tiny_bert: Path) -> None:
    corpus, tokenizer = make(), AutoTokenizer.from_pretrained(tiny_bert)
    found = {**seen(corpus), **seen(corpus, "validation")}
    rows = {
        tokenizer.decode(tokenizer(row["text"])["input_ids"], skip_special_tokens=True): (lang, row)
        for lang in ("en", "de")
        for row in labelled.rows(60, WORDS[lang])
    }
    assert found.keys() == rows.keys()
    for text, (language, row) in rows.items():
        assert found[text] == {
            "ids": tokenizer(row["text"])["input_ids"], "types": None,
            "label": LABELS.index(row["label"]), "language": language,
        }  # fmt: skip
    assert 10 < len(seen(corpus, "validation")) < 40
    assert not seen(corpus).keys() & seen(corpus, "validation").keys()


def test_pairs_have_token_types_and_are_cut_as_tokenizers_cut(make: Make, tiny_bert: Path) -> None:
    source = LabelledSource("en", files="more/pairs.jsonl", second="other")
    corpus, tokenizer = make(source, max_length=9), AutoTokenizer.from_pretrained(tiny_bert)
    found = [*seen(corpus).values(), *seen(corpus, "validation").values()]
    expected, cut = [], 0
    for row in labelled.rows(60, WORDS["en"], second=True):
        both = tokenizer(row["text"], row["other"], truncation=True, max_length=9)
        cut += len(tokenizer(row["text"], row["other"])["input_ids"]) > 9
        expected.append((both["input_ids"], both["token_type_ids"], LABELS.index(row["label"])))
    ours = [(one["ids"], one["types"], one["label"]) for one in found]
    assert {str(one) for one in ours} == {str(one) for one in expected}
    assert any(0 in one["types"] and 1 in one["types"] for one in found)
    assert [report.cut for report in corpus.report] == [cut]
    assert 5 < cut < 60


def test_markers_in_a_text_are_text(make: Make, tmp_path: Path) -> None:
    lines = labelled.rows(30, WORDS["en"])
    lines[0]["text"] = "cats [SEP] sleep"
    labelled.write(tmp_path / "x.jsonl", lines)
    corpus = make(LabelledSource("en", files=str(tmp_path / "x.jsonl")))
    ends = [one["ids"].count(corpus.tokenizer.sep_token_id) for one in seen(corpus).values()]
    assert set(ends) == {1}


def test_numbers_and_names_mean_the_same(make: Make, tmp_path: Path) -> None:
    """JSON numbers, digits in CSV, whole numbers in Parquet."""
    rows = [{**row, "label": LABELS.index(row["label"])} for row in labelled.rows(60, WORDS["en"])]
    labelled.write(tmp_path / "n.jsonl", rows)
    text = "".join(f"{row['text']},{row['label']}\n" for row in rows)
    (tmp_path / "n.csv").write_text(f"text,label\n{text}", "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "n.parquet")
    named = make(LabelledSource("en", files="en.jsonl"))
    for suffix in ("jsonl", "csv", "parquet"):
        corpus = make(LabelledSource("en", files=str(tmp_path / f"n.{suffix}")))
        assert seen(corpus) == seen(named)


def test_labels_are_taken_by_name_or_all_by_number() -> None:
    assert label_numbers(["good", "bad"], LABELS).tolist() == [2, 0]
    assert label_numbers(["2", "0"], LABELS).tolist() == [2, 0]
    assert label_numbers(["3", "1"], ["1", "2", "3"]).tolist() == [2, 0]  # names of their own
    assert label_numbers(["0", "1", "2"], ["1", "2", "3"]).tolist() == [0, 1, 2]
    others = [(["good", "awful"], "awful"), (["0", "3"], "3"), (["good", "0"], "0, good")]
    for found, said in others:
        with pytest.raises(UserError, match=f"labels {said}, which the model does not know"):
            label_numbers(found, LABELS)


def test_languages_come_from_a_column(make: Make, tmp_path: Path) -> None:
    mixed = [
        {**row, "lang": lang} for lang in ("en", "de") for row in labelled.rows(60, WORDS[lang])
    ]
    labelled.write(tmp_path / "all.jsonl", mixed)
    by_column = make(LabelledSource(files=str(tmp_path / "all.jsonl"), language_column="lang"))
    assert by_column.languages == ["de", "en"]
    assert seen(by_column) == seen(make())
    assert len(by_column.val_dataloader()) == 2


def test_broken_rows_are_counted_with_the_first_line(make: Make, tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in labelled.rows(60, WORDS["en"])]
    broken = {
        5: '{"text": "the river"}', 9: '{"text": "", "label": "good"}',
        12: '{"text": "past", "label": null}', 20: '{"text": ["past"], "label": "good"}',
    }  # fmt: skip
    for number, line in broken.items():
        lines[number - 1] = line
    (tmp_path / "b.jsonl").write_text("\n".join(lines) + "\n")
    source = LabelledSource("en", files=str(tmp_path / "b.jsonl"))
    (report,) = make(source, max_broken=0.1).report
    assert (report.rows, report.broken) == (60, 4)
    assert report.first == "first at line 5: no 'label'"
    assert report.reasons == {"no 'label'": 1, "'text' empty": 1, "'label' no text": 1,
                              "'text' no text": 1}  # fmt: skip
    with pytest.raises(UserError, match=r"4 of 60 rows are broken.*first at line 5: no 'label'"):
        make(source, max_broken=0.01)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (LabelledSource("en", files="en.jsonl", label="lable"), "Did you mean 'label'"),
        (LabelledSource("en", files="none.jsonl"), "No file"),
        (LabelledSource(files="en.jsonl"), "does not say its language"),
        (LabelledSource("en", files="x.txt"), "has one text a line and no column 'label'"),
    ],
)
def test_what_cannot_work_is_told(make: Make, folder: Path, source: LabelledSource, said: str):
    (folder / "x.txt").write_text("past\n")
    with pytest.raises(UserError, match=said):
        make(source)


def test_one_text_with_two_labels_is_held_out_as_a_whole(make: Make, tmp_path: Path) -> None:
    rows = labelled.rows(60, WORDS["en"])
    other = [{**row, "label": "fair"} for row in rows if row["label"] != "fair"]
    labelled.write(tmp_path / "twice.jsonl", [*rows, *other, *rows[:9]])
    corpus = make(LabelledSource("en", files=str(tmp_path / "twice.jsonl")))
    assert not seen(corpus).keys() & seen(corpus, "validation").keys()
    assert sum(len(store.lengths) for store in corpus._stores.values()) == 60 + len(other)
    assert corpus.report[0].repeated == 9


def test_the_order_is_a_function_of_the_seed_and_resumes(make: Make) -> None:
    def numbers(corpus: LabelledCorpus) -> list[list[int]]:
        return [batch["sample_id"].tolist() for batch in corpus.train_dataloader()]

    first, again, other = make(), make(), make(seed=1)
    order = numbers(first)
    assert order == numbers(again) != numbers(other)
    stopped = make()
    loader = iter(stopped.train_dataloader())
    begun = [next(loader)["sample_id"].tolist() for _ in range(2)]
    resumed = make()
    resumed.load_state_dict(stopped.state_dict())
    assert [*begun, *numbers(resumed)] == order


def test_other_labels_are_another_corpus(make: Make, tmp_path: Path) -> None:
    """Of equal texts: a run does not go on with other labels, nor read a store of them."""
    rows = labelled.rows(60, WORDS["en"])
    source = LabelledSource("en", files=str(labelled.write(tmp_path / "c.jsonl", rows)))
    before = make(source)
    loader = before.train_dataloader()
    next(iter(loader))
    state, content = before.state_dict(), before.content
    for row in rows[-3:]:
        row["label"] = LABELS[(LABELS.index(row["label"]) + 1) % 3]
    labelled.write(tmp_path / "c.jsonl", rows)
    after = make(source)
    assert after.train.content == before.train.content
    assert after.content != content
    after.load_state_dict(state)
    with pytest.raises(UserError, match="texts"):
        after.train_dataloader()


def test_labels_are_no_objective_of_texts(tiny_bert: Path) -> None:
    with pytest.raises(UserError, match="objective of a LabelledCorpus"):
        Labels().bind(None, np.ones(3), 0)


def test_a_damaged_store_is_told(make: Make) -> None:
    corpus = make()
    path = corpus.train.folder / "answers.npy"
    np.save(path, np.load(path) + 7)
    with pytest.raises(UserError, match="is damaged"):
        StoredLabels.of(corpus.train)


def test_a_teacher_cache_knows_what_is_read(make: Make) -> None:
    """The same for every seed and batch size, and another for other texts."""
    facts = make().provenance()
    assert (facts["windows"], facts["view"]) == (len(make().train.lengths), "")
    assert make(seed=5, batch_tokens=64).provenance() == facts
    other = make(max_length=8).provenance()
    assert {name for name in facts if facts[name] != other[name]} >= {"corpus", "read"}
