"""What vocabularies of several sizes would cost each language, before one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.output_folders import write_files
from lit_distill.models import trim_tokenizer
from lit_distill.models.vocabularies.closure import Closing
from lit_distill.tools.trimming.counting import Language
from lit_distill.tools.trimming.measuring import cut, size_of
from lit_distill.tools.trimming.reporting import console, preview_figure, preview_table
from lit_distill.tools.trimming.selections import PieceSelection
from lit_distill.tools.trimming.size_budget import SizeBudget
from lit_distill.tools.trimming.subject import Subject

KIND = "preview of vocabularies"


def budgets(selection: PieceSelection, sizes: Sequence[int]) -> list[PieceSelection]:
    """The rule of each size, smallest first.

    Args:
        selection: what the user chose; a budget's coverage is kept, and any rule's `longer_than`.
        sizes: in pieces.

    Raises:
        UserError: there is none.
    """
    if not sizes:
        raise UserError("--preview needs sizes to compare: --preview '[8000, 16000, 32000]'.")
    base = SizeBudget(longer_than=selection.longer_than)
    base = selection if isinstance(selection, SizeBudget) else base
    return [replace(base, pieces=pieces) for pieces in sorted({*sizes})]


def preview_budgets(
    folder: Path,
    subject: Subject,
    read: Sequence[Language],
    closing: Closing,
    rules: Sequence[PieceSelection],
) -> None:
    """Cuts held-out texts by vocabularies of several sizes: table, preview.json, preview.png.

    Args:
        folder: of the record.
        subject: stays whole.
        read: counts and held-out texts of every language.
        closing: what pieces need.
        rules: what `budgets` gave.

    Raises:
        UserError: one is too small.
    """
    old, counts = subject.tokenizer, [one.counts for one in read]
    sizes = {"whole": size_of(subject.model, old, subject.dtype)}
    cuts = {"whole": _cuts(read, old)}
    bar = track(rules, "Budgets", transient=True, console=Console(stderr=True))
    for rule in bar:
        kept = closing.of(rule.choose(counts, closing))
        new = trim_tokenizer(old, kept, subject.rows)
        name = f"{len(kept):,}"
        sizes[name] = size_of(subject.model, new, subject.dtype, len(kept))
        cuts[name] = _cuts(read, new)
    console().print(preview_table(sizes, cuts))
    record = {
        "model": subject.name,
        "rules": [asdict(rule) for rule in rules],
        "budgets": {name: {"size": asdict(sizes[name]), "languages": cuts[name]} for name in sizes},
    }
    texts: dict[str, str | bytes] = {
        "preview.json": strict_json.dumps(record, indent=1) + "\n",
        "preview.png": preview_figure(sizes, cuts),
    }
    write_files(folder, texts, KIND)
    print(f"preview.json and preview.png are in {folder}; nothing was trimmed")


def _cuts(read: Sequence[Language], tokenizer: object) -> dict[str, dict[str, float | None]]:
    return {
        one.counts.language: cut(one.counts.language, one.held_out, tokenizer).numbers
        for one in read
    }
