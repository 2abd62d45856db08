"""A model as an ONNX file, by torch's exporter (dynamo), of any batch and length."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lit_distill.errors import UserError
from lit_distill.models import Predicted
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable
from lit_distill.tools.delivering.making.traced import Cached, Outputs, Vectors

LARGEST = 1_800_000_000
"""Bytes of weights that still fit into one file: protobuf ends at 2 GiB."""
_TEXTS, _LENGTH, _PAST, _CHOICES = 2, 7, 3, 3  # none is 1, which the exporter would write in stone


def check_installed() -> None:
    """Says at once that a library is missing.

    Raises:
        UserError: one is.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(
                f"--format onnx and onnx-int8 need the package {name}, which is not installed: pip "
                "install 'lit-distill[onnx]'."
            ) from error


def write_onnx(what: Deliverable, path: Path) -> None:
    """Writes the ONNX file of a model; above `LARGEST`, its weights beside it.

    Args:
        what: is exported.
        path: of the file.

    Raises:
        UserError: the exporter cannot follow the model.
    """
    module: nn.Module = (
        Cached(what) if what.cache else Outputs(what) if what.embedding is None else Vectors(what)
    )
    module.eval()  # the wrapper is new and in train mode; the exporter restores what it found
    past = [f"past.{name}" for name in what.cached_names]
    present = [f"present.{name}" for name in what.cached_names]
    inputs, shapes = _cached_inputs(what) if what.cache else _inputs(what)
    names = ["input_ids", "attention_mask", "position_ids"] if what.cache else what.inputs
    size = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                module,
                inputs,
                dynamo=True,
                input_names=[*names, *past],
                output_names=[*what.outputs, *present],
                dynamic_shapes=shapes,
                verbose=False,
            )
            assert program is not None
            graph = program.model.graph
            parts: list[Any] = [program.model, graph, *graph.all_nodes(), *graph.inputs]
            for part in parts:
                part.metadata_props.clear()  # stacks of calls, with this machine's paths
            program.save(str(path), external_data=size > LARGEST)
    except OSError:
        raise
    except Exception as error:  # each stage of the exporter has its own
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UserError(
            f"torch's ONNX exporter cannot follow {type(what.model).__name__}"
            f"{' with its keys and values' if what.cache else ''} ({type(error).__name__}: "
            f"{reason}): take --format hf{', or leave --onnx.cache out' if what.cache else ''}."
        ) from error


def _inputs(what: Deliverable) -> tuple[tuple[torch.Tensor, ...], Any]:
    """Example inputs, and which of their dimensions are free."""
    choices = [_CHOICES] if what.anatomy.predicts == Predicted.CHOICES else []
    shape = [_TEXTS, *choices, _LENGTH]
    dims = {0: "batch", **({1: "choices", 2: "length"} if choices else {1: "length"})}
    tensors, shapes = [], []
    for name in what.inputs:
        longer = name == "decoder_input_ids"
        size = [*shape[:-1], shape[-1] + longer]
        filled = torch.zeros if name == "token_type_ids" else torch.ones
        tensors.append(filled(size, dtype=torch.int64))
        shapes.append({**dims, len(shape) - 1: "target_length" if longer else "length"})
    return tuple(tensors), (tuple(shapes),)


def _cached_inputs(what: Deliverable) -> tuple[tuple[Any, ...], Any]:
    ids = torch.ones(_TEXTS, _LENGTH, dtype=torch.int64)
    mask = torch.ones(_TEXTS, _PAST + _LENGTH, dtype=torch.int64)
    places = torch.arange(_PAST, _PAST + _LENGTH).expand(_TEXTS, -1)
    empty = what.no_past(_TEXTS)
    past = [torch.zeros(*one.shape[:2], _PAST, one.shape[3]) for one in empty]
    short = {0: "batch", 1: "length"}
    shapes = (short, {0: "batch", 1: "all_length"}, short, [{0: "batch", 2: "past"}] * len(past))
    return (ids, mask, places, past), shapes


@contextmanager
def quiet() -> Iterator[None]:
    """Leaves out what torch and onnxruntime say about themselves."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
