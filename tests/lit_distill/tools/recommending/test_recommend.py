"""Recommendations from tables whose answer is known, and refusals where there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from comparison_tables import PIPELINES, Gain, write_table

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.tools.recommending.recommend import _asked as described
from lit_distill.tools.recommending.recommend import _beyond as beyond
from lit_distill.tools.recommending.recommend import recommend
from lit_distill.tools.recommending.regression import Columns, Kind, fitted, left_out, mean_of_all
from lit_distill.tools.recommending.trials import Trial, read_tables, trials_of
from lit_distill.tools.recommending.verdict import judged


def mixed(name: str, data: Mapping[str, float]) -> float:
    """States win where text is mixed, logits where it is not."""
    share = data["code_mixing"]
    return {"states": 0.3 * share, "logits": 0.3 * (1 - share), "relations": 0.1,
            "small": 0.15 * share}[name]  # fmt: skip


def tables(folder: Path, gain: Gain, number: int = 6) -> list[str]:
    return [
        write_table(folder / f"t{place}", {
            "languages": 2.0 + place % 3, "code_mixing": place / (number - 1), "vocabulary": 500.0,
        }, gain) for place in range(number)
    ]  # fmt: skip


def chance(name: str, data: Mapping[str, float]) -> float:
    seed = [int(1000 * value) for value in data.values()]
    return float(np.random.default_rng([sum(name.encode()), *seed]).normal(0, 0.1))


def test_a_known_answer_is_found_and_depends_on_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = tables(tmp_path, mixed)
    output = str(tmp_path / "out")
    mix = recommend(paths, {"languages": 3, "code_mixing": 0.9}, output=output)
    shown = " ".join(capsys.readouterr().out.split())
    assert [one.name for one in mix][0::3] == ["states", "logits"]
    assert mix[0].predicted == pytest.approx(0.27, abs=0.05)
    assert mix[0].tables == 6
    assert mix[0].mean == pytest.approx(0.15)
    rows, _ = trials_of(read_tables(paths), None)
    verdict = judged(rows, "ridge")
    assert mix[0].error == verdict.model.absolute < verdict.average.absolute
    for line in verdict.sentences:
        assert line.strip() in shown
    written = json.loads((tmp_path / "out/recommendation.json").read_text("utf-8"))
    assert [one["name"] for one in written["pipelines"]] == [one.name for one in mix]
    assert written["errors"]["model"]["absolute"] == verdict.model.absolute
    assert written["data"]["vocabulary"] == 500  # the same in all tables, so it need not be given
    assert "± error left out" in (tmp_path / "out/recommendation.md").read_text("utf-8")


def test_boosting_finds_it_too(tmp_path: Path) -> None:
    rows, _ = trials_of(read_tables(tables(tmp_path, mixed, 8)), None)
    predicts = fitted(rows, "boosting")
    for share, best in ((0.9, "states"), (0.1, "logits")):
        data = {"languages": 3.0, "code_mixing": share, "vocabulary": 500.0}
        asked = [Trial("", name, data, own, 0.0) for name, own in PIPELINES.items()]
        assert [*PIPELINES][int(predicts(asked).argmax())] == best


@pytest.mark.parametrize("kind", ["ridge", "boosting"])
def test_the_same_tables_twice_say_the_same(tmp_path: Path, kind: Kind) -> None:
    rows, _ = trials_of(read_tables(tables(tmp_path, mixed, 3)), None)
    assert judged(rows, kind) == judged(rows, kind)


def test_noise_is_refused_with_the_numbers(tmp_path: Path) -> None:
    paths = tables(tmp_path, chance)
    rows, _ = trials_of(read_tables(paths), None)
    verdict = judged(rows, "ridge")
    with pytest.raises(UserError, match=r"Nothing is recommended") as refused:
        recommend(paths, {"languages": 3, "code_mixing": 0.5}, output=str(tmp_path / "out"))
    said = str(refused.value)
    assert f"mean absolute error {verdict.model.absolute:.4g}" in said
    assert "no smaller than what pipelines differ by" in said
    assert "which may be chance" in said
    assert not (tmp_path / "out").exists()


def test_what_averages_say_is_no_recommendation_of_a_model(tmp_path: Path) -> None:
    """One pipeline wins everywhere by as much: nothing depends on the data."""

    def same(name: str, data: Mapping[str, float]) -> float:
        return 0.1 * [*PIPELINES].index(name) + 1e-3 * chance(name, data)

    with pytest.raises(UserError, match="no better than each pipeline's mean over other") as found:
        recommend(tables(tmp_path, same, 4), {"languages": 3, "code_mixing": 0.5})
    assert "small is the best on average, and averages do tell" in str(found.value)


def test_too_few_tables_rows_or_pipelines(tmp_path: Path) -> None:
    paths = tables(tmp_path, mixed)
    with pytest.raises(UserError, match=r"8 rows of 2 data sets: too few"):
        recommend(paths[:2])
    one = {"states": PIPELINES["states"]}
    small = [write_table(tmp_path / f"s{n}", {"languages": n}, lambda *_: 0.1, one)
             for n in (1, 2, 3)]  # fmt: skip
    with pytest.raises(UserError, match=r"3 rows of 3 data sets: too few"):
        recommend(small)
    with pytest.raises(UserError, match="Table s1 has a single pipeline"):
        recommend([*paths[:3], small[0]])


def test_which_data_set_is_asked_about(tmp_path: Path) -> None:
    paths = tables(tmp_path, mixed)
    read = read_tables(paths)
    with pytest.raises(UserError, match=r"For which data set\?.*--data.code_mixing \(0 to 1 in"):
        described(read, {"languages": 3}, None)
    with pytest.raises(UserError, match=r"--data\.lines: the tables have no such feature"):
        described(read, {"lines": 3}, None)
    like = described(read, {}, paths[5])
    assert like == described(read, {"languages": 4, "code_mixing": 1}, None)
    assert like["teacher_loss"] == 2.0
    assert beyond(read, like) == []
    other = described(read, {"languages": 9}, paths[5])
    assert "so the error above is too small: languages 9 (2 to 4)" in beyond(read, other)[0]


def test_what_is_no_table(tmp_path: Path) -> None:
    paths = tables(tmp_path, mixed)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/compare.json").write_text(json.dumps({"a": {"scores": {}}}))
    with pytest.raises(UserError, match=r"old/compare.json is no comparison of methods under seed"):
        recommend([*paths, str(tmp_path / "old")])
    with pytest.raises(UserError, match=r"Table .*t0 is given twice"):
        recommend([*paths, f"{paths[0]}/compare.json"])
    write_table(tmp_path / "u", {"languages": 2.0, "code_mixing": 0.0, "vocabulary": 500.0}, mixed)
    with pytest.raises(UserError, match="Tables t0 and u are of one data set"):
        recommend([*paths, str(tmp_path / "u")])


def test_the_target_is_the_gain_or_what_is_kept(tmp_path: Path) -> None:
    paths = tables(tmp_path, mixed, 3)
    rows, target = trials_of(read_tables(paths), None)
    assert target == "gain"
    assert {row.name for row in rows} == set(PIPELINES)
    assert rows[1].achieved == pytest.approx(0.3)
    kept, _ = trials_of(read_tables(paths), "kept")
    assert {row.name for row in kept} == {*PIPELINES, "control"}  # a student, too
    own = next(row for row in kept if row.name == "logits")
    assert own.achieved == pytest.approx(2.0 / 2.7)
    without = [write_table(tmp_path / f"w{n}", {"languages": n}, mixed_alone, control=None)
               for n in (1, 2)]  # fmt: skip
    assert trials_of(read_tables(without), None)[1] == "kept"


def mixed_alone(name: str, data: Mapping[str, float]) -> float:
    return 0.1


def test_left_out_data_sets_are_not_seen() -> None:
    """By hand: two data sets, of which each is predicted by the mean of the other."""
    rows = [Trial("a", "x", {}, {}, 1.0), Trial("a", "y", {}, {}, 2.0), Trial("b", "x", {}, {}, 5)]
    errors = [error for _, error in left_out(rows, mean_of_all)]
    assert errors == [4.0, 3.0, 3.5]


def test_errors_of_baselines_and_the_spread_by_hand() -> None:
    """All pipelines of a data set achieve the same, 0, 1 or 2."""
    rows = [Trial(name, pipeline, {}, {"p": pipeline}, float(value))
            for value, name in enumerate("abc") for pipeline in "xyz"]  # fmt: skip
    verdict = judged(rows, "ridge")
    assert verdict.mean.absolute == verdict.average.absolute == pytest.approx((1.5 + 0 + 1.5) / 3)
    assert (verdict.spread, verdict.mean.ranks) == (0, None)
    rows = [Trial(one.data_set, one.name, {}, one.pipeline, place % 3)
            for place, one in enumerate(rows)]  # fmt: skip
    verdict = judged(rows, "ridge")
    assert verdict.spread == pytest.approx(2 / 3)
    assert (verdict.average.absolute, verdict.average.ranks) == (0, pytest.approx(1))


def test_columns_are_numbers_where_all_rows_have_numbers() -> None:
    rows = [{"lr": 1.0, "loss": "mse", "k": 2.0}, {"lr": 3.0, "k": 2.0}, {"loss": "cos", "k": 2.0}]
    columns = Columns.of(rows)
    assert columns.numbers == {"lr": (2.0, 1.0)}
    assert columns.choices == {"loss": ("(absent)", "cos", "mse")}
    table = columns.table([*rows, {"lr": 5.0, "loss": "other"}])
    assert table[:, 0].tolist() == [-1, 1, 0, 3]
    assert table[3, 1:].tolist() == pytest.approx([-1 / 3] * 3)


def test_pipelines_of_one_name_are_told_apart(tmp_path: Path) -> None:
    def variants(rate: float) -> dict[str, dict[str, object]]:
        return {name: {**own, "model.lr": rate} for name, own in PIPELINES.items()}

    paths = [
        write_table(tmp_path / f"t{n}", {"languages": 2.0, "code_mixing": n / 5}, mixed,
                    variants(1e-3 if n % 2 else 1e-4))
        for n in range(6)
    ]  # fmt: skip
    found = recommend(paths, {"code_mixing": 0.9})
    assert {one.name for one in found[:2]} == {"states (lr 0.001)", "states (lr 0.0001)"}
    assert found[0].tables == 3


def test_rows_that_differ_in_nothing_have_their_mean() -> None:
    rows = [Trial(name, "x", {}, {}, value) for name, value in (("a", 1.0), ("b", 3.0))]
    assert fitted(rows, "ridge")(rows).tolist() == [2.0, 2.0]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = tables(tmp_path, mixed)
    args = ["--data.languages", "3", "--data.code_mixing=0.9"]
    assert main(["recommend", *paths, *args]) == 0
    assert "Left-out data sets (6, 24 rows)" in " ".join(capsys.readouterr().out.split())
    assert main(["recommend", *paths[:2], *args]) == 2


def test_it_may_be_the_last_stage_of_a_recipe(tmp_path: Path) -> None:
    listed = ", ".join(tables(tmp_path, mixed))
    asked = {"tables": f"[{listed}]", "data.languages": 3, "data.code_mixing": 0.9}
    recipe = {
        "run_dir": str(tmp_path / "r"),
        "stages": {"best": {"command": "recommend", "options": asked}},
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe))
    assert main(["run", str(file)]) == 0
    assert (tmp_path / "r" / "best" / "recommendation.md").is_file()
