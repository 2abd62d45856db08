"""Whatever stops a run, training goes on bit by bit as if nothing had happened.

Runs happen in forked children, which cost no import and may be killed.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import shlex
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from safetensors.torch import load_file

import callbacks.saving.checkpoint_io
from callbacks import ExportStudent, RngState, newest_readable_checkpoint
from lit_distill.__main__ import main
from lit_distill.training.distillation import Distillation

UPDATES = 12
ACCUMULATE = 2
MICRO_BATCHES = UPDATES * ACCUMULATE
SAVED_EVERY = 2

Trap = Callable[[], None]


def sabotage(of: type, name: str, at: int, act: Callable[..., None]) -> Trap:
    """A trap: the `at`-th call (from 0) of a method acts before it does its work."""

    def set_trap() -> None:
        real, calls = getattr(of, name), iter(range(10**6))

        def trapped(*arguments: Any, **options: Any) -> Any:
            if next(calls) == at:
                act(*arguments)
            return real(*arguments, **options)

        setattr(of, name, trapped)

    return set_trap


def kill(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_micro_batch(at: int) -> Trap:
    return sabotage(Distillation, "training_step", at, kill)


def kill_in_validation(at: int) -> Trap:
    return sabotage(Distillation, "validation_step", at, kill)


def kill_while_writing(checkpoint: int) -> Trap:
    """Kills in the middle of the file of the n-th checkpoint."""

    def half(_: dict[str, Any], file: Any) -> None:
        file.write(b"half")
        file.flush()
        kill()

    return sabotage(callbacks.saving.checkpoint_io.torch, "save", checkpoint, half)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Run:
    """A run folder, with what the latest process that worked in it printed."""

    folder: Path
    config: Path

    def fit(self, *options: str) -> list[str]:
        return ["fit", "--config", str(self.config), "--run_dir", str(self.folder), *options]

    def start(self, args: Sequence[str], trap: Trap | None = None) -> int:
        """The process id of a child that works through a command line."""
        self.folder.mkdir(exist_ok=True)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.setsid()
                self._redirect()
                warnings.simplefilter("default")  # as in a process of its own
                signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background
                if trap is not None:
                    trap()
                code = main(args)
            except SystemExit as ending:
                code = int(ending.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        return child

    def _redirect(self) -> None:
        """Everything that this process prints goes to `output.txt`."""
        sys.stdout = sys.stderr = (self.folder / "output.txt").open("w", buffering=1)
        for number in (1, 2):
            os.dup2(sys.stdout.fileno(), number)
        logging.getLogger("lightning.pytorch").handlers = [logging.StreamHandler()]

    def work(self, args: Sequence[str], trap: Trap | None = None) -> int:
        """The exit code of a finished child; minus the signal's number if it was killed."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(args, trap), 0)[1])

    def resume(self) -> None:
        code = self.work(self.fit("--ckpt_path", "last"))
        assert code == 0, self.output

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def updates(self) -> int:
        """After how many updates the newest checkpoint was written."""
        path, _ = newest_readable_checkpoint(self.folder / "checkpoints")
        return int(torch.load(path, weights_only=True)["global_step"]) if path else 0

    def bits(self) -> list[torch.Tensor]:
        """Weights and optimizer state at the end."""
        checkpoint = torch.load(self.last, weights_only=True)
        assert checkpoint["global_step"] == UPDATES, self.output
        (optimizer,) = checkpoint["optimizer_states"]
        states = [value for state in optimizer["state"].values() for value in state.values()]
        return [*checkpoint["state_dict"].values(), *states]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def settings(tiny_bert: Path, text_folder: Path, cache: Path) -> dict[str, Any]:
    """Two epochs of six updates of two micro-batches; validations inside and at their ends."""
    return {
        "model": {
            "class_path": "TripleLoss",
            "init_args": {"teacher": {"name": str(tiny_bert)}, "dropout": 0.1},
        },
        "data": {
            "class_path": "MultilingualCorpus",
            "init_args": {
                "sources": [{"files": "{language}.txt"}],
                "data_dir": str(text_folder),
                "cache_dir": str(cache),
                "max_length": 16,
                "batch_tokens": 128,
                "updates_per_epoch": UPDATES // 2,
                "holdout": 5,
                "validation_windows": 8,
            },
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "accumulate_grad_batches": ACCUMULATE,
            "val_check_interval": 6,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "plugins": ["AtomicCheckpointIO"],
            "callbacks": [
                "RngState",
                "PerLanguage",
                "ExportStudent",
                {
                    "class_path": "RunCheckpoint",
                    "init_args": {"every_n_updates": SAVED_EVERY, "every_n_minutes": 0},
                },
            ],
        },
    }


@pytest.fixture(scope="module")
def runs(
    tiny_bert: Path, text_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """Makes run folders with the config of this module, changed by `change`."""
    import lit_distill.cli.training  # noqa: F401 (once, not in every child)

    folder = tmp_path_factory.mktemp("never_lose")
    count = iter(range(100))

    def make(change: Callable[[dict[str, Any]], None] = lambda _: None) -> Run:
        config = settings(tiny_bert, text_folder, folder / "cache")
        change(config)
        place = folder / f"run{next(count)}"
        place.with_suffix(".yaml").write_text(yaml.safe_dump(config))
        return Run(place, place.with_suffix(".yaml"))

    return make


@pytest.fixture(scope="module")
def uninterrupted(runs: Callable[..., Run]) -> list[torch.Tensor]:
    run = runs()
    assert run.work(run.fit()) == 0, run.output
    return run.bits()


@pytest.mark.rotated(2)  # three runs each
@pytest.mark.parametrize(
    ("trap", "survived"),
    [
        pytest.param(kill_at_micro_batch(11), 4, id="inside an update"),
        pytest.param(kill_at_micro_batch(10), 4, id="between updates"),
        pytest.param(kill_at_micro_batch(12), 6, id="after an epoch"),
        pytest.param(kill_in_validation(1), 2, id="in a validation"),
        pytest.param(kill_while_writing(3), 4, id="while writing a checkpoint"),
        pytest.param(kill_while_writing(0), 0, id="while writing the first checkpoint"),
    ],
)
def test_a_killed_run_goes_on_bit_by_bit(
    runs: Callable[..., Run], uninterrupted: list[torch.Tensor], trap: Trap, survived: int
) -> None:
    run = runs()
    assert run.work(run.fit(), trap) == -signal.SIGKILL, run.output
    assert run.updates == survived
    if survived:
        run.resume()
    else:
        assert run.work(run.fit()) == 0, run.output
    assert same(run.bits(), uninterrupted)
    assert not list(run.folder.rglob("*.lit_distill-*"))


def terminate(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def terminate_at_micro_batch(at: int) -> Trap:
    return sabotage(Distillation, "training_step", at, terminate)


def terminate_in_validation(at: int) -> Trap:
    return sabotage(Distillation, "validation_step", at, terminate)


def validated(config: dict[str, Any]) -> None:
    """A validation whose result depends on the update, written down; two batches long."""
    config["data"]["init_args"]["validation_windows"] = 40
    config["trainer"]["logger"] = {
        "class_path": "CSVLogger",
        "init_args": {"save_dir": "{run_dir}"},
    }
    config["trainer"]["log_every_n_steps"] = 1
    config["trainer"]["callbacks"][-1]["init_args"]["every_n_updates"] = 3  # where validations are


def left_behind(folder: Path) -> dict[str, Any]:
    """What a user finds in a run folder: best, students, report, and the scalars of each update."""
    best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    found: dict[str, Any] = {
        "best": (best["global_step"], [*best["state_dict"].values()]),
        "report": json.loads((folder / "report.json").read_text()),
    }
    for student in ("student", "student-last"):
        found[student] = [*load_file(folder / student / "model.safetensors").values()]
    scalars: dict[tuple[str, str], str] = {}
    for file in sorted(folder.rglob("metrics.csv")):
        for row in csv.DictReader(file.read_text().splitlines()):
            scalars |= {(row["step"], key): value for key, value in row.items() if value}
    # Lightning's own count of epochs is ahead where a validation at an epoch's end is made up for.
    apart = ("time", "epoch")
    found["scalars"] = {k: v for k, v in scalars.items() if not k[1].startswith(apart)}
    return found


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def whole(runs: Callable[..., Run]) -> dict[str, Any]:
    run = runs(validated)
    assert run.work(run.fit()) == 0, run.output
    return left_behind(run.folder)


@pytest.mark.rotated(3)  # three runs each
@pytest.mark.parametrize(
    ("trap", "code"),
    [
        pytest.param(terminate_at_micro_batch(5), 143, id="SIGTERM in the update before one"),
        pytest.param(terminate_in_validation(1), 143, id="SIGTERM in the first one"),
        pytest.param(terminate_in_validation(5), 143, id="SIGTERM in the one of an epoch's end"),
        pytest.param(terminate_in_validation(13), 143, id="SIGTERM in the last one"),
        pytest.param(kill_in_validation(1), -9, id="kill in a validation after a save"),
        pytest.param(kill_in_validation(5), -9, id="kill in the one of an epoch's end"),
        pytest.param(terminate_at_micro_batch(11), 143, id="SIGTERM at the end of an epoch"),
        pytest.param(terminate_at_micro_batch(23), 143, id="SIGTERM in the last update"),
        pytest.param(kill_in_validation(15), -9, id="kill in the last validation"),
    ],
)
def test_a_validation_that_was_due_is_made_up_for(
    runs: Callable[..., Run], whole: dict[str, Any], trap: Trap, code: int
) -> None:
    """Best, both students, the report and all scalars are those of a run that nothing stopped."""
    run = runs(validated)
    assert run.work(run.fit(), trap) == code, run.output
    run.resume()
    found = left_behind(run.folder)
    run.bits()  # of all updates
    for part, expected in whole.items():
        assert equal(found[part], expected), part


@pytest.mark.parametrize(
    ("trap", "code"), [(kill_in_validation(1), -9), (terminate_in_validation(1), 143)]
)
def test_the_only_validation_of_a_short_run_is_made_up_for(
    runs: Callable[..., Run], trap: Trap, code: int
) -> None:
    """It belongs to the end, and no update is left when it was stopped."""

    def short(config: dict[str, Any]) -> None:
        config["trainer"].update(val_check_interval=1000, check_val_every_n_epoch=None)

    run = runs(short)
    assert run.work(run.fit(), trap) == code, run.output
    assert run.updates == UPDATES
    assert not (run.folder / "student").exists()
    run.resume()
    best = json.loads((run.folder / "report.json").read_text())["best"]["students"]["student"]
    assert (best["updates"], set(best["languages"])) == (UPDATES, {"de", "en"})
    assert (run.folder / "student/config.json").exists()
    assert (run.folder / "checkpoints/best.ckpt").exists()
    assert "The best student, val/loss" in run.output


@pytest.mark.parametrize("length", ["epochs", "updates"])
def test_a_run_that_was_killed_while_it_ended_ends(runs: Callable[..., Run], length: str) -> None:
    """After the last save, before the last student: no update and no validation is left."""

    def change(config: dict[str, Any]) -> None:
        validated(config)
        if length == "updates":  # Lightning's loop does not run then
            config["trainer"] |= {"max_epochs": -1, "max_steps": 12}

    run = runs(change)
    trap = sabotage(ExportStudent, "on_train_end", 0, kill)
    assert run.work(run.fit(), trap) == -signal.SIGKILL
    assert not (run.folder / "student-last").exists()
    run.resume()
    assert (run.folder / "student-last" / "model.safetensors").exists()
    card = (run.folder / "student-last" / "README.md").read_text()
    assert "Held-out text after 12 updates" in card


SMALL = {"hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 16}
COHORTS: dict[str, dict[str, Any]] = {
    "CoDistillation": {"names": ["large", "small"], "knobs": {"wait_for_chance": True}},
    "MutualLearning": {"names": ["one"], "knobs": {"decay": 0.8}},
}


@pytest.mark.rotated(2)  # three runs each
@pytest.mark.parametrize("method", COHORTS)
def test_every_peer_of_a_killed_run_goes_on_bit_by_bit(
    runs: Callable[..., Run], tiny_bert: Path, method: str
) -> None:
    """Without saved random states: each has a stream of its own, which needs none."""

    def change(config: dict[str, Any]) -> None:
        start = {"class_path": "FreshStudent", "init_args": {"model_type": "bert"}}
        students = {
            name: {**start, "init_args": {"model_type": "bert", "config": {**SMALL, **layers}}}
            for name, layers in zip(
                COHORTS[method]["names"],
                ({"num_hidden_layers": 2}, {"num_hidden_layers": 1}),
                strict=False,
            )
        }
        knobs = {"students": students, "dropout": 0.1, **COHORTS[method]["knobs"]}
        config["model"] = {"class_path": method, "init_args": knobs}
        config["tokenizer"] = str(tiny_bert)
        config["trainer"]["callbacks"].remove("RngState")
        config["trainer"]["gradient_clip_val"] = 0.5

    whole, killed = runs(change), runs(change)
    assert whole.work(whole.fit()) == 0, whole.output
    assert killed.work(killed.fit(), kill_at_micro_batch(11)) == -signal.SIGKILL
    assert killed.updates == 4
    killed.resume()
    assert same(whole.bits(), killed.bits())
    names = {key.split(".")[1] for key in torch.load(whole.last, weights_only=True)["state_dict"]}
    assert len(names) == 2


def test_it_differs_without_the_random_state(
    runs: Callable[..., Run], uninterrupted: list[torch.Tensor]
) -> None:
    """So the tests here can fail: dropout, and nothing but dropout, needs the random state."""

    def forget() -> None:
        RngState.on_train_batch_start = Callback.on_train_batch_start  # type: ignore[method-assign]

    run = runs()
    assert run.work(run.fit(), kill_at_micro_batch(10)) == -signal.SIGKILL
    assert run.work(run.fit("--ckpt_path", "last"), forget) == 0, run.output
    assert not same(run.bits(), uninterrupted)


def test_a_truncated_checkpoint_falls_back_and_says_so(
    runs: Callable[..., Run], uninterrupted: list[torch.Tensor]
) -> None:
    run = runs()
    assert run.work(run.fit(), kill_at_micro_batch(10)) == -signal.SIGKILL
    os.truncate(run.last, run.last.stat().st_size // 2)
    assert run.updates == 3  # after the validation inside the first epoch
    run.resume()
    assert f"{run.last} cannot be read" in run.output
    assert "Going on from" in run.output
    assert same(run.bits(), uninterrupted)


@pytest.mark.parametrize(
    ("number", "code", "workers"), [(signal.SIGTERM, 143, 0), (signal.SIGINT, 130, 1)]
)
def test_a_run_told_to_stop_saves_and_the_printed_command_goes_on(
    runs: Callable[..., Run],
    uninterrupted: list[torch.Tensor],
    number: int,
    code: int,
    workers: int,
) -> None:
    def with_workers(config: dict[str, Any]) -> None:
        config["data"]["init_args"]["num_workers"] = workers

    run = runs(with_workers)
    reached, sent = run.folder.with_suffix(".reached"), run.folder.with_suffix(".sent")

    def wait(*_: Any) -> None:
        reached.touch()
        wait_for(sent)

    child = run.start(run.fit(), sabotage(Distillation, "training_step", 8, wait))
    wait_for(reached)
    os.killpg(child, number)  # a terminal's Ctrl-C reaches the loader's workers too
    sent.touch()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code, run.output
    assert run.updates == 5  # the update that was being made
    (command,) = [line for line in run.output.splitlines() if "--ckpt_path last" in line]
    python, dash, module, *args = shlex.split(command)
    assert (python, dash, module) == ("python", "-m", "lit_distill")
    assert run.work(args) == 0, run.output
    assert same(run.bits(), uninterrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_told_to_stop_before_its_first_update_says_so_by_its_exit_code(
    runs: Callable[..., Run], number: int, code: int
) -> None:
    def sanity(config: dict[str, Any]) -> None:
        config["trainer"]["num_sanity_val_steps"] = 1

    run = runs(sanity)
    trap = sabotage(Distillation, "validation_step", 0, lambda *_: os.kill(os.getpid(), number))
    assert run.work(run.fit(), trap) == code, run.output
    assert run.updates == 0
    assert "Traceback" not in run.output
