"""What is predicted: masked tokens, the next token, or nothing (plain text).

An objective is a small setting chosen by `class_path`; bound to a tokenizer, a mixture and a seed
it becomes a function from texts to targets (`Selector`). M tokens, N targets, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from data_modules.objectives.masking import Masker, Selection, Texts
from data_modules.objectives.word_starts import word_starts
from data_modules.storing.word_breaks import WordBreaks
from data_modules.text.framing import Frame
from lit_distill.batch import Reading
from lit_distill.errors import UserError
from lit_distill.knobs import PositiveShare, Share, check_knobs

Selector = Callable[[Texts], Selection]
VALIDATION_SEED = 20260101
"""Seed of validation masks: no run's seed, so that all runs are measured on the same masks."""


class Objective(ABC):
    """Decides which positions have targets, and what the model reads there.

    Attributes:
        masked: whether targets are hidden from the model, which may then look at both sides; False:
            they come after it; None: there are none.
        reading: what methods call it; None: none of theirs knows it, and none is refused.
    """

    masked: ClassVar[bool | None]
    reading: ClassVar[Reading | None] = None

    @abstractmethod
    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Selector:
        """The objective for one tokenizer, mixture and seed.

        Args:
            tokenizer: a fast tokenizer.
            counts: (V,) how often each token occurs in the sampled mixture.
            seed: of the draws.

        Raises:
            UserError: the tokenizer lacks what the objective needs.
        """

    @abstractmethod
    def validation(self, tokenizer: Any) -> Objective:
        """How a model is measured: the same for every setting of the training objective."""

    def frame(self, tokenizer: Any) -> Frame:
        """Which special tokens stand around windows and texts."""
        return Frame.around(tokenizer)

    def breaks(self) -> WordBreaks | None:
        """Tells words in scripts without spaces; None where nobody asks."""
        return None


Smoothing = Annotated[float, Interval(ge=0, le=10), "it is an exponent of frequencies"]
"""How much rarer words are preferred."""


@dataclass(frozen=True)
class MaskedTokens(Objective):
    """Masked language modelling with an exact number of targets, never special tokens.

    Masks are a function of (seed, pass, window, position): each pass over a text draws new ones,
    the same for any batch composition, number of workers or ranks (`scope: batch` excepted, which
    by its nature depends on the batch).

    Args:
        probability: share of targets; ceil(probability * length) per text, or all maskable tokens
            where there are fewer. As in DistilBERT, the length counts special tokens.
        mask_share: share of the targets that the model reads as the mask token.
        random_share: share read as a random token, uniform over the whole vocabulary as published
            (special tokens included). The rest is read as it is.
        smoothing: targets are drawn with weights max(count, 1) ** -smoothing, counts of the sampled
            mixture: rare tokens are masked more often. 0 is uniform; DistilBERT uses 0.7.
        scope: `sample` is the exact count in every text; `batch` is DistilBERT's rule, the exact
            count over the whole batch, drawn across texts.
        whole_word: all pieces of a word are masked together, words in drawn order, each that still
            fits into the exact count; the first one always, even where it alone is longer. With
            smoothing a word weighs what its pieces weigh on average. In scripts without spaces
            words are ICU's (extra `words`); without it, pieces, with a warning.

    Source: Devlin et al., 2019, section 3.1; Sanh et al., 2019, and its code (distiller.py,
    transformers-research-projects@fccd0cd); smoothing after Conneau and Lample, 2019.
    """

    masked: ClassVar[bool | None] = True
    reading: ClassVar[Reading | None] = Reading.MASKED

    probability: PositiveShare = 0.15
    mask_share: Share = 0.8
    random_share: Share = 0.1
    smoothing: Smoothing = 0.0
    scope: Literal["sample", "batch"] = "sample"
    whole_word: bool = False

    def __post_init__(self) -> None:
        """Refuses shares that are none."""
        check_knobs(type(self), vars(self))
        if self.mask_share + self.random_share > 1 + 1e-9:
            raise UserError(
                "objective.mask_share and random_share must be at most 1 together, "
                f"found {self.mask_share} and {self.random_share}."
            )

    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Masker:
        """See `Objective.bind`."""
        if tokenizer.mask_token_id is None:
            raise UserError(
                "MaskedTokens needs a tokenizer with a mask token and this one has none: use the "
                "objective NextToken, or a tokenizer of a masked model."
            )
        size = max(tokenizer.get_vocab().values()) + 1
        maskable = np.ones(size, dtype=bool)
        maskable[tokenizer.all_special_ids] = False
        slowness = None
        if self.smoothing:
            slowness = np.ones(size)
            slowness[: len(counts)] = np.maximum(counts[:size], 1.0) ** self.smoothing
        return Masker(
            probability=self.probability,
            mask_share=self.mask_share,
            random_share=self.random_share,
            per_text=self.scope == "sample",
            mask_id=tokenizer.mask_token_id,
            maskable=maskable,
            slowness=slowness,
            starts=word_starts(tokenizer) if self.whole_word else None,
            seed=seed,
        )

    def breaks(self) -> WordBreaks | None:
        """See `Objective.breaks`."""
        return WordBreaks() if self.whole_word else None

    def validation(self, tokenizer: Any) -> Objective:
        """Always the defaults: runs that train with other masks stay comparable."""
        return MaskedTokens()


@dataclass(frozen=True)
class NextToken(Objective):
    """Causal language modelling: every token predicts the next one of its own text.

    A text ends with the tokenizer's EOS token (or what else it puts behind texts), which is the
    target of the text's last token; a text of several windows has it in the last one.

    Args:
        bos: windows begin with the BOS token, or with EOS where the tokenizer has none, also where
            the tokenizer adds nothing. The authors of DistilGPT2 put one there.

    Source: Sanh et al.'s code (binarized_data.py, transformers-research-projects@fccd0cd).
    """

    masked: ClassVar[bool | None] = False
    reading: ClassVar[Reading | None] = Reading.NEXT

    bos: bool = False

    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Selector:
        """See `Objective.bind`."""
        return _next_tokens

    def validation(self, tokenizer: Any) -> Objective:
        """Validation predicts the same."""
        return self

    def frame(self, tokenizer: Any) -> Frame:
        """See `Objective.frame`."""
        return Frame.ending(tokenizer, self.bos)


@dataclass(frozen=True)
class NoTargets(Objective):
    """Text as it is, without targets: for losses on hidden states and attention relations."""

    masked: ClassVar[bool | None] = None
    reading: ClassVar[Reading | None] = Reading.PLAIN

    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Selector:
        """See `Objective.bind`."""
        return _nothing

    def validation(self, tokenizer: Any) -> Objective:
        """The language model is measured all the same, by the tokenizer's kind."""
        return NextToken() if tokenizer.mask_token_id is None else MaskedTokens()

    def frame(self, tokenizer: Any) -> Frame:
        """As it is measured."""
        return self.validation(tokenizer).frame(tokenizer)


@dataclass(frozen=True)
class Noised(Objective):
    """Text of which some tokens are hidden or replaced, without targets: a view to be made robust.

    Args:
        probability: share of the tokens that are touched, as in `MaskedTokens`.
        mask_share: share of these read as the mask token.
        random_share: share read as a random token.
    """

    masked: ClassVar[bool | None] = None
    reading: ClassVar[Reading | None] = Reading.NOISED

    probability: PositiveShare = 0.15
    mask_share: Share = 0.5
    random_share: Share = 0.5

    def __post_init__(self) -> None:
        check_knobs(Noised, vars(self))
        self._masks()

    def _masks(self) -> MaskedTokens:
        return MaskedTokens(self.probability, self.mask_share, self.random_share)

    def bind(self, tokenizer: Any, counts: NDArray[np.float64], seed: int) -> Selector:
        """See `Objective.bind`."""
        return _WithoutTargets(self._masks().bind(tokenizer, counts, seed))

    def validation(self, tokenizer: Any) -> Objective:
        """As of `NoTargets`."""
        return NoTargets().validation(tokenizer)

    def frame(self, tokenizer: Any) -> Frame:
        """As of `NoTargets`."""
        return NoTargets().frame(tokenizer)


def settled(reads: Sequence[Reading]) -> Objective | None:
    """The objective of a method by what it can read, of texts the first; None if it reads either.

    Args:
        reads: see `Method`.
    """
    known = {Reading.PLAIN: NoTargets, Reading.NEXT: NextToken, Reading.MASKED: MaskedTokens}
    texts = [reading for reading in reads if reading in known]
    either = {Reading.NEXT, Reading.MASKED} <= {*texts} and texts[0] != Reading.PLAIN
    return None if either or not texts else known[texts[0]]()


def objective_for(reads: Sequence[Reading], tokenizer: Any) -> Objective:
    """What is predicted where nobody said it: what a method reads, else by the tokenizer's kind."""
    return settled(reads) or NoTargets().validation(tokenizer)


@dataclass(frozen=True)
class _WithoutTargets:
    select: Selector

    def __call__(self, texts: Texts) -> Selection:
        return replace(_nothing(texts), ids=self.select(texts).ids)


def _next_tokens(texts: Texts) -> Selection:
    rows = np.flatnonzero(texts.column[1:])  # the next token is not the first of another text
    return Selection(texts.ids, rows, texts.ids[rows + 1].astype(np.int64), masked=0)


def _nothing(texts: Texts) -> Selection:
    nothing = np.empty(0, dtype=np.int64)
    return Selection(texts.ids, nothing, nothing, masked=0)
