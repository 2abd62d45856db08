"""How finely a tokenizer cuts each language, and what of its letters no token stands for."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from tokenizers import Encoding

from data_modules.markers import engine
from lit_distill.tools.vocabularies import BREAK, CLUTTER

_NO_LETTERS = re.compile(rf"[\s{CLUTTER}{BREAK}]")


def cutting_table(
    tokenizer: Any, texts: Mapping[str, Sequence[str]], repeats: Mapping[str, float]
) -> Table:
    """A row for each language: short pieces make it costly and hard, and lost letters dumb.

    Args:
        tokenizer: a fast one.
        texts: some of every language.
        repeats: how often each language was read.
    """
    table = Table(title="The first training texts of each language", title_justify="left")
    table.add_column("language")
    for heading in ("read", "characters per token", "tokens per word", "unknown", "lost letters"):
        table.add_column(heading, justify="right")
    backend = engine(tokenizer)
    for language, some in texts.items():
        cut = backend.encode_batch(list(some), add_special_tokens=False)
        count = max(sum(len(one.ids) for one in cut), 1)
        unknown = sum(one.ids.count(tokenizer.unk_token_id) for one in cut)
        table.add_row(
            language,
            f"{repeats[language]:.2f} x",
            f"{sum(map(len, some)) / count:.2f}",
            f"{count / max(sum(len(text.split()) for text in some), 1):.2f}",
            f"{unknown / count:.2%}",
            f"{_lost_share(backend.normalizer, tokenizer.unk_token_id, some, cut):.2%}",
        )
    return table


def _lost_share(
    normalizer: Any, unknown: int | None, texts: Sequence[str], cut: Sequence[Encoding]
) -> float:
    """Share of the letters, signs and joiners that are left out or in unknown tokens.

    Case and Unicode's ways to write one letter are not lost: folding them is asked for.
    """
    lost = total = 0
    for text, one in zip(texts, cut, strict=True):
        letters = _letters(text)
        total += letters.total()
        kept = _letters(_normalised(text, normalizer))
        for token, (start, stop) in zip(one.ids, one.offsets, strict=True):
            if token == unknown:
                kept -= _letters(_normalised(text[start:stop], normalizer))
        lost += (letters - kept).total()
    return lost / max(total, 1)


def _normalised(text: str, normalizer: Any) -> str:
    return text if normalizer is None else str(normalizer.normalize_str(text))


def _letters(text: str) -> Counter[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return Counter(_NO_LETTERS.sub("", folded))
