"""How finely a tokenizer cuts each language, and what of its letters no token stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from data_modules.text.lost_letters import lost_share
from data_modules.text.markers import engine


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
            f"{lost_share(backend.normalizer, tokenizer.unk_token_id, some, cut):.2%}",
        )
    return table
