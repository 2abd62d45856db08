"""A model that goes on with another tokenizer: so a teacher of other ids can take part."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from logging import getLogger
from typing import Any, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.pretrained import open_model
from lit_distill.models.loading.tokenizers import load_tokenizer
from lit_distill.models.students.student_spec import Student
from lit_distill.models.vocabularies.mixing import exchange, means

_log = getLogger(__name__)


@dataclass(frozen=True)
class VocabularyTransferStudent(Student):
    """A saved model with the vocabulary of another tokenizer.

    Tokens that both have keep their embedding, special tokens by their role. Every other one gets
    the mean of the embeddings of the pieces into which the old tokenizer cuts it; head weights and
    biases alike. The body stays what it was, and has to get used to the new pieces: train it with
    `MaskedLM` or `CausalLM` before it teaches.

    Attributes:
        name: local folder or hub name of the model, with its own tokenizer.
        tokenizer: the other one: the run's.
        revision: of the model on the hub.
    """

    name: str
    tokenizer: str
    revision: str | None = None

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`; the head, which is exchanged as well, has to be there."""
        del teacher, vocab_size, needs_head
        model = open_model(self.name, self.revision, torch.float32)
        old, new = load_tokenizer(self.name, self.revision), load_tokenizer(self.tokenizer)
        pieces = pieces_of(new, old, model.config.vocab_size)
        _log.warning(
            "%s goes on with the tokenizer %s: of %d entries %d are means of several old ones, %d "
            "are unknown to the old tokenizer; the others are each an old one.",
            *(self.name, self.tokenizer, len(pieces)),
            sum(len(each) > 1 for each in pieces),
            sum(each == [old.unk_token_id] for each in pieces),
        )
        exchange(model, anatomy_of(type(model).__name__), means(pieces, model.config.vocab_size))
        _rename_roles(model, old, new)
        model.config.name_or_path = ""  # its weights are no longer those
        return LanguageModel(model)


def _rename_roles(
    model: PreTrainedModel, old: PreTrainedTokenizerFast, new: PreTrainedTokenizerFast
) -> None:
    """Gives special tokens their new ids, also where the model writes."""
    roles = [f"{role}_token_id" for role in ("pad", "bos", "eos", "sep", "cls")]
    start = getattr(model.config, "decoder_start_token_id", None)  # of encoder-decoders only
    for role in roles:
        if start is not None and start == getattr(old, role):
            model.config.decoder_start_token_id = getattr(new, role)
            start = None
        setattr(model.config, role, getattr(new, role))
    if new.pad_token_id is not None:
        _count_from(model, new.pad_token_id)
    if model.can_generate():  # what it had names old ids
        model.generation_config = GenerationConfig.from_model_config(model.config)


def _count_from(model: PreTrainedModel, padding: int) -> None:
    """Lets M2M-100 count positions from another padding id, as it will once it is saved."""
    for module in model.modules():
        make: Any = getattr(module, "make_weights", None)  # of its sinusoids; padding has none
        if make is not None:
            module.padding_idx = padding
            make(len(cast(Tensor, module.weights)), module.embedding_dim, padding)


def pieces_of(
    new: PreTrainedTokenizerFast, old: PreTrainedTokenizerFast, rows: int = sys.maxsize
) -> list[list[int]]:
    """For every id of `new`, the ids of `old` that stand for it; never empty.

    Args:
        new: tokenizer of the student.
        old: of the model.
        rows: of the model, which may lack those of other media's tokens.
    """
    unknown = old.unk_token_id if old.unk_token_id is not None else 0
    vocabulary = new.get_vocab()
    pieces = [[unknown] for _ in range(max(vocabulary.values()) + 1)]
    same_marks, theirs = _marks(new) == _marks(old), old.get_vocab()
    prefix = _marks(new)[1]
    for token, place in vocabulary.items():
        if same_marks and token in theirs:
            pieces[place] = [theirs[token]]
            continue
        text = token.removeprefix(prefix) if prefix else new.convert_tokens_to_string([token])
        found = old.encode(text, add_special_tokens=False)
        pieces[place] = [each for each in found if each != unknown] or [unknown]
    for role, token in new.special_tokens_map.items():
        if isinstance(token, str) and role in old.special_tokens_map:
            same = old.convert_tokens_to_ids(old.special_tokens_map[role])
            pieces[vocabulary[token]] = [same]
    return [[each for each in found if each < rows] or [unknown] for found in pieces]


def _marks(tokenizer: PreTrainedTokenizerFast) -> tuple[str, str, str]:
    """How a tokenizer marks where words begin or go on: equal strings then mean the same."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    prefix = parts["model"].get("continuing_subword_prefix") or ""
    return parts["model"]["type"], prefix, json.dumps(parts["decoder"], sort_keys=True)
