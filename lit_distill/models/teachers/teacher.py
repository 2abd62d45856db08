"""The frozen model that is learnt from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.pretrained import open_model
from lit_distill.models.loading.tokenizers import load_tokenizer
from lit_distill.models.vocabularies.trimmed_model import Lost, trimmed


@dataclass(frozen=True)
class TeacherSpec:
    """Which teacher, and in which precision.

    Attributes:
        name: local folder or hub name.
        revision: branch, tag or commit on the hub.
        dtype: of its weights; bfloat16 halves its memory.
        tokenizer: where its tokenizer is, if not beside its weights.
        vocabulary: a folder that `trim-vocabulary` wrote of its tokenizer: it reads that; None: the
            student's, where that has one and both read the same ids, and else its own.
        lost: what becomes of the probability of tokens that the vocabulary lacks. "renormalise": it
            is left out, and the kept tokens are the whole distribution. "unknown": the unknown
            token stands for them as well, as it does in text; their logits are then made, too.
    """

    name: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tokenizer: str | None = None
    vocabulary: str | None = None
    lost: Lost = "renormalise"

    @property
    def reads(self) -> str:
        """Where the tokenizer is whose ids it reads once it is built: see `load_tokenizer`."""
        return self.vocabulary or self._own

    @property
    def _own(self) -> str:
        pinned = self.name if self.revision is None else f"{self.name}@{self.revision}"
        return self.tokenizer or pinned

    def build(self, needs_head: bool = True) -> LanguageModel:
        """Opens it: no parameter requires a gradient, eval mode.

        Args:
            needs_head: see `open_model`.

        Raises:
            UserError: it cannot be opened or is not supported, or the vocabulary is not of it.
        """
        dtype = getattr(torch, self.dtype)
        opened = open_model(self.name, self.revision, dtype, needs_head=needs_head)
        model = LanguageModel(opened)
        if self.vocabulary is not None:
            own = load_tokenizer(self._own)
            model = trimmed(model, self.name, own, self.vocabulary, self.lost)
        return model.requires_grad_(False).eval()


def fingerprint(model: LanguageModel) -> str:
    """Sha256 over names, dtypes, shapes and values of all weights; the same after save and load."""
    return fingerprint_of_weights(model.model.state_dict())


def fingerprint_of_weights(weights: Mapping[str, Tensor]) -> str:
    """The fingerprint of a model of Transformers whose state dict this is; see `fingerprint`."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()
