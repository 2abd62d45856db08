"""A saved model with its tokenizer, opened to be asked about texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, TeacherSpec, load_tokenizer

Engine = Callable[[PreTrainedTokenizerFast], Tokenizer]


def plain_engine(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """The engine of a tokenizer, as a copy that neither cuts nor pads."""
    engine = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    engine.no_truncation()
    engine.no_padding()
    return engine


@dataclass(frozen=True)
class Asked:
    """A model in eval mode, and how it reads.

    Attributes:
        name: for messages.
        model: with its head, or a body alone.
        tokenizer: its own.
        engine: cuts texts into that tokenizer's tokens; by default as `plain_engine`.
    """

    name: str
    model: LanguageModel
    tokenizer: PreTrainedTokenizerFast
    engine: Tokenizer

    @classmethod
    def opened(cls, name: str, needs_head: bool = True, engine: Engine = plain_engine) -> Asked:
        """A model by folder or hub name.

        Args:
            name: holds a tokenizer as well.
            needs_head: whether logits will be asked for.
            engine: makes the engine of its tokenizer.

        Raises:
            UserError: it cannot be opened.
        """
        tokenizer = load_tokenizer(name)
        return cls(name, TeacherSpec(name).build(needs_head), tokenizer, engine(tokenizer))

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """Special tokens before and behind a text.

        They are the tokenizer's own; but a decoder reads no end, and where nothing begins its
        texts, that is BOS, or else EOS.
        """
        probe = self.engine.encode("a")
        inner = [n for n, special in enumerate(probe.special_tokens_mask) if not special]
        before, after = probe.ids[: inner[0]], probe.ids[inner[-1] + 1 :]
        if not self.model.anatomy.causal:
            return before, after
        starts = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        own = before or [start for start in starts if start is not None][:1]
        return own, []

    @property
    def masked(self) -> bool:
        """Whether it fills masks in; else it reads from left to right."""
        return not self.model.anatomy.causal

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def encoded(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokens of texts with their places, without special ones."""
        found: list[Encoding] = self.engine.encode_batch(list(texts), add_special_tokens=False)
        return found

    def framed(self, ids: Sequence[int]) -> list[int]:
        """Tokens of a text with the special ones around."""
        before, after = self.frame
        return [*before, *ids, *after]

    def room(self, max_length: int) -> int:
        """Tokens of a text that fit into so many positions of the model, special ones apart.

        Raises:
            UserError: none do.
        """
        room = min(max_length, self.model.max_length) - sum(map(len, self.frame))
        if room < 1:
            raise UserError(
                f"{max_length} positions leave no room beside the special tokens of {self.name}: "
                "raise max_length."
            )
        return room

    def check_language_model(self) -> None:
        """Refuses models that give no probabilities of tokens in a text.

        Raises:
            UserError: it is a body alone, a classifier, or an encoder-decoder; or it has no mask,
                or nothing to begin a text with.
        """
        anatomy = self.model.anatomy
        kind = f"{self.name} is a {anatomy.architecture}"
        if anatomy.has_labels or not anatomy.has_head or self.model.reads_pairs:
            raise UserError(
                f"{kind}, and probabilities of words come from the head of a masked language model "
                "or of a decoder: ask it otherwise (FineTuning, LinearProbe, retrieval), or give "
                "the model that it was made of."
            )
        if self.masked and self.tokenizer.mask_token_id is None:
            raise UserError(f"{kind}, and its tokenizer names no mask: set its mask_token.")
        if not self.masked and not self.frame[0]:
            raise UserError(
                f"{kind}, and its tokenizer has neither BOS nor EOS, so nothing predicts the first "
                "token of a text: set its bos_token."
            )
