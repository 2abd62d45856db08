"""A model that reads and writes a trimmed vocabulary, cut to it as it is opened.

Shapes: N rows, D hidden size, V kept tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.losses import DroppedRows, Head
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.tokenizers import backend_hash, load_tokenizer
from lit_distill.models.vocabularies.model_trimming import trim_model
from lit_distill.models.vocabularies.vocabulary_map import VocabularyMap

Lost = Literal["renormalise", "unknown"]
Result = TypeVar("Result")


class TrimmedModel(LanguageModel):
    """A model that reads a trimmed vocabulary through its id map, and still knows what it lost.

    Its tables have the kept rows alone, selected once: that is what reading ids through the map
    comes to, and its distribution over what is kept is renormalised. The head's other rows stay
    beside it, for `lost_share` and, where they are asked for, for the bucket.

    Args:
        model: that was trimmed.
        dropped: the rows of its head that are gone.
    """

    def __init__(self, model: LanguageModel, dropped: DroppedRows) -> None:
        super().__init__(model.model, model.anatomy)
        self.dropped = dropped

    def with_lm_head(self, fn: Callable[[Head], Result], rows: Tensor) -> Result:
        """See `LanguageModel`; the head has the bucket, if there is one."""
        bucket = self.dropped.bucket
        if bucket is None:
            return super().with_lm_head(fn, rows)

        def call(head: Head) -> Result:
            return fn(replace(head, bucket=(bucket, self.dropped.log_mass(head.rows))))

        return super().with_lm_head(call, rows)

    def logits(self, rows: Tensor) -> Tensor:
        """See `LanguageModel`; the logit of the bucket is that of all that it stands for."""
        logits, entry = super().logits(rows), self.dropped.bucket
        if entry is None:
            return logits
        whole = torch.logaddexp(logits[:, entry], self._log_mass(rows).to(logits.dtype))
        place = torch.tensor([entry], device=logits.device)
        return logits.index_copy(1, place, whole[:, None])

    def lost_share(self, rows: Tensor) -> Tensor:
        """The probability (N,) that tokens which are gone had at last hidden states (N, D)."""
        lost = self._log_mass(rows)
        return torch.sigmoid(lost - super().logits(rows).to(lost.dtype).logsumexp(-1))

    def _log_mass(self, rows: Tensor) -> Tensor:
        return super().with_lm_head(lambda head: self.dropped.log_mass(head.rows), rows)


def trimmed(
    model: LanguageModel,
    name: str,
    tokenizer: PreTrainedTokenizerFast,
    folder: str,
    lost: Lost | None,
) -> LanguageModel:
    """A model that reads the vocabulary in a folder that `trim-vocabulary` wrote.

    Args:
        model: changed in place. One that reads that vocabulary already is left as it is.
        name: of it, for messages.
        tokenizer: that it was trained with.
        folder: with the trimmed tokenizer and its map.
        lost: see `TeacherSpec`; None: nobody asks what it loses.

    Returns:
        A `TrimmedModel`, where it has a head over tokens and somebody asks.

    Raises:
        UserError: the map is of another tokenizer, or there is no unknown token for what is lost.
    """
    found = VocabularyMap.read(Path(folder).expanduser())
    own = backend_hash(tokenizer)
    if own == found.new_tokenizer:
        return model
    if own != found.old_tokenizer:
        raise UserError(
            f"The vocabulary {folder} was trimmed from another tokenizer than that of {name}, so "
            "that its ids mean other tokens there. Trim that of this model "
            f"(trim-vocabulary --model {name}), or leave the vocabulary out."
        )
    if found.kept[-1] >= model.vocab_size:
        raise UserError(
            f"The vocabulary {folder} keeps the id {found.kept[-1]}, and {name} has "
            f"{model.vocab_size} rows: trim the vocabulary of this model."
        )
    dropped = None
    if lost is not None and model.anatomy.has_head and not model.anatomy.has_task:
        bucket = _unknown(folder) if lost == "unknown" else None
        dropped = _dropped_rows(model, tokenizer, found, bucket)
    trim_model(model.model, found.kept)
    return model if dropped is None else TrimmedModel(model, dropped)


def _unknown(folder: str) -> int:
    """The id of the unknown token of a trimmed tokenizer."""
    number = load_tokenizer(folder).unk_token_id
    if not isinstance(number, int):
        raise UserError(
            f"teacher.lost is unknown, and the tokenizer {folder} has no unknown token (none of "
            "bytes does): use renormalise."
        )
    return number


@torch.no_grad()
def _dropped_rows(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerFast,
    found: VocabularyMap,
    bucket: int | None,
) -> DroppedRows:
    """Copies of the head's rows that are tokens and not kept; rows that pad a table are neither."""
    decoder, anatomy = model.anatomy.lm_head(model.model), model.anatomy
    kept, rows = {*found.kept}, len(decoder.weight)
    gone = [one for one in sorted(tokenizer.get_vocab().values()) if one not in kept and one < rows]
    places = torch.tensor(gone, dtype=torch.int64, device=decoder.weight.device)
    bias = anatomy.logit_bias(model.model)
    bias = decoder.bias if bias is None else bias
    own = None if bias is None else bias.detach().reshape(-1).index_select(0, places)
    weight = decoder.weight.detach().index_select(0, places)
    return DroppedRows(weight, own, anatomy.cap(model.config), bucket)
