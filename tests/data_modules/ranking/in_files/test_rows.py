"""Rows of queries with their passages: texts, scores, languages, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ranked import TAGS, Make, read, text, write

from data_modules import Temperature


def test_rows_with_texts_and_scores(make: Make, tmp_path: Path) -> None:
    """Scores stand beside their texts, whatever is taken out of a list."""
    rows = [
        {"query": f"cats {text(n, 'aa')}", "positive": text(n, "aa"), "s": [9.0 + n, 1.0, 2.0, 3.0],
         "negatives": [text(n + 1, "aa"), text(n, "aa"), text(n + 2, "aa")]}
        for n in range(30)
    ]  # fmt: skip
    rows[4]["positive"] = [text(4, "aa"), text(5, "aa")]  # so that its first negative is false
    rows[4]["s"] = [13.0, 8.0, 1.0, 2.0, 3.0]
    write(tmp_path / "rows.jsonl", [*rows, {"query": "cats", "positive": 3}])
    source = {"folder": None, "passages": None, "lists": None, "query_language": None,
              "files": "rows.jsonl", "language": "aa", "row_scores": "s"}  # fmt: skip
    corpus = make(source, data_dir=str(tmp_path), max_broken=0.2)
    (report,) = corpus.report
    assert report.false_negatives == 31
    assert report.broken == 1
    for batch in corpus.train_dataloader():
        passages = read(corpus, batch, "passage_")
        assert batch["scores"].dtype == torch.float32
        assert batch["query_input_ids"].dtype == torch.int64
        for row, query in enumerate(read(corpus, batch, "query_")):
            number = next(n for n in range(30) if query == f"cats {text(n, 'aa')}")
            told = zip(batch["lists"][row].tolist(), batch["scores"][row].tolist(), strict=True)
            found = {passages[place]: score for place, score in told if place >= 0}
            wanted = {text(number, "aa"): 9.0 + number, text(number + 1, "aa"): 1.0}
            wanted[text(number + 2, "aa")] = 3.0
            if number == 4:
                wanted[text(5, "aa")] = 8.0
            assert found == wanted
        padded = batch["lists"] < 0
        assert (batch["scores"][padded] == 0).all()
        assert (batch["relevant"][padded] == 0).all()


def test_training_leaves_out_what_is_measured(make: Make, tmp_path: Path) -> None:
    rows = [{"query": text(n, "aa"), "positive": text(n, "bb")} for n in range(30)]
    write(tmp_path / "rows.jsonl", [*rows, rows[20]])
    for split, own in (("validation", rows[:4]), ("test", rows[4:9])):
        write(tmp_path / f"{split}.jsonl", own)
    source = {"folder": None, "passages": None, "lists": None, "query_language": None,
              "files": "rows.jsonl", "validation": "validation.jsonl", "test": "test.jsonl",
              "language": "aa"}  # fmt: skip
    corpus = make(source, data_dir=str(tmp_path))
    (report,) = corpus.report
    assert (report.in_evaluation, report.repeated, report.held_out) == (9, 1, 0)
    sizes = [len(corpus._lists[split].query) for split in ("train", "validation", "test")]
    assert sizes == [21, 4, 5]


def test_rows_of_one_id_are_one_in_several_languages(make: Make, tmp_path: Path) -> None:
    for tag in TAGS:
        rows = [
            {"id": n, "query": f"cats {text(n, tag)}", "positive": [text(n, tag)],
             "negatives": [text(n + 1, tag)]}
            for n in range(40)
        ]  # fmt: skip
        write(tmp_path / f"rows.{tag}.jsonl", rows)
    source = {"folder": None, "passages": None, "lists": None, "query_language": None,
              "files": "rows.{language}.jsonl", "id": "id"}  # fmt: skip
    corpus = make(source, data_dir=str(tmp_path), sampler=Temperature(2.0), batch_tokens=2048)
    assert corpus._read_passages.copies.shape == (80, 3)
    lists = corpus._lists["train"]
    assert len(lists.language) == 3 * len(lists.query)
    assert corpus.shares().round(2).tolist() == [0.33, 0.33, 0.33]
    texts: list[set[str]] = []
    for split in ("train", "validation"):
        store = corpus._lists[split].queries.store
        ids = [store.gather(np.array([w])) for w in range(len(store.lengths))]
        texts.append({corpus.tokenizer.decode(one[2:-1]).split(" ", 1)[1] for one in ids})
    assert not texts[0] & texts[1]
    only = make(source, data_dir=str(tmp_path), query_languages=["bb"], passage_languages=["cc"])
    batch = next(iter(only.train_dataloader()))
    assert {only.languages[n] for n in batch["query_language"].tolist()} == {"bb"}
    assert {only.languages[n] for n in batch["passage_language"].tolist()} == {"cc"}
