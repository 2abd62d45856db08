"""Runs that must not be compared, by run folders made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_distill.errors import UserError
from lit_distill.tools.comparing.fairness import Item, Records, check_fair
from lit_distill.tools.comparing.grid import cost_of
from lit_distill.tools.comparing.records import Record, record_of
from lit_distill.tools.comparing.rows import TrainingCost

START, OTHER = "a" * 64, "b" * 64


def run(folder: Path, **changed: Any) -> Record:
    """The record of a run of 64 micro-batches and 32 updates, but for what is changed."""
    student = folder / "student"
    student.mkdir(parents=True)
    data = {"max_length": 16, "seed": 1, "data_dir": f"{folder}/texts", **changed.pop("data", {})}
    config = {
        "seed_everything": 1,
        "model": {"class_path": "lit_distill.methods.TripleLoss", "init_args": {
            "alpha_kd": 5.0, "teacher": {"name": "t"}, **changed.pop("model", {}),
            "layer_map": {"class_path": "lit_distill.models.Top", "init_args": {"k": 2}},
        }},
        "data": {"class_path": "MultilingualCorpus", "init_args": data},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    updates = changed.pop("updates", 32)
    best = {"students": {"student": {"updates": changed.pop("best", updates)}}}
    (folder / "report.json").write_text(json.dumps({"updates": updates, "best": best}))
    facts = {
        "students": {"student": {"layers": 3, "start": {"kind": "LayerCopyStudent"}}},
        "teachers": {"teacher": {"name": "t", "fingerprint": changed.pop("teacher", "f" * 64)}},
    }
    (folder / "facts.json").write_text(json.dumps(facts))
    training = {
        "format": 1, "updates": updates, "batches": 64, "tokens": 640, "processes": 1,
        "seconds": 2.5, "starts": {"student": START}, "texts": "c" * 32,
        "order": {"1": "d" * 32, "2": "e" * 32}, **changed,
    }  # fmt: skip
    (folder / "training.json").write_text(json.dumps(training))
    (student / "tokenizer.json").write_text(json.dumps({"model": {"vocab": ["a"]}, "padding": 3}))
    found = record_of(str(student))
    assert found is not None
    return found


def deviations(own: Record, control: Record, *allowed: Item) -> list[str]:
    found = check_fair({1: {"own": own, "control": control}}, "control", None, allowed)
    return [one.sentence for one in found]


def test_what_a_record_says(tmp_path: Path) -> None:
    own = run(tmp_path / "a", best=20)
    assert (own.updates, own.exported_after, own.tokens, own.seconds) == (32, 20, 640, 2.5)
    assert own.pipeline == {
        "method": "TripleLoss", "model.alpha_kd": 5.0, "model.layer_map.class_path": "Top",
        "model.layer_map.k": 2.0, "layers": 3.0, "updates": 32.0,
    }  # fmt: skip
    assert own.problems == ()
    assert run(tmp_path / "b", processes=2).tokens == 1280


def began_with(student: Path) -> dict[str, Any]:
    return {"student": {"class_path": "PretrainedStudent", "init_args": {"name": str(student)}}}


def test_a_run_that_goes_on_with_a_students_run_costs_both(tmp_path: Path) -> None:
    first = run(tmp_path / "a", updates=9)
    second = run(tmp_path / "b", model=began_with(first.run / "student"), seconds=4.0)
    third = run(tmp_path / "c", model=began_with(second.run / "student"), updates=2, tokens=5)
    assert [one.run.name for one in third.earlier] == ["b", "a"]
    cost = cost_of([third])
    assert cost == TrainingCost(2, 2, (9, 32), tokens=1285, seconds=9.0)
    (tmp_path / "a" / "training.json").unlink()  # as a run of an earlier release
    again = record_of(str(third.run / "student"))
    assert again is not None
    assert cost_of([again]) == TrainingCost(2, 2, (9, 32), None, None)
    elsewhere = run(tmp_path / "d", model=began_with(tmp_path / "hub-name"))
    assert elsewhere.earlier == ()


def test_runs_that_name_each_other_are_read_once(tmp_path: Path) -> None:
    own = run(tmp_path / "a", model=began_with(tmp_path / "b" / "student"))
    other = run(tmp_path / "b", model=began_with(own.run / "student"))
    assert [one.run.name for one in other.earlier] == ["a"]


def test_equal_runs_are_fair_wherever_their_texts_lie(tmp_path: Path) -> None:
    assert deviations(run(tmp_path / "a"), run(tmp_path / "b")) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"updates": 16}, "updates under seed 1: 16 of own, 32 of control"),
        ({"starts": {"student": OTHER}}, f"start under seed 1: {'b' * 12} of own, {'a' * 12} of"),
        ({"texts": "1" * 32}, f"data under seed 1: {'1' * 12} of own, {'c' * 12} of control"),
        ({"order": {"1": "d" * 32, "2": "0" * 32}}, f"order under seed 1: {'0' * 12} of own"),
        ({"teacher": "9" * 64}, f"teacher under seed 1: {'9' * 12} of own"),
        ({"tokens": 650}, "tokens under seed 1: 650 of own, 640 of control"),
    ],
)
def test_each_difference_is_refused_and_may_be_allowed(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    own, control = run(tmp_path / "a", **changed), run(tmp_path / "b")
    with pytest.raises(UserError, match="differ in more than their method") as refused:
        deviations(own, control)
    assert said in str(refused.value)
    item: Any = said.split()[0]
    assert f'--allow_differences "[{item}' in str(refused.value)
    allowed = [item, "tokens"] if item == "updates" else [item]
    assert deviations(own, control, *allowed)[0].startswith(said)
    if item != "teacher":
        with pytest.raises(UserError):
            deviations(own, control, "teacher")


def test_another_tokenizer_is_refused_and_other_padding_is_not(tmp_path: Path) -> None:
    own, control = run(tmp_path / "a"), run(tmp_path / "b")
    path = own.run / "student/tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": ["a"]}, "padding": None, "truncation": 5}))
    again = record_of(str(own.run / "student"))
    assert again is not None
    assert deviations(again, control) == []
    path.write_text(json.dumps({"model": {"vocab": ["b"]}}))
    other = record_of(str(own.run / "student"))
    assert other is not None
    with pytest.raises(UserError, match="tokenizer under seed 1"):
        deviations(other, control)


def test_a_truncation_reads_nothing_and_must_have_the_same_start(tmp_path: Path) -> None:
    nothing = {"updates": 0, "tokens": 0, "order": {}, "texts": None}
    control = run(tmp_path / "control")
    assert deviations(run(tmp_path / "cut", **nothing), control) == []
    other = run(tmp_path / "other", **nothing, starts={"student": OTHER})
    with pytest.raises(UserError, match="start under seed 1"):
        deviations(other, control)


def test_shorter_runs_are_compared_in_what_both_have_read(tmp_path: Path) -> None:
    control = run(tmp_path / "control")
    short = run(tmp_path / "short", order={"1": "d" * 32}, updates=16, tokens=320)
    assert deviations(short, control, "updates") == [
        "updates under seed 1: 16 of own, 32 of control"
    ]
    larger = run(tmp_path / "larger", updates=16, tokens=480)
    with pytest.raises(UserError, match="tokens under seed 1: 30 an update of own, 20 of control"):
        deviations(larger, control, "updates")


def test_runs_of_earlier_releases_are_compared_by_their_settings(tmp_path: Path) -> None:
    def old(name: str, **changed: Any) -> Record:
        folder = run(tmp_path / name, **changed).run
        (folder / "training.json").unlink()
        found = record_of(str(folder / "student"))
        assert found is not None
        return found

    control = old("control")
    assert deviations(old("a"), control) == []
    with pytest.raises(UserError, match="order under seed 1: seed 2 of own, seed 1 of control"):
        deviations(old("b", data={"seed": 2}), control)
    with pytest.raises(UserError, match="data under seed 1"):
        deviations(old("c", data={"max_length": 32}), control)
    assert control.tokens is None


def test_all_differences_of_all_seeds_are_said_at_once(tmp_path: Path) -> None:
    control = run(tmp_path / "control")
    few, other = run(tmp_path / "few", updates=1), run(tmp_path / "x", starts={"student": OTHER})
    records: Records = {
        1: {"few": few, "control": control, "hub": None, "teacher": other},
        2: {"few": control, "other": other, "control": control},
    }
    with pytest.raises(UserError) as refused:
        check_fair(records, "control", "teacher", ())
    said = str(refused.value)
    for line in ("updates under seed 1: 1 of few", "tokens under seed 1", "start under seed 2: "):
        assert line in said
    assert '--allow_differences "[updates, tokens, start]"' in said
    assert "teacher" not in said.split("Train")[0]


def test_without_a_control_runs_are_compared_with_the_first(tmp_path: Path) -> None:
    records: Records = {
        1: {"one": run(tmp_path / "one"), "two": run(tmp_path / "two", updates=8)},
    }
    with pytest.raises(UserError, match="updates under seed 1: 8 of two, 32 of one"):
        check_fair(records, None, None, ())
