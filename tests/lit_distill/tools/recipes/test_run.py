"""Running recipes: what is skipped, resumed, run again, and how a stage is stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.tools.recipes import run as runner
from lit_distill.tools.recipes.run import execute, run

RECIPE = """
run_dir: r
variables: {updates: 5}
stages:
  one: {command: fit, config: part.yaml, options: {trainer.max_steps: "{variables.updates}"}}
  two: {command: fit, options: {model.teacher.name: "{stages.one}/student"}}
  other: {command: train-tokenizer}
  three: {command: export, options: {checkpoint: "{stages.two}"}}
"""


class Stages:
    """Stands in for the commands: notes what would run, and writes a stage's folder."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.codes: dict[str, int] = {}
        self.without_student: list[str] = []

    def __call__(self, args: list[str]) -> int:
        folder = next(a.partition("=")[2] for a in args if a.startswith(("--run_dir", "--output")))
        name = Path(folder).name
        resumed = " resumed" if "--ckpt_path=last" in args else ""
        self.ran.append(name + resumed)
        code = self.codes.get(name, 0)
        checkpoints = Path(folder) / "checkpoints"
        if args[0] == "fit":
            checkpoints.mkdir(parents=True, exist_ok=True)
            torch.save({"global_step": 1}, checkpoints / "last.ckpt")
            if name not in self.without_student:
                (Path(folder) / "student").mkdir(exist_ok=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
        return code

    def take(self) -> list[str]:
        ran, self.ran = self.ran, []
        return ran


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("part.yaml").write_text("a: 1\n")
    fake = Stages()
    monkeypatch.setattr(runner, "execute", fake)
    return fake


def test_finished_stages_are_skipped(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "recipe.yaml"]) == 0
    assert stages.take() == ["one", "two", "other", "three"]
    assert "tensorboard --logdir r" in capsys.readouterr().out
    run("recipe.yaml")
    assert stages.take() == []
    assert capsys.readouterr().out.count("finished before") == 4


def test_a_changed_stage_runs_again_with_all_that_need_it(stages: Stages) -> None:
    run("recipe.yaml")
    stages.take()
    run("recipe.yaml", {"updates": "6"})
    assert stages.take() == ["one", "two", "three"]
    Path("part.yaml").write_text("a: 2\n")
    run("recipe.yaml", {"updates": "6"})
    assert stages.take() == ["one", "two", "three"]
    # training is never thrown away
    assert sorted(p.name for p in Path("r").glob("one*")) == ["one", "one.old-1", "one.old-2"]
    assert (Path("r") / "one.old-1/checkpoints/last.ckpt").exists()


def test_a_deleted_folder_runs_again_with_all_that_need_it(stages: Stages) -> None:
    run("recipe.yaml")
    stages.take()
    (Path("r") / "two").rename("elsewhere")
    run("recipe.yaml")
    assert stages.take() == ["two", "three"]


def test_a_stage_whose_student_is_gone_is_not_finished(stages: Stages) -> None:
    run("recipe.yaml")
    stages.take()
    for name in ("one", "two"):  # `two` is read as a whole
        student = Path("r") / name / "student"
        student.rmdir()
        with pytest.raises(UserError, match=f"export r/{name} --output {student}.*--from_stage"):
            run("recipe.yaml")
        assert stages.take() == []
        student.mkdir()
    (Path("r") / "one/student").rmdir()
    shutil.rmtree("r/one/checkpoints")
    run("recipe.yaml")
    assert stages.take() == ["one", "two", "three"]


def test_a_stage_that_leaves_no_student_is_not_finished(stages: Stages) -> None:
    stages.without_student = ["one"]
    with pytest.raises(UserError, match="one has ended without r/one/student, which stage two"):
        run("recipe.yaml")
    assert stages.take() == ["one"]
    stages.without_student = ["two"]  # of which nobody reads it
    run("recipe.yaml")
    assert stages.take() == ["one resumed", "two", "other", "three"]
    run("recipe.yaml")
    assert stages.take() == []


def test_a_failed_stage_goes_on_from_its_checkpoint(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.codes = {"two": 1}
    with pytest.raises(SystemExit, match="1"):
        run("recipe.yaml")
    assert "Stage two failed (exit code 1)" in capsys.readouterr().err
    assert stages.take() == ["one", "two"]
    stages.codes = {}
    run("recipe.yaml")
    assert stages.take() == ["two resumed", "other", "three"]


def test_a_failed_stage_that_was_changed_starts_anew(stages: Stages) -> None:
    stages.codes = {"one": 1}
    with pytest.raises(SystemExit):
        run("recipe.yaml")
    stages.codes = {}
    run("recipe.yaml", {"updates": "7"})
    assert stages.take() == ["one", "one", "two", "other", "three"]
    assert (Path("r") / "one.old-1").exists()


def test_an_interrupted_stage_stops_the_recipe(
    stages: Stages, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.codes = {"one": 130}
    with pytest.raises(SystemExit, match="130"):
        run("recipe.yaml")
    assert "Stage one was told to stop" in capsys.readouterr().err
    assert stages.take() == ["one"]


def test_choosing_stages(stages: Stages) -> None:
    with pytest.raises(UserError, match="two needs one: run without --only first"):
        run("recipe.yaml", only="two")
    with pytest.raises(UserError, match="--only: there is no stage 'tow'; there is one, two, "):
        run("recipe.yaml", only="tow")
    run("recipe.yaml")
    stages.take()
    run("recipe.yaml", only="two")
    assert stages.take() == ["two"]
    run("recipe.yaml")
    assert stages.take() == ["three"]  # it needs two, which ran again
    run("recipe.yaml", from_stage="other")
    assert stages.take() == ["other", "three"]


GRID = """
run_dir: r
variables: {seeds: [1, 2]}
stages:
  one: {for: {seed: "{variables.seeds}"}, command: fit, options: {seed_everything: "{for.seed}"}}
  two: {for: {seed: "{variables.seeds}"}, command: export, options: {checkpoint: "{stages.one}"}}
"""


def test_of_a_longer_list_only_the_new_cells_run(stages: Stages) -> None:
    Path("recipe.yaml").write_text(GRID)
    run("recipe.yaml")
    assert stages.take() == ["one-seed=1", "one-seed=2", "two-seed=1", "two-seed=2"]
    run("recipe.yaml", {"seeds": "[0, 1, 2]"})
    assert stages.take() == ["one-seed=0", "two-seed=0"]
    run("recipe.yaml", {"seeds": "[2]"})
    assert stages.take() == []


@pytest.mark.parametrize(
    ("given", "cells"),
    [("[1, 3]", ["seed=1", "seed=3"]), ("{a: 7}", ["seed=a"]), ("12e4567", ["seed=12e4567"])],
)
def test_values_of_an_axis_come_from_the_command_line(
    stages: Stages, given: str, cells: list[str]
) -> None:
    Path("recipe.yaml").write_text(GRID)
    assert main(["run", "recipe.yaml", f"--variables.seeds={given}"]) == 0
    assert stages.take() == [f"{stage}-{cell}" for stage in ("one", "two") for cell in cells]


def test_choosing_a_cell_or_a_whole_grid(stages: Stages) -> None:
    Path("recipe.yaml").write_text(GRID)
    run("recipe.yaml", only="one")
    assert stages.take() == ["one-seed=1", "one-seed=2"]
    run("recipe.yaml", only="two-seed=2")
    assert stages.take() == ["two-seed=2"]
    run("recipe.yaml", from_stage="two")
    assert stages.take() == ["two-seed=1", "two-seed=2"]
    said = "there is no stage 'one-seed=3'; there is one, two.* named as one-seed=1"
    with pytest.raises(UserError, match=said):
        run("recipe.yaml", only="one-seed=3")


def test_a_broken_journal_is_as_none(stages: Stages) -> None:
    run("recipe.yaml")
    stages.take()
    (Path("r") / ".stages/other.json").write_text("{")
    run("recipe.yaml")
    assert stages.take() == ["other"]


# -- real processes ------------------------------------------------------------------------------

EXPERIMENT = """
model:
  class_path: MaskedLM
  init_args:
    dropout: 0.0
    student: {class_path: PretrainedStudent, init_args: {name: TEACHER}}
data:
  class_path: MultilingualCorpus
  init_args:
    sources: [{files: "FOLDER/{language}.txt"}]
    max_length: 16
    batch_tokens: 128
    updates_per_epoch: 5
    validation_windows: 5
    cache_dir: cache
trainer:
  accelerator: cpu
  max_steps: 2
  max_epochs: -1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  plugins: [AtomicCheckpointIO]
  logger: false
  callbacks: [RngState, ExportStudent, {class_path: RunCheckpoint, init_args: {every_n_updates: 1}}]
"""


@pytest.fixture
def experiment(
    tmp_path: Path, tiny_bert: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    text = EXPERIMENT.replace("TEACHER", str(tiny_bert)).replace("FOLDER", str(text_folder))
    (tmp_path / "exp.yaml").write_text(text)
    return tmp_path


def test_a_recipe_of_real_commands(experiment: Path, tiny_bert: Path) -> None:
    (experiment / "r.yaml").write_text(
        f"""
        stages:
          base: {{command: fit, config: exp.yaml}}
          again:
            command: fit
            config: exp.yaml
            options: {{model.student.name: "{{stages.base}}/student"}}
          student: {{command: export, options: {{checkpoint: "{{stages.again}}"}}}}
          table:
            command: compare
            config: data.yaml
            options:
              data.tokenizer: {tiny_bert}
              models: {{teacher: "{{stages.base}}/student", student: "{{stages.student}}"}}
        """
    )
    text = (experiment / "exp.yaml").read_text()
    data = text[text.index("data:") : text.index("trainer:")]
    (experiment / "data.yaml").write_text(data)
    assert main(["run", "r.yaml"]) == 0
    AutoModelForMaskedLM.from_pretrained(experiment / "runs/r/student")
    table = json.loads((experiment / "runs/r/table/compare.json").read_text())
    assert set(table) == {"teacher", "student"}
    config = (experiment / "runs/r/again/config.yaml").read_text()
    assert "name: runs/r/base/student" in config


def test_exit_codes_of_real_commands(experiment: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["fit", "--config=exp.yaml", "--model.temprature=3"]) == 2
    assert "there is no option" not in capfd.readouterr().out
    assert execute(["export", "none.ckpt"]) == 2


def when(ready: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Acts once it is time, beside the main thread."""

    def wait() -> None:
        end = time.monotonic() + 60
        while not ready() and time.monotonic() < end:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_stage_after_it_has_saved(experiment: Path, number: int) -> None:
    (experiment / "r.yaml").write_text(
        "stages: {base: {command: fit, config: exp.yaml, options: {trainer.max_steps: 100000}}}\n"
    )
    saved = experiment / "runs/r/base/checkpoints/last.ckpt"

    def stop() -> None:
        if number == signal.SIGINT:  # the terminal sends it to both
            (child,) = multiprocessing.active_children()
            os.kill(child.pid or 0, number)
        os.kill(os.getpid(), number)

    thread = when(saved.exists, stop)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit, match="130"):
        run("r.yaml")
    thread.join()
    assert signal.getsignal(number) == before
    updates = torch.load(saved, weights_only=True)["global_step"]
    assert 0 < updates < 100000
    record = json.loads((experiment / "runs/r/.stages/base.json").read_text())
    assert record["finished"] is False
