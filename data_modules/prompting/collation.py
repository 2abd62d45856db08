"""Batches of prompts and responses: what has a target, and what is to be continued.

B texts. The row that predicts a token is the one before it: the first row of a response is the last
token of its prompt, and the last row predicts the ending token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_modules.objectives.objectives import Objective, Selector
from data_modules.storing.token_store import TokenStore
from lit_distill.batch import PromptBatch, Reading
from lit_distill.counter_random import Purpose, key, words
from lit_distill.errors import UserError
from lit_distill.knobs import PositiveShare, Seed, check_knobs

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Responses(Objective):
    """The tokens of a response, each from the prompt and those before it; see `PromptCorpus`.

    Attributes:
        pairs: the prompt is an encoder's, the response a decoder's.
        labelled_share: share of the responses that training is shown.
        labelled_seed: of the choice of them.
        only_labelled: training leaves prompts without a response out.
    """

    masked: ClassVar[bool | None] = False
    reading: ClassVar[Reading | None] = Reading.RESPONSES

    pairs: bool = False
    labelled_share: PositiveShare = 1.0
    labelled_seed: Seed = 0
    only_labelled: bool = False

    def __post_init__(self) -> None:
        check_knobs(Responses, vars(self))

    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Selector:
        """Plain texts have no responses.

        Raises:
            UserError: always.
        """
        raise UserError(
            "Responses are the objective of a PromptCorpus, which sets it itself: for texts use "
            "NextToken or MaskedTokens."
        )

    def validation(self, tokenizer: Any) -> Responses:
        """All responses, whatever training is shown."""
        return Responses(self.pairs)

    def labelled(
        self, has_response: NDArray[np.bool_], language: NDArray[Any]
    ) -> NDArray[np.bool_]:
        """Which texts (W,) keep their response.

        In every language round(labelled_share x responses) of them, at least one: those with the
        smallest seeded random numbers. So a larger share contains every smaller one.

        Args:
            has_response: (W,).
            language: (W,) language number.
        """
        if self.labelled_share >= 1:
            return has_response.copy()
        kept = np.zeros(len(has_response), dtype=bool)
        draws = words(key(self.labelled_seed, Purpose.LABELLED), np.arange(len(has_response)))
        for number in np.unique(language).tolist():
            own = np.flatnonzero(has_response & (language == number))
            count = max(round(self.labelled_share * len(own)), min(len(own), 1))
            kept[own[np.argsort(draws[own], kind="stable")[:count]]] = True
        return kept


@dataclass(frozen=True)
class PromptCollator:
    """Makes batches of prompts and responses.

    Args:
        store: where windows come from.
        prompts: (W,) tokens of every window's prompt.
        labelled: (W,) whether the response is shown.
        pad_id: token at padded positions; may be an ending token, for masks decide.
        start_id: with what an encoder-decoder's targets begin; None: one text for a decoder.
        starts: (L, K) with what they begin in every language, where these differ.
    """

    store: TokenStore
    prompts: Ints
    labelled: NDArray[np.bool_]
    pad_id: int
    start_id: int | None = None
    starts: Ints | None = None

    def __call__(self, windows: Ints, passes: Ints) -> PromptBatch:
        """The batch of these windows (B,); every pass over the corpus reads the same."""
        del passes
        whole, prompts = self.store.lengths[windows].astype(np.int64), self.prompts[windows]
        labelled = self.labelled[windows]
        row = np.repeat(np.arange(len(windows)), whole)
        column = np.arange(len(row)) - np.repeat(np.cumsum(whole) - whole, whole)
        ids = self.store.gather(windows).astype(np.int64)
        asked = column < prompts[row]  # the prompt's tokens; the others are the response's
        answered = ~asked & labelled[row]
        parts = _Parts(
            ids, row, column, asked, answered, prompts, np.where(labelled, whole, prompts)
        )
        language = self.store.language[windows].astype(np.int64)
        starts = None if self.starts is None else self.starts[language]
        if starts is None and self.start_id is not None:
            starts = np.full((len(windows), 1), self.start_id, dtype=np.int64)
        batch = self._decoder(parts) if starts is None else self._pairs(parts, starts)
        if starts is not None and self.starts is not None:
            batch["target_starts"] = torch.from_numpy(starts)
        counts = {
            "tokens": len(batch["tokens"]),
            "sequences": len(windows),
            "rows": len(batch["rows"]),
            "masked": 0,
        }
        return PromptBatch(
            **batch,
            language=torch.from_numpy(language),
            sample_id=torch.from_numpy(windows.astype(np.int64)),
            labelled=torch.from_numpy(labelled.astype(np.int64)),
            counts=counts,
        )

    def _decoder(self, parts: _Parts) -> PromptBatch:
        """One text, with the prompts alone beside it, padded on the left."""
        shown = parts.asked | parts.answered
        width, room = int(parts.lengths.max()), int(parts.prompts.max())
        places = parts.row * width + parts.column
        text, mask = self._padded(parts.ids[shown], places[shown], len(parts.lengths), width)
        left = parts.row * room + parts.column + (room - parts.prompts)[parts.row]
        asked = parts.asked
        prompt, prompt_mask = self._padded(parts.ids[asked], left[asked], len(parts.lengths), room)
        return PromptBatch(
            input_ids=text,
            attention_mask=mask,
            tokens=torch.from_numpy(places[shown]),
            rows=torch.from_numpy(places[parts.answered] - 1),
            targets=torch.from_numpy(parts.ids[parts.answered]),
            prompt_ids=prompt,
            prompt_mask=prompt_mask,
        )

    def _pairs(self, parts: _Parts, begun: Ints) -> PromptBatch:
        """A source, and a target that begins with start tokens (B, K) and is as far behind."""
        asked, answered, texts = parts.asked, parts.answered, len(parts.lengths)
        room = int(parts.prompts.max())
        places = parts.row * room + parts.column
        source, source_mask = self._padded(parts.ids[asked], places[asked], texts, room)
        first = begun.shape[1] - 1  # the column that predicts the first token
        # A prompt without a response has the start tokens alone.
        behind = first + np.maximum(parts.lengths - parts.prompts, 1)
        width = int(behind.max())
        own = parts.row * width + parts.column - parts.prompts[parts.row] + first
        inner = answered & (parts.column < parts.lengths[parts.row] - 1)
        starts = np.arange(texts)[:, None] * width + np.arange(first + 1)
        read = np.concatenate([begun.ravel(), parts.ids[inner]])
        target, target_mask = self._padded(
            read, np.concatenate([starts.ravel(), own[inner] + 1]), texts, width
        )
        return PromptBatch(
            input_ids=source,
            attention_mask=source_mask,
            decoder_input_ids=target,
            decoder_attention_mask=target_mask,
            tokens=torch.from_numpy(np.flatnonzero(target_mask.numpy())),
            rows=torch.from_numpy(own[answered]),
            targets=torch.from_numpy(parts.ids[answered]),
            prompt_ids=source,
            prompt_mask=source_mask,
        )

    def _padded(self, ids: Ints, places: Ints, rows: int, width: int) -> tuple[Tensor, Tensor]:
        """Ids at flat places, and the mask of these places."""
        text = np.full(rows * width, self.pad_id, dtype=np.int64)
        mask = np.zeros(rows * width, dtype=np.int64)
        text[places], mask[places] = ids, 1
        return (
            torch.from_numpy(text.reshape(rows, width)),
            torch.from_numpy(mask.reshape(rows, width)),
        )


@dataclass(frozen=True)
class _Parts:
    """Windows one after the other, M tokens in all, hidden responses included.

    Attributes:
        ids, row, column: (M,) token, text and place in its text.
        asked: (M,) tokens of prompts.
        answered: (M,) tokens of shown responses.
        prompts: (B,) tokens of the prompts.
        lengths: (B,) tokens that are shown.
    """

    ids: Ints
    row: Ints
    column: Ints
    asked: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    prompts: Ints
    lengths: Ints
