"""Adapters in the format of the library `peft`, which is imported only where one is used."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from lit_distill.errors import UserError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def peft_library() -> Any:
    """The module `peft`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module("peft")
    except ModuleNotFoundError as error:
        raise UserError(
            "Adapters (LoRA) need the package peft, which is not installed: pip install "
            "'lit-distill[lora]'."
        ) from error


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").exists()


def base_of(folder: Path) -> tuple[str, str | None]:
    """Name and revision of the model that an adapter changes.

    Raises:
        UserError: the adapter is no LoRA in safetensors, or names no model, or another adapter.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        kind, base = config["peft_type"], config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}.") from error
    if kind != "LORA" or not (folder / WEIGHTS).is_file():
        raise UserError(
            f"{folder} holds an adapter of the type {kind}, and {WEIGHTS} is "
            f"{'there' if (folder / WEIGHTS).is_file() else 'missing'}: only LoRA in safetensors "
            "can be merged. Merge it with peft (merge_and_unload) and give the saved model."
        )
    if not isinstance(base, str) or not base or is_adapter(Path(base).expanduser()):
        raise UserError(
            f"{folder} holds an adapter, and its {CONFIG} names {base!r} as the model that it "
            "changes: write the folder or hub name of a whole model there "
            "(base_model_name_or_path)."
        )
    return base, config.get("revision")


def merge_folder(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with an adapter's changes in its weights, in their own precision.

    Args:
        model: that which the adapter changes; changed in place.
        folder: of the adapter.

    Raises:
        UserError: the adapter was made for another model.
    """
    peft = peft_library()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Found missing adapter keys")
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft
            adapted = peft.PeftModel.from_pretrained(model, str(folder))
        merged: PreTrainedModel = adapted.merge_and_unload()
    except (ValueError, RuntimeError, TypeError, KeyError, UserWarning) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"The adapter in {folder} does not fit {model.config.name_or_path}, which it names as "
            f"its model: {reason[:200]}"
        ) from error
    return merged


def merge_layers(model: PreTrainedModel) -> None:
    """Puts every LoRA layer's product into the weights it changes, and these in its place."""
    layer_kind = peft_library().tuners.tuners_utils.BaseTunerLayer
    for name, module in list(model.named_modules()):
        if isinstance(module, layer_kind):
            module.merge()
            path, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(path), leaf, module.get_base_layer())
    del model.peft_config
