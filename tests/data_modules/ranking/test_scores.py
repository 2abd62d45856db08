"""Scores that a folder holds: those of the very lists, or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ranked import Make, write

from data_modules import RetrievalCorpus
from data_modules.ranking.collection import Entry
from lit_distill.errors import UserError


def score(corpus: RetrievalCorpus, place: Path, **changed: Any) -> None:
    """Scores of all lists: 10 and falling, with the place of a passage."""
    (collection,), rows = corpus.collections(), []
    for entry in collection.entries("train"):
        assert isinstance(entry, Entry)
        scores = [10.0 - step for step in range(len(entry.passages))]
        row = {"source": 0, "query": entry.query, "passages": entry.passages, "scores": scores}
        rows.append({**row, **(changed if entry.query == "q7" else {})})
    write(place / "scores.jsonl", rows)
    (place / "provenance.json").write_text(json.dumps({"count": len(rows)}))


def test_scores_of_a_folder_are_those_of_their_lists(make: Make, tmp_path: Path) -> None:
    place = tmp_path / "scored"
    with pytest.raises(UserError, match=r"no scores\.jsonl"):
        make(scores=str(place))
    score(make(), place)
    corpus = make(scores=str(place))
    for batch in corpus.train_dataloader():
        steps = torch.arange(batch["lists"].shape[1]).expand_as(batch["lists"])
        wanted = torch.where(batch["lists"] >= 0, 10.0 - steps, 0.0)
        assert torch.equal(batch["scores"], wanted)
    assert corpus.content != make().content
    score(make(), place, passages=["p15", "p14", "p16", "p17"], scores=[1, 2, 3, 4])
    with pytest.raises(UserError, match="of other lists: query 'q7'"):
        make(scores=str(place))
    score(make(), place, passages=["p14"], scores=[1, 2])
    with pytest.raises(UserError, match="damaged"):
        make(scores=str(place))
    score(make(), place)
    (place / "provenance.json").write_text(json.dumps({"count": 99}))
    with pytest.raises(UserError, match="of 40 of 99 lists"):
        make(scores=str(place))
