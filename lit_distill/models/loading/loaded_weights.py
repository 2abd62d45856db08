"""What `from_pretrained` says about the weights of a file: missing, left over, of another shape."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy


def missing_head(anatomy: Anatomy, report: dict[str, Any]) -> list[str]:
    """Names of the head's weights that the file lacks."""
    return sorted(key for key in report["missing_keys"] if key.startswith(anatomy.head_prefixes))


def draw_head(model: PreTrainedModel, anatomy: Anatomy, report: dict[str, Any]) -> None:
    """Draws a head anew whose names the file had for another one; whose shapes no longer matter.

    Args:
        model: with weights of the file, or random ones where these had another shape.
        anatomy: of it.
        report: what was said about the file; no longer about the head.
    """
    for name, module in model.named_modules():
        if f"{name}.".startswith(anatomy.head_prefixes):
            for parameter in module.parameters(recurse=False):
                parameter._is_hf_initialized = False  # else it counts as read, and is left alone
            model._init_weights(module)
    report["mismatched_keys"] = [
        key for key in report["mismatched_keys"] if not key[0].startswith(anatomy.head_prefixes)
    ]


def absent_modules(anatomy: Anatomy, report: dict[str, Any]) -> list[str]:
    """Optional modules that the file lacks."""
    missing = report["missing_keys"]
    return [p for p in anatomy.optional if any(key.startswith(f"{p}.") for key in missing)]


def check_weights(name: str, anatomy: Anatomy, report: dict[str, Any], fresh_head: bool) -> None:
    """Refuses weights that stayed random, or that a smaller config left out."""
    missing, head = sorted(report["missing_keys"]), missing_head(anatomy, report)
    left_out = tuple(f"{path}." for path in absent_modules(anatomy, report))
    prefix = anatomy.model_class().base_model_prefix + "."
    organs = tuple(
        path.removeprefix(prefix) + "." for path in (anatomy.embeddings_path, anatomy.layers_path)
    )
    found = {
        "missing": [k for k in missing if k not in head and not k.startswith(left_out)],
        "of another shape": sorted(key for key, *_ in report["mismatched_keys"]),
        "without a place": sorted(
            key
            for key in report["unexpected_keys"]
            if key.removeprefix(prefix).startswith(organs) and not key.endswith("position_ids")
        ),
    }
    if any(found.values()):
        listed = "; ".join(f"{len(k)} {what} ({_few(k)})" for what, k in found.items() if k)
        raise UserError(
            f"The weights of {name} do not fit its config.json: {listed}. "
            "Give a model whose config and weights were saved together."
        )
    if head and not fresh_head:
        task = anatomy.has_task
        kind = f"head for {anatomy.predicts.value}" if task else "language-model head"
        way = "FineTune" if task else "MaskedLM"
        raise UserError(
            f"{name} has no {kind} (missing: {_few(head)}), so its logits would be random. Use a "
            f"checkpoint of {anatomy.architecture}, train a head first with {way} and "
            "PretrainedStudent's fresh_head=true, or learn from its hidden states (MiniLMv2)."
        )


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
