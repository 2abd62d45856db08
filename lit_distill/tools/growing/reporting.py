"""What `grow-vocabulary` tells: a table on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from lit_distill.tools.growing.verifying import Agreement
from lit_distill.tools.trimming.measuring import Change, Cut


def language_table(
    changes: Mapping[str, Change], found: Mapping[str, Agreement], grown: Mapping[str, int]
) -> Table:
    """A row for each language: how its held-out texts are cut, before and after.

    Args:
        changes: by language.
        found: by language.
        grown: languages that got pieces, which are marked.
    """
    table = Table(title="Held-out texts, before and after", title_justify="left")
    table.add_column("language", no_wrap=True)
    headings = ("tokens per text", "tokens per word", "characters per token", "unknown")
    for heading in (*headings, "texts as before", "logits apart"):
        table.add_column(heading, justify="right")
    for language, change in changes.items():
        own = found[language]
        before, after = (one.report for one in (change.before, change.after))
        table.add_row(
            f"{language} (grown)" if language in grown else language,
            _pair(per_text(change.before), per_text(change.after), ".1f"),
            _pair(before.fertility, after.fertility, ".2f"),
            _pair(before.characters_per_token, after.characters_per_token, ".2f"),
            _pair(before.unknown_rate, after.unknown_rate, ".2%"),
            f"{own.without:,} of {own.texts:,}",
            "" if own.logits is None else f"{own.logits:.1e}",
        )
    return table


def per_text(cut: Cut) -> float:
    """Tokens of a text, on average."""
    return cut.report.tokens / max(cut.report.documents, 1)


def change_as_json(change: Change) -> dict[str, Any]:
    """The numbers of one language."""
    return {
        "texts": change.before.report.documents,
        **{
            name: {**one.numbers, "tokens_per_text": per_text(one)}
            for name, one in (("before", change.before), ("after", change.after))
        },
    }


def _pair(before: float | None, after: float | None, form: str) -> str:
    if before is None or after is None:
        return ""
    return f"{before:{form}} → {after:{form}}"
