"""Whole runs of methods that write: the same on two ranks, and after a kill -9."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Served, window
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from prompts import asked, prompt_batch

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, ForwardKL
from lit_distill.methods import GKD, DistiLLM
from lit_distill.methods.generated_text import _on_policy as on_policy
from lit_distill.models import LayerCopyStudent, Sampling, TeacherSpec
from lit_distill.schedules import Constant

UPDATES, EOS, SEED = 6, 3, 3  # of which all authors and sources come up
METHODS: dict[str, Callable[..., on_policy.OnPolicy]] = {
    "gkd": lambda **base: GKD(ForwardKL(), 0.5, 0.2, alpha_hard=0.5, reuse=2, **base),
    "distillm": lambda **base: DistiLLM(threshold=0.9, capacity=9, **base),
}


class Updates(Served):
    """One update an epoch, so that every checkpoint is between two updates."""

    partly_labelled = True

    def train_dataloader(self) -> Fixed:
        assert self.trainer is not None
        return Fixed(self.train[self.trainer.global_rank][self.trainer.current_epoch])  # type: ignore[arg-type]


def parts(update: int) -> list[Batch]:
    """Four uneven micro-batches of one update; every third text has no response."""
    texts = asked(8, 100, EOS, seed=update)
    texts = [replace(text, response=[]) if text.number % 3 == 1 else text for text in texts]
    return [prompt_batch(part) for part in (texts[:1], texts[1:3], texts[3:4], texts[4:])]


def fit(name: str, folder: Path, teacher: Path, out: Path, **options: Any) -> None:
    """Trains for UPDATES, in windows of four micro-batches or on two ranks of two."""
    ranks = options.pop("devices", 1)
    method = METHODS[name](
        teacher=TeacherSpec(str(teacher)),
        student=LayerCopyStudent(),
        sampling=Sampling(6, temperature=2),
        seed=SEED,
        dropout=0.0,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
        schedule=Constant(warmup=0.0),
    )
    every = [parts(update) for update in range(UPDATES)]
    size = 4 // ranks
    train = [[window(p[r * size : (r + 1) * size]) for p in every] for r in range(ranks)]
    trainer = Trainer(
        accelerator="cpu", max_epochs=UPDATES, logger=False, devices=ranks,
        reload_dataloaders_every_n_epochs=1, limit_val_batches=0, log_every_n_steps=1,
        accumulate_grad_batches=size, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_epochs=1)],
        strategy="ddp_fork" if ranks > 1 else "auto",
    )  # fmt: skip
    last = folder / "last.ckpt"
    resumed = str(last) if last.exists() else None
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    trainer.fit(method, datamodule=Updates(train), ckpt_path=resumed, weights_only=True)  # type: ignore[arg-type]


def saved(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return content


def alike(one: Any, other: Any, tolerance: float = 0.0) -> bool:
    """Whether two nested values are equal, numbers of tensors up to a tolerance."""
    if isinstance(one, torch.Tensor):
        return torch.allclose(one.double(), other.double(), rtol=0, atol=tolerance)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k], tolerance) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other, [tolerance] * len(one)))
    return bool(one == other)


@pytest.fixture(scope="module", params=METHODS)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path
) -> tuple[str, Path]:
    """A method, and the folder of an uninterrupted run of it."""
    folder = tmp_path_factory.mktemp("whole")
    fit(request.param, folder, tiny_gpt2, folder)
    return request.param, folder


def killed(name: str, folder: Path, teacher: Path, at: int) -> int:
    """Exit code of a forked run that is killed when it counts its `at`-th window's texts."""
    child = os.fork()
    if child == 0:
        try:
            warnings.simplefilter("ignore")
            calls, real = iter(range(100)), on_policy.Distillation.open_window

            def trapped(self: Any, first: Batch) -> AccumulationWindow:
                window = real(self, first)
                if next(calls) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return window

            on_policy.Distillation.open_window = trapped  # type: ignore[method-assign]
            fit(name, folder, teacher, folder)
        finally:  # or the child would go on with the tests
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("at", [3, 4])
def test_a_killed_run_goes_on_bit_by_bit(
    run: tuple[str, Path], tiny_gpt2: Path, tmp_path: Path, at: int
) -> None:
    """Killed right after the window was written; buffer and reused window come back."""
    name, whole = run
    assert killed(name, tmp_path, tiny_gpt2, at) == -signal.SIGKILL
    assert saved(tmp_path)["global_step"] == at
    (memory,) = saved(tmp_path)[on_policy.KEY].values()
    assert len(memory.get("windows", [[1]])[0]) or at == 4
    fit(name, tmp_path, tiny_gpt2, tmp_path)
    ours, theirs = saved(tmp_path), saved(whole)
    assert ours["global_step"] == UPDATES
    for key in ("state_dict", "optimizer_states", on_policy.KEY):
        assert alike(ours[key], theirs[key]), key


def test_two_ranks_write_and_learn_what_one_does(
    run: tuple[str, Path], tiny_gpt2: Path, tmp_path: Path
) -> None:
    name, whole = run
    fit(name, tmp_path, tiny_gpt2, tmp_path, devices=2)
    ours, theirs = saved(tmp_path), saved(whole)
    assert alike(ours["state_dict"], theirs["state_dict"], 1e-5)
    if name == "distillm":
        assert alike(ours[on_policy.KEY], theirs[on_policy.KEY])
        assert len(ours[on_policy.KEY]["DistiLLM"]["buffer"]["numbers"]) == 9
    else:
        assert len(ours[on_policy.KEY]["GKD"]["windows"]) == 2


def test_a_model_that_cannot_write_is_refused_before_any_step(
    tiny_bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="BertForMaskedLM, which fills in masked tokens"):
        fit("gkd", tmp_path, tiny_bert, tmp_path)
