"""A retrieval set as BEIR has it, and what reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ranked import LISTS, TAGS, Make, ready, text, write

from data_modules import RetrievalCorpus, RetrievalSource


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set as BEIR has it, whose passages have three languages; a few have two."""
    place = tmp_path_factory.mktemp("beir")
    for tag in TAGS:
        there = [n for n in range(80) if tag != "cc" or n not in (1, 3, 5, 7)]
        passages = [{"_id": f"p{n}", "title": "", "text": text(n, tag)} for n in there]
        write(place / f"corpus.{tag}.jsonl", passages)
    queries = [{"_id": f"q{n}", "text": f"cats {text(n, 'aa')}"} for n in range(LISTS + 5)]
    write(place / "queries.jsonl", queries)
    rows = [f"q{n}\tp{2 * n % 80}\t2\n" for n in range(LISTS)]
    (place / "qrels").mkdir()
    (place / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    tested = "".join(f"q{n} 0 p{n} 1\n" for n in range(LISTS, LISTS + 5))
    (place / "qrels/test.tsv").write_text(tested)
    listed = [
        {"query": f"q{n}", "passages": [f"p{(2 * n + step) % 80}" for step in range(3 + n % 3)]}
        for n in range(LISTS)
    ]
    write(place / "lists.jsonl", listed)
    return place


@pytest.fixture
def make(folder: Path, tiny_bert: Path, tmp_path: Path) -> Make:
    def build(source: dict[str, Any] | None = None, **options: Any) -> RetrievalCorpus:
        given: dict[str, Any] = {
            "folder": ".", "passages": "corpus.{language}.jsonl", "lists": "lists.jsonl",
            "query_language": "aa", **(source or {}),
        }  # fmt: skip
        settings: dict[str, Any] = {
            "tokenizer": str(tiny_bert), "data_dir": str(folder), "cache_dir": str(tmp_path / "c"),
            "max_length": 24, "batch_tokens": 512, "updates_per_epoch": 12, "holdout": 5,
        }  # fmt: skip
        return ready(RetrievalCorpus([RetrievalSource(**given)], **{**settings, **options}))

    return build
