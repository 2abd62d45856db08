"""What was read and what was not: counts per file, and the table that a user sees once."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from data_modules.reading.json_rows import keys_of
from data_modules.storing.store_files import reading, require
from data_modules.storing.token_store import TokenStore
from data_modules.storing.token_tags import LANGUAGE
from lit_distill.errors import UserError

SHOWN_FILES = 20


@dataclass
class FileReport:
    """What was read from one file or hub split.

    Attributes:
        name: of the file or the dataset.
        language: whose texts they are.
        rows: all of them.
        broken: those that gave no text.
        first: where the first broken row is, and what is wrong with it.
        reasons: how often each reason occurred.
        repeated: texts left out because the language had them already.
        in_evaluation: training texts left out because they are given validation or test texts.
        excluded: training and validation texts left out because files of `exclude` have them.
        held_out: training texts that became validation.
        too_long: texts of parallel rows that fit into no window, and so are in no pair; prompts
            above their limit.
        cut: labelled texts of which the end is left out because they are too long.
        cut_words: labelled words that are behind that end.
        pieceless: labelled words of which no token is a piece: they are not read.
        too_long_responses: rows left out because prompt and response together are too long.
        unlabelled: prompts without a response.
        inside: responses that begin inside of a token of prompt and response as one text.
        unknown: passages of lists and judgements that the collection does not have.
        false_negatives: passages that stand among the negatives of a query and are relevant to it.
        unsegmented: texts in a script without spaces whose words are not known, if one asked.
    """

    name: str
    language: str
    rows: int = 0
    broken: int = 0
    first: str = ""
    reasons: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    in_evaluation: int = 0
    excluded: int = 0
    held_out: int = 0
    too_long: int = 0
    cut: int = 0
    cut_words: int = 0
    pieceless: int = 0
    too_long_responses: int = 0
    unlabelled: int = 0
    inside: int = 0
    unknown: int = 0
    false_negatives: int = 0
    unsegmented: int = 0

    def note(self, place: str, reason: str) -> None:
        """Counts a broken row."""
        self.broken += 1
        self.first = self.first or f"{place}: {reason}"
        kind = reason.partition(" (")[0]
        self.reasons[kind] = self.reasons.get(kind, 0) + 1

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.reasons.items())
        return f"{self.name}: {self.broken} of {self.rows} rows are broken ({kinds}; {self.first})"


_BLANK = FileReport("", "")


def read_reports(corpus: Path) -> list[FileReport]:
    """The reports that were written with a tokenised corpus.

    Raises:
        UserError: they are damaged.
    """
    path = corpus / "report.json"
    with reading(corpus):
        rows = json.loads(path.read_text("utf-8"))
        require(isinstance(rows, list) and bool(rows), path)
        reports = [FileReport(**row) for row in rows]
        for report in reports:
            for one in fields(report):
                value, kind = getattr(report, one.name), type(getattr(_BLANK, one.name))
                counts = value.values() if isinstance(value, dict) else [value]
                sound = all(type(count) is int and count >= 0 for count in counts)
                require(type(value) is kind and (sound or kind is str), path)
    return reports


def left_out(reports: Sequence[FileReport], language: str) -> str:
    """Why a language's rows are not what is trained on, for a message; empty where none is."""
    counts = {
        "broken": "broken",
        "repeated": "repeats",
        "in_evaluation": "in other splits",
        "excluded": "excluded",
        "held_out": "held out",
        "too_long": "too long",
        "too_long_responses": "too long with their response",
    }
    own = [report for report in reports if report.language == language]
    sums = {text: sum(getattr(one, name) for one in own) for name, text in counts.items()}
    listed = ", ".join(f"{count:,} {text}" for text, count in sums.items() if count)
    rows = sum(report.rows for report in own)
    long = sums["too long"] + sums["too long with their response"]
    more = " Raise data.init_args.max_length (of prompts also max_prompt_length) for longer ones."
    return f" Of its {rows:,} rows: {listed}.{more * bool(long)}" if listed else ""


def missing_column(report: FileReport) -> str:
    """What a .jsonl file has instead of a column that its rows do not have; empty if it is not so.

    Args:
        report: of a file with broken rows.
    """
    most = max(report.reasons, key=lambda kind: report.reasons[kind], default="")
    found = re.fullmatch("no '(.+)'", most) or re.search(r"\(no '(.+?)'\)$", report.first)
    there = keys_of(Path(report.name)) if found else []
    if not found or not there:
        return ""
    close = get_close_matches(found[1], there, 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f" Its first row has {', '.join(there)}.{hint} Name one of these in the source."


def check_broken(reports: Sequence[FileReport], share: float) -> None:
    """Stops where a file has too many broken rows.

    Raises:
        UserError: the first such file, with its first broken row.
    """
    for report in reports:
        if report.broken > share * report.rows:
            remedy = missing_column(report) or (
                " Repair the file, or raise data.init_args.max_broken."
            )
            raise UserError(f"{report}, more than the {share:.4g} of them that may be.{remedy}")


def show(reports: Sequence[FileReport], stores: Mapping[str, TokenStore]) -> None:
    """Prints what a corpus holds per language, and every file with broken rows."""
    console = Console(stderr=True)
    train = stores["train"]
    columns = {
        "texts": _sums(reports, train.languages, "rows"),
        "training windows": train.windows_per_language(),
        "training tokens": train.token_counts.sum(1).tolist(),
        "validation windows": stores["validation"].windows_per_language(),
        "test windows": stores["test"].windows_per_language(),
        "broken rows": _sums(reports, train.languages, "broken"),
        "repeats left out": _sums(reports, train.languages, "repeated"),
        "evaluation texts left out": _sums(reports, train.languages, "in_evaluation"),
        "excluded": _sums(reports, train.languages, "excluded"),
        "too long, left out": [
            prompts + responses
            for prompts, responses in zip(
                _sums(reports, train.languages, "too_long"),
                _sums(reports, train.languages, "too_long_responses"),
                strict=True,
            )
        ],
        "cut at their end": _sums(reports, train.languages, "cut"),
        "words cut off": _sums(reports, train.languages, "cut_words"),
        "words without a piece": _sums(reports, train.languages, "pieceless"),
        "without a response": _sums(reports, train.languages, "unlabelled"),
    }
    shown = {heading: numbers for heading, numbers in columns.items() if any(numbers)}
    table = Table(title="Tokenised corpus", title_justify="left", show_footer=True)
    table.add_column("language", "all")
    for heading, numbers in shown.items():
        table.add_column(heading, f"{sum(numbers):,}", justify="right")
    for language, *numbers in zip(train.languages, *shown.values(), strict=True):
        table.add_row(language, *(f"{number:,}" for number in numbers))
    console.print(table)
    broken = [report for report in reports if report.broken]
    for report in broken[:SHOWN_FILES]:
        console.print(f"Broken rows left out. {report}", soft_wrap=True, markup=False)
    if len(broken) > SHOWN_FILES:
        console.print(f"... and {len(broken) - SHOWN_FILES} more files, see the corpus's `report`.")


def _sums(reports: Sequence[FileReport], languages: Sequence[str], name: str) -> list[int]:
    sums = dict.fromkeys(languages, 0)
    for report in reports:
        sums[report.language] += getattr(report, name)
    return list(sums.values())


def check_splits(
    stores: Mapping[Any, TokenStore],
    reports: Sequence[FileReport],
    holdout: int,
    untrained: Collection[str] = (),
) -> None:
    """Checks that every language can be trained and measured.

    Args:
        stores: by split.
        reports: of their files.
        holdout: one of how many texts is for validation.
        untrained: languages that are measured only: of these, validation or test text is enough.

    Raises:
        UserError: a language has no training or no validation text; words have too many tags.
    """
    given = dict.fromkeys(untrained, 0)
    for split in ("validation", "test") if untrained else ():
        for language, windows in _counted(stores[split]):
            if language in given:
                given[language] += windows
    for language, windows in given.items():
        if not windows:
            where = left_out(reports, language)
            raise UserError(f"No validation or test text for {language}, and none to train.{where}")
    remedies = {
        "train": "Its sources have no usable text, or all of it is in its other splits.",
        "validation": f"None of its texts was among the one in {holdout} held "
        "out: give its source `validation` files or a `validation_split`, or lower "
        "data.init_args.holdout.",
    }
    if len(stores["train"].tag_names) > LANGUAGE:  # of an earlier release, with other bits
        raise UserError(
            f"The tokenised corpus has more than {LANGUAGE} language tags of words: delete "
            f"{stores['train'].folder.parent}, and map some of them to one."
        )
    for split, remedy in remedies.items():
        counts = _counted(stores[split])
        empty = [name for name, windows in counts if windows == 0 and name not in given]
        if empty:
            where = left_out(reports, empty[0])
            raise UserError(f"No {split} text for {', '.join(empty)}. {remedy}{where}")


def _counted(store: TokenStore) -> Iterable[tuple[str, int]]:
    return zip(store.languages, store.windows_per_language(), strict=True)
