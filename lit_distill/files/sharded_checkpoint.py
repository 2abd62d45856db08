"""Checkpoint folders of weights in pieces (FSDP2), read without running what is in them.

torch unpickles a folder's index (`.metadata`) and its plain values as they are, which runs any code
that somebody wrote into them. Here the index may name the classes of an index and no others.
"""

from __future__ import annotations

import io
import pickle  # only for a reader that looks names up in a table
import warnings
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.serialization import _get_layout

from lit_distill.errors import UserError
from lit_distill.files.file_names import check_file_name

INDEX = ".metadata"
"""The file that makes a folder the checkpoint of weights in pieces; its name is torch's."""

_KNOWN: dict[tuple[str, str], Any] = {
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): _get_layout,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): filesystem._StorageInfo,
    **{
        (f"pathlib{inner}", f"{system}Path"): pure
        for inner in ("", "._local")  # of Python 3.13
        for system, pure in (("Posix", PurePosixPath), ("Windows", PureWindowsPath))
    },
    **{
        ("torch.distributed.checkpoint.metadata", name): getattr(metadata, name)
        for name in (
            "_MEM_FORMAT_ENCODING",
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
        )
    },
    **{("torch", name): value for name, value in vars(torch).items() if type(value) is torch.dtype},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise ValueError(f"it names {module}.{name}") from None


class _Reader(filesystem.FileSystemReader):
    """Reader of a checkpoint folder whose index cannot run anything."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> metadata.Metadata:
        """The index.

        Raises:
            UserError: it is damaged, names what no index needs, or files elsewhere.
        """
        del args, kwargs
        found = read_sharded_index(Path(self.path))
        found.storage_meta = found.storage_meta or metadata.StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


class _Planner(DefaultLoadPlanner):
    """Planner that takes numbers, texts and tensors out of a checkpoint folder, and no code."""

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        """Takes a value that is no tensor.

        Raises:
            UserError: it is damaged, or would run something.
        """
        key = read_item.dest_index.fqn
        try:
            plain = torch.load(value, weights_only=True)
        except Exception as error:  # broken files fail in many ways
            raise UserError(
                f"The checkpoint's {key} is damaged, or no plain value. Nothing in it was run. "
                "Give another checkpoint."
            ) from error
        written = io.BytesIO()
        torch.save(plain, written)
        written.seek(0)
        super().load_bytes(read_item, written)  # what it reads is what was just written


def read_sharded_index(folder: Path) -> metadata.Metadata:
    """Reads the index of a checkpoint folder: which tensors there are, and where.

    Args:
        folder: it has a file `.metadata`.

    Raises:
        UserError: it is damaged, names what no index needs, or files elsewhere; nothing was run.
    """
    try:
        with (folder / INDEX).open("rb") as file:
            found = _Unpickler(file).load()
        return _checked(found)
    except Exception as error:  # broken files fail in many ways
        raise UserError(f"{folder / INDEX} {_damaged(error)}") from error


def _checked(found: Any) -> metadata.Metadata:
    if not isinstance(found, metadata.Metadata) or not isinstance(found.storage_data, dict):
        raise ValueError("it is no index")
    for key, entry in found.state_dict_metadata.items():
        kinds = metadata.TensorStorageMetadata, metadata.BytesStorageMetadata
        if not isinstance(key, str) or not isinstance(entry, kinds):
            raise ValueError(f"what it says of {key!r} is no tensor and no value")
    for entry in found.storage_data.values():
        if not isinstance(entry, filesystem._StorageInfo) or vars(entry).get(
            "transform_descriptors"
        ):
            raise ValueError("it does not say where a tensor is")
        check_file_name(entry.relative_path, INDEX)
    return found


def sharded_weights(folder: Path, prefix: str) -> dict[str, Tensor]:
    """Reads whole tensors out of a checkpoint folder, in one process.

    Args:
        folder: of weights in pieces.
        prefix: of the names wanted; it is left out of the names given.

    Raises:
        UserError: the folder is damaged, or holds what would run something.
    """
    entries = read_sharded_index(folder).state_dict_metadata
    try:
        state: dict[str, Any] = {
            key: torch.empty(entry.size, dtype=entry.properties.dtype)
            for key, entry in entries.items()
            if key.startswith(prefix) and isinstance(entry, metadata.TensorStorageMetadata)
        }
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{folder} {_damaged(error)}") from error
    load_values(state, folder)
    return {key.removeprefix(prefix): value for key, value in state.items()}


def load_values(state: dict[str, Any], folder: Path) -> None:
    """Fills a state dict from a checkpoint folder: its tensors in place, on every rank its own.

    Args:
        state: nested; what is wanted.
        folder: of weights in pieces.

    Raises:
        UserError: the folder is damaged, lacks something, or holds what would run something.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # `export` is alone
            load(state, storage_reader=_Reader(folder), planner=_Planner())
    except CheckpointException as failed:  # of any rank
        error = next((e for e, _ in failed.failures.values()), failed)
        told = error if isinstance(error, UserError) else UserError(f"{folder} {_damaged(error)}")
        raise told from failed


def _damaged(error: BaseException) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"cannot be read ({reason}). Nothing in it was run. Give another checkpoint."


def load_sharded(strategy: ModelParallelStrategy, folder: Path) -> dict[str, Any]:
    """Loads a checkpoint folder into the model and the optimizers of a strategy, on every rank.

    Args:
        strategy: with its model set up.
        folder: of weights in pieces.

    Returns:
        What the checkpoint says beside them.

    Raises:
        UserError: the folder is damaged, or holds what would run something.
    """
    entries = read_sharded_index(folder).state_dict_metadata  # or what is wrong, at once
    kept = {name.rpartition(".")[0] for name in entries}
    module, owner = cast(torch.nn.Module, strategy.model), strategy.lightning_module
    weights: dict[str, Any] = {"state_dict": get_model_state_dict(module)}
    load_values(weights, folder)
    module.load_state_dict(weights["state_dict"], strict=bool(owner and owner.strict_loading))
    for index, optimizer in enumerate(strategy.optimizers):
        key = f"optimizer_{index}"
        state: dict[str, Any] = {key: get_optimizer_state_dict(module, optimizer)}
        moments = state[key]["state"]
        for name in [name for name in moments if f"{key}.state.{name}" not in kept]:
            del moments[name]  # of a model that has not moved yet
        load_values(state, folder)
        options = StateDictOptions(cpu_offload=True, strict=False)
        set_optimizer_state_dict(module, optimizer, state[key], options=options)
    said: dict[str, Any] = torch.load(folder / "meta.pt", map_location="cpu", weights_only=True)
    return said
