"""Checkpoint folders of weights in pieces: read whole, and nothing in them is run."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

from callbacks import newest_readable_checkpoint, read_index
from lit_distill.errors import UserError
from lit_distill.files.sharded_checkpoint import load_values, read_sharded_index, sharded_weights
from lit_distill.training.strategies import check_strategy

TABLES = {f"model.{dtype}": torch.arange(6).reshape(2, 3).to(dtype) for dtype in (
    torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool,
)}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder as Lightning writes it, by one process."""
    path = tmp_path / "last.ckpt"
    optimizer = {"state": {"a.step": torch.tensor(3.0)}, "lr": 0.1, "betas": (0.9, 0.98)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"state_dict": dict(TABLES), "optimizer_0": optimizer}, checkpoint_id=path)
    torch.save({"global_step": 3}, path / "meta.pt")
    return path


def torchs_index(folder: Path) -> metadata.Metadata:
    """As torch reads it."""
    index: metadata.Metadata = pickle.loads((folder / ".metadata").read_bytes())
    return index


def test_tensors_and_values_come_back(folder: Path) -> None:
    weights = sharded_weights(folder, "state_dict.model.")
    assert weights.keys() == {key.removeprefix("model.") for key in TABLES}
    for key, value in TABLES.items():
        assert torch.equal(weights[key.removeprefix("model.")], value)
        assert weights[key.removeprefix("model.")].dtype == value.dtype
    state: dict[str, Any] = {"optimizer_0": {"lr": 0.0, "betas": (0.0, 0.0)}}
    load_values(state, folder)
    assert state == {"optimizer_0": {"lr": 0.1, "betas": (0.9, 0.98)}}
    assert read_index(folder) == {"global_step": 3}


def a_strategy(model: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> ModelParallelStrategy:
    strategy = ModelParallelStrategy()
    strategy._model, strategy.optimizers = cast(Any, model), list(optimizers)
    strategy._lightning_module = cast(Any, SimpleNamespace(strict_loading=True))
    check_strategy(strategy)
    return strategy


def test_a_strategy_loads_what_torch_saved(tmp_path: Path) -> None:
    def trained(updates: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(updates)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1 * (1 + updates))
        for _ in range(updates):
            model(torch.ones(3)).sum().backward()
            optimizer.step()
        return model, optimizer

    (model, optimizer), (other, others) = trained(3), trained(0)
    state = {
        "state_dict": get_model_state_dict(model),
        "optimizer_0": get_optimizer_state_dict(model, optimizer),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=tmp_path / "last.ckpt")
    torch.save({"global_step": 3}, tmp_path / "last.ckpt/meta.pt")
    found = a_strategy(other, others).load_checkpoint(tmp_path / "last.ckpt")
    assert found == {"global_step": 3}
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    now, then = others.state_dict(), optimizer.state_dict()
    assert now["param_groups"][0]["lr"] == then["param_groups"][0]["lr"] == 0.4
    for index, values in then["state"].items():
        for name, value in values.items():
            assert torch.equal(now["state"][index][name], value), name


def test_a_strategy_runs_nothing(folder: Path) -> None:
    (folder / ".metadata").write_bytes(hostile("os.system", f"touch {folder.parent / 'x'}"))
    with pytest.raises(UserError, match=r"names posix\.system"):
        a_strategy(torch.nn.Linear(3, 2)).load_checkpoint(folder, weights_only=False)
    assert not (folder.parent / "x").exists()


class Call:
    """What is called, where it is unpickled."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def proto(module: str, name: str, argument: str) -> bytes:
    """`module.name(argument)` with a name that has dots in it, as protocol 4 allows."""
    texts = b"".join(b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, name))
    return (
        b"\x80\x04" + texts + b"\x93\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."
    )


def hostile(kind: str, command: str) -> bytes:
    """Contents of `.metadata` that run `command`, were they unpickled as they are."""
    import builtins
    import os
    import subprocess

    if kind == "old protocol":
        return f"cos\nsystem\n(S'{command}'\ntR.".encode()
    if kind == "dotted":
        return proto("torch.distributed.checkpoint.filesystem", "os.system", command)
    if kind == "dotted in torch":
        return proto("torch", "os.system", command)
    call = {
        "os.system": Call(os.system, command),
        "subprocess": Call(subprocess.call, ["/bin/sh", "-c", command]),
        "eval": Call(builtins.eval, f"__import__('os').system({command!r})"),
        "exec": Call(builtins.exec, f"import os; os.system({command!r})"),
        "getattr": Call(builtins.getattr, os, "system"),
        "torch.load": Call(torch.load, command),
    }[kind.removeprefix("in an index, ")]
    return pickle.dumps(metadata.Metadata({}, call, {}) if "index" in kind else call)


KINDS = ["old protocol", "dotted", "dotted in torch", "os.system", "subprocess", "eval", "exec"]
KINDS += ["getattr", "torch.load", "in an index, os.system", "in an index, eval"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_runs_nothing(folder: Path, kind: str) -> None:
    there = folder.parent / "x"
    try:
        content = hostile(kind, f"touch {there}")
    except (pickle.PicklingError, TypeError):  # a module, say, cannot be written
        content = b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR."
    (folder / ".metadata").write_bytes(content)
    for read in (read_sharded_index, read_index, lambda path: sharded_weights(path, "")):
        with pytest.raises(UserError, match=r"it names .*Nothing in it was run") as caught:
            read(folder)
        assert "\n" not in str(caught.value)
    assert newest_readable_checkpoint(folder.parent)[0] is None
    assert not there.exists()


def test_a_value_runs_nothing(folder: Path) -> None:
    """Beside the index, torch unpickles what is no tensor."""
    import os

    there = folder.parent / "x"
    written = io.BytesIO()
    torch.save(Call(os.system, f"touch {there}"), written)
    (folder / "evil.distcp").write_bytes(written.getvalue())
    index = torchs_index(folder)
    (place,) = [key for key in index.storage_data if key.fqn == "optimizer_0.lr"]
    entry = filesystem._StorageInfo("evil.distcp", 0, len(written.getvalue()))
    index.storage_data[place] = entry
    (folder / ".metadata").write_bytes(pickle.dumps(index))
    state: dict[str, Any] = {"optimizer_0": {"lr": 0.0}}
    with pytest.raises(UserError, match=r"optimizer_0\.lr is damaged, or no plain value"):
        load_values(state, folder)
    assert not there.exists()


def change_path(index: metadata.Metadata) -> Any:
    for entry in index.storage_data.values():
        entry.relative_path = "../other.distcp"
    return index


def change_size(index: metadata.Metadata) -> Any:
    for entry in index.state_dict_metadata.values():
        if isinstance(entry, metadata.TensorStorageMetadata):
            entry.size = torch.Size([2**50])
    return index


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: {"not": "an index"}, "it is no index"),
        (lambda index: metadata.Metadata({"a": 3}, {}, {}), "no tensor and no value"),  # type: ignore[dict-item]
        (lambda index: metadata.Metadata({}, {}, {3: 4}), "where a tensor is"),
        (change_path, "names a file"),
        (change_size, "cannot be read"),
    ],
)
def test_a_wrong_index_is_one_line(
    folder: Path, change: Callable[[metadata.Metadata], Any], message: str
) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(change(torchs_index(folder))))
    with pytest.raises(UserError, match=message) as caught:
        sharded_weights(folder, "state_dict.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x04.", b"(" * 100_000, b"text\n"])
def test_a_damaged_index_is_one_line(folder: Path, content: bytes) -> None:
    (folder / ".metadata").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_sharded_index(folder)


def test_pieces_that_are_cut_off_or_gone_are_one_line(folder: Path) -> None:
    (piece,) = folder.glob("*.distcp")
    piece.write_bytes(piece.read_bytes()[:400])
    with pytest.raises(UserError, match="cannot be read"):
        sharded_weights(folder, "state_dict.")
    piece.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        sharded_weights(folder, "state_dict.")
