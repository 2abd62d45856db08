"""Whether a trimmed model is the old one wherever all pieces were kept.

Shapes: T tokens of a text, D hidden size, N rows of the head that are looked at, V kept ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedTokenizerFast

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import Head
from lit_distill.models import DROPPED, LanguageModel, VocabularyMap

READ_TEXTS, READ_TOKENS, READ_ROWS = 8, 64, 16
"""Of each language, what models read: texts, tokens of each at most, rows of logits of each."""
TOLERANCE = 1e-6
"""How far a kept logit may be, relative to the sum of the absolute values that it adds up.

The kernel of a matrix product may add in another order for another number of rows, and rounding
grows with what is added, not with what is left of it. The product with the kept rows alone, which
has one width before and after, is the same bit for bit.
"""


@dataclass(frozen=True)
class Agreement:
    """What was compared, and found to be the same.

    Attributes:
        texts: held-out texts of one language.
        whole: how many of them consist of kept pieces alone: each is cut as before.
        read: how many of these both models read: hidden states are equal bit for bit.
        logits: largest difference of a kept logit; None without a head. The products with the kept
            rows of the head alone are equal bit for bit.
    """

    texts: int
    whole: int
    read: int
    logits: float | None


@dataclass(frozen=True)
class Reading:
    """What a model makes of one text.

    Attributes:
        ids: old ids (T,).
        states: last hidden states (T, D).
        products: of the first rows and the kept rows of the head (N, V), or all (N, labels); None
            without a head.
        sizes: sums of the absolute values that each of these adds up.
        logits: as the model gives them, of the same rows.
    """

    ids: Tensor
    states: Tensor
    products: Tensor | None
    sizes: Tensor | None
    logits: Tensor | None

    def apart(self, other: Reading) -> tuple[float, float] | None:
        """How far logits are from another reading's: as they are, and relative to `sizes`.

        What is the same infinity is not apart. None where a model has no head.
        """
        if self.logits is None or other.logits is None or self.sizes is None:
            return None
        far = torch.where(self.logits == other.logits, 0.0, (self.logits - other.logits).abs())
        return float(far.max()), float((far / self.sizes.clamp(min=1.0)).max())


def whole_texts(
    language: str,
    texts: Sequence[str],
    old: PreTrainedTokenizerFast,
    new: PreTrainedTokenizerFast,
    ids: VocabularyMap,
) -> list[list[int]]:
    """The old ids, special ones included, of all texts that consist of kept pieces alone.

    Args:
        language: of the texts.
        texts: held out.
        old: tokenizer before.
        new: after.
        ids: which became which.

    Raises:
        UserError: one of them is cut otherwise than before.
    """
    found = []
    before, after = (tokenizer(list(texts))["input_ids"] for tokenizer in (old, new))
    for text, one, other in zip(texts, before, after, strict=True):
        if max(one, default=0) >= ids.old_size:
            continue  # a token that the model has no row for
        moved = ids.new_ids(torch.tensor(one, dtype=torch.long))
        if bool((moved == DROPPED).any()) or not one:
            continue
        if moved.tolist() != other:
            raise UserError(
                f"The trimmed tokenizer cuts a text in {language} otherwise, though all of its "
                f"pieces were kept: {text[:80]!r}. Nothing is written: please report the tokenizer."
            )
        found.append(one)
    return found


def readings(
    model: LanguageModel, texts: Sequence[Sequence[int]], ids: VocabularyMap, trimmed: bool
) -> list[Reading]:
    """What a model makes of the first texts.

    Args:
        model: before, or after.
        texts: their old ids.
        ids: which became which.
        trimmed: whether it is the model after, which reads new ids.
    """
    found = []
    most = min(READ_TOKENS, model.max_length)
    by_token = model.anatomy.has_head and not model.anatomy.has_task
    kept = torch.tensor(ids.kept) if by_token and not trimmed else None
    for text in texts[:READ_TEXTS]:
        old, products = torch.tensor(text[:most], dtype=torch.long), None
        sizes, logits = None, None
        with torch.no_grad():
            hidden = model.encode(_batch(model, ids.new_ids(old) if trimmed else old)).hidden[0]
            if model.anatomy.has_head:
                first = hidden[:READ_ROWS]
                products = model.with_lm_head(lambda head: _product(head, kept), first)
                sizes = model.with_lm_head(lambda head: _product(head, kept, Tensor.abs), first)
                logits = model.logits(hidden[:READ_ROWS])
                logits = logits if kept is None else logits[:, kept]
        found.append(Reading(old, hidden, products, sizes, logits))
    return found


def _product(
    head: Head, kept: Tensor | None, of: Callable[[Tensor], Tensor] = lambda values: values
) -> Tensor:
    """Rows (N, D) times the rows of a head that are kept (None: all), with their biases."""
    weight, bias = (
        one if one is None or kept is None else one[kept] for one in (head.weight, head.bias)
    )
    assert weight is not None
    return linear(of(head.rows), of(weight), None if bias is None else of(bias))


def _batch(model: LanguageModel, ids: Tensor) -> Batch:
    row = ids.unsqueeze(0)
    batch: Batch = {"input_ids": row, "attention_mask": torch.ones_like(row)}
    if model.reads_pairs:  # the text again, behind the token that begins targets
        start = getattr(model.config, "decoder_start_token_id", None)  # mBART begins with a code
        first = row[:, -1:] if start is None else row.new_full((1, 1), start)
        target = torch.cat([first, row[:, :-1]], dim=1)
        batch["decoder_input_ids"], batch["decoder_attention_mask"] = (
            target,
            torch.ones_like(target),
        )
    return batch


def agreement(
    language: str, texts: int, whole: int, before: Sequence[Reading], after: Sequence[Reading]
) -> Agreement:
    """How both models agree about the texts of a language.

    Args:
        language: of the texts.
        texts: held out.
        whole: how many are made of kept pieces.
        before: of the old model.
        after: of the new one.

    Raises:
        UserError: they do not.
    """
    most: float | None = None
    for one, other in zip(before, after, strict=True):
        if not torch.equal(one.states, other.states):
            raise UserError(
                f"The trimmed model has other hidden states for a text in {language}, though all "
                f"of its pieces were kept ({_far(one.states, other.states):.1e}). Nothing is "
                "written: please report the model."
            )
        if (apart := one.apart(other)) is None:
            continue
        assert one.products is not None  # as the logits
        assert other.products is not None
        if not torch.equal(one.products, other.products):
            raise UserError(
                f"The head of the trimmed model is another one: a text in {language} gets other "
                f"scores of kept pieces ({_far(one.products, other.products):.1e}). Nothing is "
                "written: please report the model."
            )
        if not apart[1] <= TOLERANCE:
            raise UserError(
                f"The trimmed model has other logits for a text in {language}: kept ones differ by "
                f"{apart[0]:.1e}, {apart[1]:.1e} of what they add up. Nothing is written: please "
                "report the model."
            )
        most = max(most or 0.0, apart[0])
    return Agreement(texts, whole, len(before), most)


def check_named_ids(before: set[int], after: set[int], ids: VocabularyMap) -> None:
    """Compares the ids that configs name.

    Args:
        before: old ids in the configs of the old model.
        after: new ids in those of the new one, as it was opened.
        ids: which became which.

    Raises:
        UserError: they are not the same tokens.
    """
    moved = {int(number) for number in ids.new_ids(torch.tensor(sorted(before), dtype=torch.long))}
    if moved != after:
        raise UserError(
            f"The configs of the trimmed model name the tokens {sorted(after)} and should name "
            f"{sorted(moved)} (padding, ends, ...). Nothing is written: please report the model."
        )


def _far(one: Tensor, other: Tensor) -> float:
    """The largest difference; what is the same infinity is not apart."""
    return float(torch.where(one == other, 0.0, (one - other).abs()).max())


def as_json(found: Mapping[str, Agreement]) -> dict[str, Any]:
    """The numbers of every language."""
    return {language: vars(one) for language, one in found.items()}
