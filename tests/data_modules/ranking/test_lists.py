"""Batches of queries and lists: views, languages that are mixed, draws, splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranked import LISTS, TAGS, Make, read, ready, text, write

from data_modules import PhrasebookRetrieval, RetrievalCorpus
from data_modules.phrasebook_retrieval import PhrasebookPassages
from data_modules.ranking.collation import _drawn
from data_modules.ranking.collection import Entry
from lit_distill.batch import RetrievalBatch
from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer
from lit_distill.models.fitting.first_batch import Reach, check_batch


@pytest.mark.parametrize("mixing", ["passages", "entries", "all"])
def test_lists_name_the_passages_of_their_query(make: Make, mixing: str) -> None:
    """Number by number: what a list names is what the files have in that place."""
    corpus = make(language_mixing=mixing, passage_prefix="book ", query_prefix="wall ")
    assert corpus.languages == list(TAGS)
    seen: set[str] = set()
    for batch in corpus.train_dataloader():
        queries, passages = read(corpus, batch, "query_"), read(corpus, batch, "passage_")
        keys = ("passage_language", "passage_sample_id")
        rows = list(zip(*(batch[key].tolist() for key in keys), strict=True))
        assert len({*rows}) == len(rows) == len(passages)  # each once
        assert len(passages) * batch["passage_input_ids"].shape[1] <= 512
        for row, query in enumerate(queries):
            number = next(n for n in range(LISTS) if query == f"wall cats {text(n, 'aa')}")
            own = [place for place in batch["lists"][row].tolist() if place >= 0]
            assert len(own) == 3 + number % 3
            tags = [corpus.languages[int(batch["passage_language"][place])] for place in own]
            for step, (place, tag) in enumerate(zip(own, tags, strict=True)):
                assert passages[place] == f"book {text((2 * number + step) % 80, tag)}"
            wanted = [2] + [0] * (batch["lists"].shape[1] - 1)
            assert batch["relevant"][row].tolist() == wanted
            assert mixing == "passages" or len({*tags}) == 1
            seen |= {*tags}
        assert (batch["lists"] >= 0).int().diff(dim=1).max() <= 0  # -1 at the end alone
        assert "scores" not in batch
        assert {*batch} - {*RetrievalBatch.__annotations__} <= {
            f"{view}{key}" for view in ("query_", "passage_") for key in ("sample_id", "tokens")
        } | {"input_ids", "attention_mask", "language", "sample_id", "tokens", "rows", "targets",
             "counts"}  # fmt: skip
        check_batch(batch, Reach(3, len(corpus.tokenizer), None, 32), "it")
        counts = batch["counts"]
        for view in ("query_", "passage_"):
            assert counts[f"{view}tokens"] == int(batch[f"{view}attention_mask"].sum())
            assert counts[f"{view}sequences"] == len(batch[f"{view}input_ids"])
            flat = batch[f"{view}attention_mask"].flatten().nonzero().squeeze(1)
            assert torch.equal(batch[f"{view}tokens"], flat)
    assert seen == set(TAGS)


def test_all_languages_of_a_list_are_rows_of_one_group(make: Make) -> None:
    corpus, seen = make(language_mixing="all"), set()
    for batch in corpus.train_dataloader():
        assert batch["group"].diff().min() >= 0
        for group in range(int(batch["group"].max()) + 1):
            rows = (batch["group"] == group).nonzero().squeeze(1)
            lists = batch["lists"][rows]
            same = batch["passage_sample_id"][lists.clamp(min=0)]
            assert (same == same[:1]).all()
            assert (batch["query_sample_id"][rows] == batch["query_sample_id"][rows[0]]).all()
            places = [[place for place in row if place >= 0] for row in lists.tolist()]
            tags = [int(batch["passage_language"][own[0]]) for own in places]
            # The lists of queries 0 to 3 have a passage without a text in the third language.
            lacking = int(batch["passage_sample_id"][places[0][0]]) < 8
            assert tags == ([0, 1] if lacking else [0, 1, 2])
            seen.add(lacking)
    assert seen == {True, False}


def test_languages_are_drawn_by_seed_pass_and_list(make: Make) -> None:
    """Whoever makes a batch, in whatever company, sees the same; another pass or seed does not."""
    one, two, other = make(), make(), make(seed=7)
    examples, first = np.arange(20), np.zeros(20, dtype=np.int64)

    def drawn(corpus: RetrievalCorpus, examples: np.ndarray, passes: np.ndarray) -> list[Any]:
        batch = corpus.collator()(examples, passes)
        tags = batch["passage_language"][batch["lists"].clamp(min=0)]
        own = zip(tags.tolist(), batch["lists"].tolist(), strict=True)
        return [[t for t, place in zip(*row, strict=True) if place >= 0] for row in own]

    assert drawn(one, examples, first) == drawn(two, examples, first)
    assert drawn(one, examples, first)[3:5] == drawn(one, examples[3:5], first[3:5])
    assert drawn(one, examples, first) != drawn(one, examples, first + 1)
    assert drawn(one, examples, first) != drawn(other, examples, first)


def test_every_language_is_drawn_equally_often() -> None:
    there = np.array([[True, False, True, True], [False, True, False, False]])
    bits = np.linspace(0, 2**32, 3000, endpoint=False).astype(np.uint64)[:, None]
    drawn = _drawn(np.broadcast_to(there, (3000, 2, 4)), np.repeat(bits, 2, 1))
    assert np.abs(np.bincount(drawn[:, 0], minlength=4) - [1000, 0, 1000, 1000]).max() <= 1
    assert (drawn[:, 1] == 1).all()


def test_a_run_goes_on_with_the_very_batches(make: Make) -> None:
    whole = [batch["passage_input_ids"] for batch in make().train_dataloader()]
    corpus = make()
    loader = corpus.train_dataloader()
    stream = iter(loader)
    for _ in range(5):
        next(stream)
    state = corpus.state_dict()
    again = make()
    again.load_state_dict(state)
    rest = [batch["passage_input_ids"] for batch in again.train_dataloader()]
    assert len(rest) == 7
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[5:], strict=True))
    other = make(language_mixing="entries")
    other.load_state_dict(state)
    with pytest.raises(UserError, match="another order"):
        other.train_dataloader()


def test_random_lists_change_by_pass_and_keep_what_is_relevant(make: Make) -> None:
    corpus = make(list_size=2, draw="random")
    collate, examples = corpus.collator(), np.arange(20)
    seen = []
    for number in range(4):
        batch = collate(examples, np.full(20, number))
        assert batch["lists"].shape == (20, 2)
        assert (batch["lists"] >= 0).all()
        assert (batch["relevant"].max(1).values == 2).all()
        seen.append(batch["passage_sample_id"][batch["lists"]])
    assert any(not torch.equal(seen[0], other) for other in seen[1:])
    first = make(list_size=2).collator()(examples, np.full(20, 1))
    assert (first["relevant"][:, 0] == 2).all()
    # Validation is measured on the same passages every time.
    loaders = corpus.val_dataloader()
    again = corpus.val_dataloader()
    for one, two in zip(loaders[0], again[0], strict=True):
        assert torch.equal(one["passage_input_ids"], two["passage_input_ids"])


def test_a_query_is_in_one_split_and_excluded_ones_in_none(make: Make, tmp_path: Path) -> None:
    corpus = make()
    sizes = {split: len(corpus._lists[split].query) for split in ("train", "validation", "test")}
    assert sizes["train"] + sizes["validation"] == LISTS
    assert sizes["validation"] > 0
    assert sizes["test"] == 5
    (report,) = corpus.report
    assert (report.held_out, report.broken, report.unknown) == (sizes["validation"], 0, 0)
    hashes = [set(corpus.text_hashes(split).tolist()) for split in ("train", "validation", "test")]
    assert not (hashes[0] | hashes[1]) & hashes[2]
    left = tmp_path / "left.txt"
    left.write_text(f"cats {text(3, 'aa')}\n{text(5, 'bb')}\n")
    without = make(exclude=[str(left)])
    (report,) = without.report
    assert report.excluded == 2
    assert report.unknown == 0  # passage 5 has other languages
    assert sum(len(without._lists[split].query) for split in ("train", "validation")) == LISTS - 1


def test_what_cannot_work_is_said(make: Make, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="take up to"):
        make(list_size=64, batch_tokens=24)
    with pytest.raises(UserError, match="Nobody says the language"):
        make({"query_language": None})
    with pytest.raises(UserError, match="have no language in which all"):
        make({"passages": [f"corpus.{tag}.jsonl" for tag in ("aa",)], "language": "aa",
              "lists": "mixed.jsonl"} | _mixed(tmp_path, folder),
             data_dir=str(tmp_path), language_mixing="entries")  # fmt: skip
    with pytest.raises(UserError, match="needs a `folder`"):
        make({"folder": None, "passages": None, "lists": None})
    write(tmp_path / "empty/corpus.jsonl", [{"_id": 1, "text": "the"}])
    with pytest.raises(UserError, match="qrels"):
        make({"folder": "empty", "passages": None, "lists": None}, data_dir=str(tmp_path))
    (tmp_path / "odd.tsv").write_text("nobody\tp1\t1\n" * 3)
    with pytest.raises(UserError, match="a query that is not among the queries"):
        make({"files": str(tmp_path / "odd.tsv"), "lists": None})
    with pytest.raises(UserError, match=r"docs/retrieval\.md"):
        make().provenance()


def _mixed(place: Path, folder: Path) -> dict[str, str]:
    """Passages of which some are in one language alone, and lists with both kinds."""
    rows = [{"_id": f"p{n}", "text": text(n, TAGS[n % 2]), "tag": TAGS[n % 2]} for n in range(80)]
    write(place / "mixed_corpus.jsonl", rows)
    (place / "queries.jsonl").write_text((folder / "queries.jsonl").read_text())
    (place / "mixed.jsonl").write_text((folder / "lists.jsonl").read_text())
    return {"passages": "mixed_corpus.jsonl", "language_column": "tag", "query_language": "aa"}


def test_texts_are_cut_and_markers_are_text(make: Make, tmp_path: Path) -> None:
    corpus = make(max_query_length=6)
    (report,) = corpus.report
    assert report.cut > 0
    tokenizer = load_tokenizer(corpus.tokenizer.name_or_path)
    for batch in corpus.train_dataloader():
        assert batch["query_input_ids"].shape[1] <= 6
        ends = batch["query_input_ids"] == tokenizer.sep_token_id
        assert ends.sum(1).tolist() == [1] * len(ends)


def test_workers_make_the_same_batches(make: Make) -> None:
    alone, shared = make(updates_per_epoch=3), make(updates_per_epoch=3, num_workers=1)
    for one, two in zip(alone.train_dataloader(), shared.train_dataloader(), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one if key != "counts")  # type: ignore[literal-required]


def test_the_phrasebook_ranks_what_is_alike_first(tiny_bert: Path, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"queries": 40, "measured_queries": 10, "negatives": 5}
    read: dict[str, Any] = {"max_length": 32, "batch_tokens": 1024, "updates_per_epoch": 2}
    given = {"tokenizer": str(tiny_bert), "cache_dir": str(tmp_path), **sizes, **read}
    corpus = ready(PhrasebookRetrieval(queries_in=["en"], passages_in=["de", "es"], **given))
    batch = next(iter(corpus.train_dataloader()))
    assert (batch["scores"].argmax(1) == batch["relevant"].argmax(1)).all()
    assert batch["scores"].max() == 6.0
    (collection,) = corpus.collections()
    assert isinstance(collection, PhrasebookPassages)
    passages = {(one.id, one.language): one.text for one in collection.passages()}  # type: ignore[union-attr]
    queries = {one.id: one.text for one in collection.queries()}  # type: ignore[union-attr]
    assert len(passages) == 2 * 60
    entries = [one for one in collection.entries("test") if isinstance(one, Entry)]
    assert len(entries) == 10
    english = PhrasebookPassages(("en",), ("en",), collection.sizes, 5, True, 0)
    said = {one.id: one.text for one in english.passages()}  # type: ignore[union-attr]
    for entry in entries:
        assert queries[entry.query] in said[entry.passages[0]]
        assert entry.relevant[0] == 1
        assert len(entry.passages) >= 6
