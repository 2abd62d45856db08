"""The comparison of what runs leave behind sees every part, so that the faults' tests can fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faults.conftest import Configure
from faults.remains import Differences, Remains, differences
from torch.utils.tensorboard import SummaryWriter


@pytest.fixture(scope="module")
def whole(configured: Configure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    run = configured("MaskedLM", 0, 1, tmp_path_factory.mktemp("whole"))
    assert not any(run.work(run.fit())), run.output()
    return run.folder


def flip(path: Path) -> None:
    """One bit of the last byte, which is a weight's."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def count_differently(path: Path) -> None:
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["global_step"] ^= 1
    path.unlink()
    torch.save(checkpoint, path)


def log(folder: Path, tag: str, value: float, step: int = 0) -> None:
    with SummaryWriter(str(folder / "tensorboard")) as board:
        board.add_scalar(tag, value, step, new_style=True)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        pytest.param(lambda _: None, Differences(0, 0, 0, 0), id="nothing"),
        pytest.param(
            lambda run: count_differently(run / "checkpoints" / "last.ckpt"),
            Differences(1, 0, 0, 0),
            id="last of another update",
        ),
        pytest.param(
            lambda run: count_differently(run / "checkpoints" / "best.ckpt"),
            Differences(0, 1, 0, 0),
            id="best of another update",
        ),
        pytest.param(
            lambda run: flip(run / "student" / "model.safetensors"),
            Differences(0, 0, 1, 0),
            id="another best student",
        ),
        pytest.param(
            lambda run: flip(run / "student-last" / "model.safetensors"),
            Differences(0, 0, 1, 0),
            id="another last student",
        ),
        pytest.param(
            lambda run: log(run, "train/more", 1.0), Differences(0, 0, 0, 1), id="one scalar more"
        ),
        pytest.param(  # once as it contradicts what was logged, once as it differs
            lambda run: log(run, "train/loss", -1.0), Differences(0, 0, 0, 2), id="another scalar"
        ),
    ],
)
def test_every_part_is_compared(
    whole: Path, harm: Callable[[Path], None], expected: Differences, tmp_path: Path
) -> None:
    other = shutil.copytree(whole, tmp_path / "other")
    harm(other)
    found = differences(Remains.of(other), Remains.of(whole))
    assert found == expected
    assert bool(found) == (expected != Differences(0, 0, 0, 0))


@pytest.mark.parametrize("missing", ["student", "student-last", "checkpoints/best.ckpt"])
def test_what_is_not_there_is_no_equality(whole: Path, missing: str, tmp_path: Path) -> None:
    other = shutil.copytree(whole, tmp_path / "other")
    (other / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(AssertionError, match=r"is missing|has no best"):
        Remains.of(other)


def test_the_later_value_counts_where_an_update_is_made_again(whole: Path, tmp_path: Path) -> None:
    other = shutil.copytree(whole, tmp_path / "other")
    log(other, "train/skipped", 1.0, step=4)
    assert differences(Remains.of(other), Remains.of(whole)).scalars == 1
    assert differences(Remains.of(other), Remains.of(whole), spoilt=(5,)).scalars == 0
    assert differences(Remains.of(other), Remains.of(whole), spoilt=(4,)).scalars == 1


def test_the_threshold_of_distillm_depends_on_validations(unharmed: Callable[..., Remains]) -> None:
    """Before the last update, and the best is neither the first nor the last of the run."""
    found = unharmed("DistiLLM", 1)
    threshold = {step: v[0] for (tag, step), v in found.scalars.items() if "threshold" in tag}
    assert threshold == {3: 0.5, 6: 1.0, 9: 1.0, 12: 1.0}
    assert found.best["best.ckpt/updates"] == (9).to_bytes(8, "little")
