"""Fast tokenizers: opened by folder or hub name, and told apart."""

from __future__ import annotations

import json
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models.loading.adapters import base_of, is_adapter
from lit_distill.models.loading.pretrained import locate, reading
from lit_distill.models.loading.sentencepiece_models import check_installed, fast_marian, is_marian


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Opens a fast tokenizer by local folder or hub name.

    Args:
        name: folder, hub name, or `name@revision`; the folder of an adapter that has none stands
            for the model that it changes.
        revision: branch, tag or commit on the hub.

    Raises:
        UserError: it cannot be found, or there is only a slow (pure Python) one.
    """
    if revision is None and not Path(name).expanduser().is_dir():
        name, _, pinned = name.partition("@")
        revision = pinned or None
    source = locate(name, revision)
    if is_adapter(Path(source.name)) and not (Path(source.name) / "tokenizer.json").exists():
        return load_tokenizer(*base_of(Path(source.name)))
    try:
        with reading("tokenizer", source), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Recommended: pip install sacremoses")  # it runs none
            tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options)
    except UserError as error:
        check_installed(name, cast(Exception, error.__cause__))
        raise
    if is_marian(tokenizer):
        tokenizer = fast_marian(tokenizer, name)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(
            f"The tokenizer of {name} ({type(tokenizer).__name__}) has no fast form "
            "(tokenizer.json), which the data modules need: convert it, or train one with "
            "`python -m lit_distill train-tokenizer`."
        )
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # Transformers makes an empty tokenizer out of a folder that holds only a model.
        raise UserError(
            f"{name} holds no tokenizer: save one there (tokenizer.save_pretrained), or name the "
            "folder or hub model that has it (--tokenizer of `fit`, --data.tokenizer of tools)."
        )
    return tokenizer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Sha256 over all that decides how text becomes ids, vocabulary and special tokens included."""
    parts = backend_parts(tokenizer)
    parts["special_tokens"] = tokenizer.special_tokens_map
    return _sha256(parts)


def backend_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """Sha256 over vocabulary and pipeline alone: the roles of special tokens do not count."""
    return _sha256(backend_parts(tokenizer))


def backend_parts(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The values of its tokenizer.json, without what it was last called with."""
    parts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in ("truncation", "padding"):
        parts.pop(name, None)
    return parts


def _sha256(parts: dict[str, Any]) -> str:
    return sha256(json.dumps(parts, sort_keys=True, default=str).encode("utf-8")).hexdigest()
