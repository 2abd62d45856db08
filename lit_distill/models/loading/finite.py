"""Checks for NaN and infinity: in weights as they are loaded, and in what a model gives.

Shapes: B sequences, T padded length, N rows, V vocabulary.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.body.language_model import LanguageModel

ROWS = 256
"""Rows of a batch whose logits are looked at."""


def check_finite(model: PreTrainedModel, anatomy: Anatomy, name: str, folder: Path) -> None:
    """Refuses weights that hold NaN or infinities, with one read of all weights.

    A bias of the logits may hold -inf, which switches entries of the vocabulary off.

    Args:
        model: as it was loaded.
        anatomy: of it.
        name: as the user gave it.
        folder: where its files are, if `name` is one.

    Raises:
        UserError: naming the first such tensor and the file that holds it.
    """
    biases = (anatomy.lm_head(model).bias, anatomy.logit_bias(model)) if anatomy.has_head else ()
    switches = {bias.data_ptr() for bias in biases if bias is not None}
    saved = model.state_dict().keys()  # other buffers are computed: masks may hold -inf
    for tensor_name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor_name not in saved or not tensor.is_floating_point() or tensor.is_meta:
            continue
        values = tensor.detach()
        if values.sum().isfinite():  # with NaN or infinity in it, no sum is
            continue
        bad = values.isfinite().logical_not_()
        if tensor.data_ptr() in switches:
            bad &= values != -torch.inf
        if bad.any():
            raise UserError(_found(values, bad, tensor_name, name, folder))


def _found(values: Tensor, bad: Tensor, tensor: str, name: str, folder: Path) -> str:
    kind = "NaN" if values.isnan().any() else "infinite"
    where = f"{int(bad.sum())} of the {bad.numel()} numbers of {tensor}{_file_of(folder, tensor)}"
    if kind == "infinite" and values.dtype == torch.float16:
        return (
            f"{where} in {name} are infinite in float16, which ends at 65504: load it in bfloat16 "
            "or float32 (model.teacher.dtype)."
        )
    return (
        f"The weights of {name} are damaged: {where} are {kind}. Download or save it again, or "
        "give a checkpoint from before its training broke down."
    )


def _file_of(folder: Path, tensor: str) -> str:
    """In words, the file of a folder that holds a tensor; "" where none says so."""
    known = tensor.partition(".")[2]  # files of a body alone have no prefix, others another one
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        try:
            with safe_open(path, "pt") as file:
                if any(key == tensor or f".{key}".endswith(f".{known}") for key in file.keys()):  # noqa: SIM118
                    return f" ({path.name})"
        except (OSError, SafetensorError):
            continue
    return ""


@torch.no_grad()
def gives_non_finite(model: LanguageModel, batch: Batch, view: str = "") -> Tensor:
    """Whether a forward gives NaN or infinite states or logits: 0-d, 1 or 0, as float.

    Every rank must call it with weights in pieces. Logits of -inf are forbidden tokens.

    Args:
        model: what runs.
        batch: what it reads; logits, where it has a head, are made at its first `ROWS` real
            positions.
        view: see `LanguageModel.encode`.
    """
    encoded = model.encode(batch, view)
    real = encoded.mask.bool()
    states = encoded.hidden[real]
    bad = states.isfinite().logical_not().any()
    if model.anatomy.has_head:
        logits = model.logits(states[:ROWS])
        bad = bad | logits.isnan().any() | logits.isposinf().any()
    return bad.float()
