"""Methods x seeds through the command line: fits, their records, the comparison, its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data_modules import MultilingualCorpus, Source
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models import TeacherSpec, fingerprint
from lit_distill.tools.comparing.compare import compare
from lit_distill.tools.comparing.records import record_of
from lit_distill.tools.recipes.recipe import read_recipe
from lit_distill.tools.reporting.measured import measured_of, sections_of

EXPERIMENT = """
model:
  class_path: TripleLoss
  init_args:
    dropout: 0.0
    optimizer: {class_path: AdamW, init_args: {lr: 3.0e-3}}
    teacher: {name: TEACHER}
    student: {class_path: LayerCopyStudent}
data: {class_path: MultilingualCorpus, init_args: DATA}
trainer:
  accelerator: cpu
  max_steps: 4
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: false
  callbacks: [ExportStudent]
"""


@pytest.fixture(scope="module")
def grid(
    tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, text_folder: Path
) -> Iterator[Path]:
    """Runs `states-seed=1` and 2, the same without the teacher, and one truncation."""
    folder = tmp_path_factory.mktemp("grid")
    data = {
        "sources": [{"files": f"{text_folder}/{{language}}.txt"}], "max_length": 16,
        "batch_tokens": 128, "updates_per_epoch": 4, "validation_windows": 12,
        "cache_dir": str(folder / "cache"),
    }  # fmt: skip
    text = EXPERIMENT.replace("TEACHER", str(tiny_bert)).replace("DATA", json.dumps(data))
    (folder / "exp.yaml").write_text(text)
    own = {"data": {"class_path": "MultilingualCorpus", "init_args": data}}
    own["data"]["init_args"]["tokenizer"] = str(tiny_bert)
    (folder / "data.yaml").write_text(yaml.safe_dump(own))
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    for seed in (1, 2):
        fit(folder, f"distilled-seed={seed}", seed)
        fit(folder, f"alone-seed={seed}", seed, "--control=no_teacher")
    fit(folder, "cut", 1, "--control=truncation")
    yield folder
    patch.undo()


def fit(folder: Path, name: str, seed: int, *args: str) -> None:
    own = [f"--run_dir={name}", f"--seed_everything={seed}", f"--data.seed={seed}"]
    assert main(["fit", "-c", str(folder / "exp.yaml"), *own, *args]) == 0


def compared(folder: Path, tiny_bert: Path, *args: str) -> dict[str, Any]:
    models = {
        "teacher": str(tiny_bert), "distilled": f"{folder}/distilled-seed={{seed}}/student",
        "control": f"{folder}/alone-seed={{seed}}/student", "cut": f"{folder}/cut/student",
    }  # fmt: skip
    own = [f"--models.{name}={source}" for name, source in models.items()]
    output = folder / "table"
    assert main(["compare", "--config", str(folder / "data.yaml"), *own, "--seeds", "[1, 2]",
                 f"--output={output}", *args]) == 0  # fmt: skip
    return dict(json.loads((output / "compare.json").read_text("utf-8")))


def test_a_grid_through_the_command_line(
    grid: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compared(grid, tiny_bert)
    assert (found["format"], found["seeds"], found["control"]) == (2, [1, 2], "control")
    methods = found["methods"]
    own, control = methods["distilled"], methods["control"]
    gaps = np.subtract(own["loss"]["by_seed"], control["loss"]["by_seed"])
    assert own["less_control"]["by_seed"] == pytest.approx(gaps)
    assert own["less_control"]["value"] == pytest.approx(gaps.mean())
    assert own["less_control"]["sd"] == pytest.approx(gaps.std(ddof=1))
    assert own["less_control"]["low"] < gaps.mean() < own["less_control"]["high"]
    assert len(methods["cut"]["loss"]["by_seed"]) == len(methods["teacher"]["loss"]["by_seed"]) == 1
    assert control["less_control"] is None
    assert methods["teacher"]["agreement"] is None
    assert own["training"]["updates"] == 4
    assert own["training"]["tokens"] == control["training"]["tokens"] > 4 * 20
    assert methods["cut"]["training"] == {
        "updates": 0, "exported_after": 0, "earlier": [], "tokens": 0, "seconds": 0,
    }  # fmt: skip
    assert methods["teacher"]["training"] is None
    assert 0 < own["without_embeddings"] < own["parameters"]
    assert own["worst"][1] == max(scores["loss"] for scores in own["scores"].values())
    assert (own["pipeline"]["method"], own["pipeline"]["layers"]) == ("TripleLoss", 2)
    assert (found["data"]["languages"], found["data"]["scripts"]) == (2, 1)
    assert (grid / "table/quality.png").read_bytes().startswith(b"\x89PNG")
    page = (grid / "table/compare.md").read_text("utf-8")
    shown = " ".join(capsys.readouterr().out.split())
    for text in (page, shown):
        assert "paired, over held-out windows, and over seeds" in text
    assert "less control's" in page
    assert f"{own['less_control']['value']:+.3f}" in page


def test_numbers_are_those_of_single_comparisons(grid: Path, tiny_bert: Path) -> None:
    """Each seed's loss and difference is what a comparison without seeds finds."""
    found = compared(grid, tiny_bert)["methods"]
    data = yaml.safe_load((grid / "data.yaml").read_text())["data"]["init_args"]
    corpus = MultilingualCorpus(**{**data, "sources": [Source(**data["sources"][0])]})
    for place, seed in enumerate((1, 2)):
        models = {
            "teacher": str(tiny_bert), "distilled": f"distilled-seed={seed}/student",
            "control": f"alone-seed={seed}/student",
        }  # fmt: skip
        alone = compare(models, corpus)["distilled"]
        assert alone.less_control is not None
        gap = found["distilled"]["less_control"]["by_seed"][place]
        assert gap == pytest.approx(alone.less_control.value, abs=1e-12)
        agreements = [scores["agreement"] for scores in alone.scores.values()]
        own = found["distilled"]["agreement"]["by_seed"][place]
        assert own == pytest.approx(sum(agreements) / 2, abs=1e-12)


def test_the_same_comparison_twice_finds_the_same(grid: Path, tiny_bert: Path) -> None:
    first, second = (compared(grid, tiny_bert) for _ in range(2))
    for found in (first, second):
        for row in found["methods"].values():
            del row["sentences_per_second"]
    assert first == second


def test_records_are_the_runs_own(grid: Path, tiny_bert: Path) -> None:
    runs = {name: record_of(str(grid / name / "student")) for name in
            ("distilled-seed=1", "distilled-seed=2", "alone-seed=1", "cut")}  # fmt: skip
    own, other, alone, cut = runs.values()
    assert own is not None
    assert other is not None
    assert alone is not None
    assert cut is not None
    assert own.identity["start"] == alone.identity["start"] == cut.identity["start"]
    assert own.identity["start"] == fingerprint(TeacherSpec(str(grid / "cut/student")).build())
    assert own.identity["teacher"] == fingerprint(TeacherSpec(str(tiny_bert)).build())
    assert own.order == alone.order != other.order
    assert set(own.order) == {"1", "2", "4"}
    assert own.identity["data"] == other.identity["data"]
    assert (own.seconds or 0) > 0
    assert cut.is_start
    assert not cut.order
    assert record_of(str(tiny_bert)) is None


def test_runs_that_differ_are_refused_before_anything_is_measured(
    grid: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = grid / "kept"
    (grid / "distilled-seed=2").rename(kept)
    try:
        fit(grid, "distilled-seed=2", 3, "--trainer.max_steps=2")  # another seed, fewer updates
        models = {
            "distilled": "distilled-seed={seed}/student",
            "control": "alone-seed={seed}/student",
        }
        own = [f"--models.{name}={source}" for name, source in models.items()]
        args = ["compare", "--config", "data.yaml", *own, "--seeds=[1, 2]"]
        capsys.readouterr()
        assert main(args) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "updates under seed 2: 2 of distilled, 4 of control" in said
        assert "order under seed 2: " in said
        assert "seed 1:" not in said
        assert '--allow_differences "[order, updates]"' in said
        assert main([*args, "--allow_differences=[updates, order]"]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "Not alike, and compared all the same: updates under seed 2: 2 of distilled" in shown
    finally:
        shutil.rmtree(grid / "distilled-seed=2")
        kept.rename(grid / "distilled-seed=2")


def test_seeds_and_folders_belong_together(grid: Path, tiny_bert: Path) -> None:
    corpus = MultilingualCorpus([Source(files="x")], str(grid), tokenizer=str(tiny_bert))
    by_seed = {"a": "runs/a-seed={seed}/student"}
    with pytest.raises(UserError, match=r"a: \{seed\} in a folder is a seed, and none is given"):
        compare(by_seed, corpus)
    with pytest.raises(UserError, match=r"no model has \{seed\} in its folder"):
        compare({"a": str(tiny_bert)}, corpus, seeds=(1, 2))
    with pytest.raises(UserError, match=r"\[1, 1\] has one twice"):
        compare(by_seed, corpus, seeds=(1, 1))
    with pytest.raises(UserError, match="nothing is asserted of models"):
        compare({"a": str(tiny_bert)}, corpus, allow_differences=("updates",))


def test_a_stage_of_a_recipe_names_all_seeds(tmp_path: Path) -> None:
    stages = {
        "one": {"command": "fit", "for": {"seed": [1, 2], "lr": ["1e-3", "3e-4"]}},
        "table": {
            "command": "compare",
            "options": {
                "models": {"one": "{stages.one[lr=1e-3,seed={seed}]}/student"},
                "seeds": "{variables.seeds}",
            },
        },
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump(
            {"run_dir": "r", "variables": {"seeds": [1, 2]}, "stages": stages}, sort_keys=False
        )
    )
    table = read_recipe(tmp_path / "r.yaml", {}).stages[-1]
    assert table.args[:2] == ("--models.one=r/one-seed={seed}-lr=1e-3/student", "--seeds=[1, 2]")
    assert table.needs == ("one-seed=1-lr=1e-3", "one-seed=2-lr=1e-3")


def test_a_report_shows_the_methods(grid: Path, tiny_bert: Path) -> None:
    compared(grid, tiny_bert)
    table, cost = sections_of(measured_of(grid / "table", "table"), {})
    assert "Side by side" in table.title
    cells = str(table.blocks) + str(cost.blocks)
    assert "distilled" in cells
    assert "languages" not in {row.title for row in (table, cost)}
