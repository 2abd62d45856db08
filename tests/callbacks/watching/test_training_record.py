"""What a run writes down about its start and the order of its texts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from callbacks.watching.training_record import HASHED, TRAINING, TrainingRecord


def module(seen: Any = None, weight: float = 1.0) -> Any:
    student = SimpleNamespace(model=torch.nn.Linear(1, 1))
    torch.nn.init.constant_(student.model.weight, weight)
    torch.nn.init.zeros_(student.model.bias)
    cast = SimpleNamespace(student_models={"student": student})
    return SimpleNamespace(cast=cast, data_facts=SimpleNamespace(seen_texts=seen))


def batch(*ids: int, masks: int = 0) -> dict[str, Any]:
    return {
        "sample_id": torch.tensor(ids),
        "language": torch.zeros(len(ids), dtype=torch.int64),
        "input_ids": torch.full((len(ids), 3), masks),
        "counts": {"tokens": 3 * len(ids), "sequences": len(ids)},
    }


def written(record: TrainingRecord, folder: Path, updates: int = 2) -> dict[str, Any]:
    record.rest()
    trainer: Any = SimpleNamespace(global_step=updates, world_size=1, default_root_dir=str(folder))
    record.write(trainer)
    path = folder / TRAINING
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def read(*batches: dict[str, Any], weight: float = 1.0) -> TrainingRecord:
    record, own = TrainingRecord(), module(weight=weight)
    record.begin(own)
    for one in batches:
        record.read(one, own)
    return record


def test_counts_and_hashes(tmp_path: Path) -> None:
    found = written(read(batch(1, 2), batch(3), batch(4)), tmp_path)
    assert (found["tokens"], found["sequences"], found["batches"]) == (12, 4, 3)
    assert set(found["order"]) == {"1", "2"}
    assert found["seconds"] >= 0
    assert found["updates"] == 2


def test_the_order_is_that_of_texts_and_not_of_masks(tmp_path: Path) -> None:
    order = written(read(batch(1, 2), batch(3)), tmp_path)["order"]
    assert written(read(batch(1, 2, masks=9), batch(3)), tmp_path)["order"] == order
    assert written(read(batch(3), batch(1, 2)), tmp_path)["order"] != order
    other = written(read(batch(1, 2), batch(5)), tmp_path)["order"]
    assert (other["1"], other["2"] != order["2"]) == (order["1"], True)


def test_texts_without_numbers_are_told_by_their_tokens(tmp_path: Path) -> None:
    def bare(token: int) -> dict[str, Any]:
        return {"input_ids": torch.full((1, 2), token)}

    found = [written(read(bare(token)), tmp_path)["order"] for token in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_only_the_beginning_is_hashed(tmp_path: Path) -> None:
    found = written(read(*(batch(n) for n in range(HASHED + 5))), tmp_path)
    assert set(found["order"]) == {"1", "2", "4", "8", "16", "32", "64"}
    assert found["batches"] == HASHED + 5


def test_the_start_is_that_before_the_first_update(tmp_path: Path) -> None:
    own = module()
    record = TrainingRecord()
    record.begin(own)
    torch.nn.init.constant_(own.cast.student_models["student"].model.weight, 7.0)
    record.begin(own)  # of a fit that goes on
    starts = written(record, tmp_path)["starts"]
    assert starts == written(read(), tmp_path)["starts"]
    assert starts != written(read(weight=7.0), tmp_path)["starts"]


def test_a_run_that_goes_on_has_the_record_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole = written(read(batch(1), batch(2), batch(3), batch(4)), tmp_path)
    first, second = read(batch(1), batch(2)), TrainingRecord()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    changed = module(weight=5.0)
    second.begin(changed)
    for one in (batch(3), batch(4)):
        second.read(one, changed)
    found = written(second, tmp_path)
    assert found.pop("seconds") >= 0
    del whole["seconds"]
    assert found == whole


def test_a_run_of_an_earlier_release_says_nothing(tmp_path: Path) -> None:
    record = TrainingRecord()
    record.load_state_dict(None)
    record.begin(module())
    record.read(batch(1), module())
    assert written(record, tmp_path) == {}
    assert record.state_dict() is None
