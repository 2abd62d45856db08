"""What student and teacher will read: some prompts as they are rendered, before anything trains."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus, PromptCorpus
from data_modules.prompting.form import PromptText
from data_modules.prompting.rendering import Rendered, Renderer, first_difference
from data_modules.reading.readers import Broken
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import FileReport, missing_column
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.models import load_tokenizer

AROUND = 24


@dataclass(frozen=True)
class View:
    """How one tokenizer renders a row.

    Attributes:
        prompt: its text, special tokens of the chat template included.
        response: its text, or None.
        ids: of both.
        shown: decoded from the ids, which is what a model reads.
    """

    prompt: str
    response: str | None
    ids: Rendered
    shown: tuple[str, str]


def preview(data: Corpus, teacher: str | None = None, examples: Count = 3) -> list[str]:
    """Prints prompts and responses as student and teacher read them, and warns where these differ.

    Args:
        data: the corpus; take it from a file with `--config configs/data/....yaml`, and give it
            `--data.tokenizer`, which is the student's.
        teacher: name or folder of the teacher's tokenizer; by default the student's.
        examples: how many rows, of the languages in turn.

    Returns:
        The warnings.

    Raises:
        UserError: there are no prompts, or the student's tokenizer cannot render them.
    """
    check_knobs(preview, locals())
    if not isinstance(data, PromptCorpus):
        raise UserError(f"{type(data).__name__} has no prompts: preview a PromptCorpus.")
    rows = _examples(data, examples)
    theirs = load_tokenizer(teacher) if teacher else data.tokenizer
    student, warnings = data.renderer, list[str]()
    for number, (language, row) in enumerate(rows, 1):
        print(f"{number}. {language}")
        own = _view(data.tokenizer, data, student, row, language)
        _print("student", own)
        warnings += [f"row {number} {text}" for text in _troubles(data, own)]
        try:
            other = _view(theirs, data, data.renderer_with(theirs), row, language)
        except UserError as error:
            warnings.append(f"the teacher's tokenizer cannot render row {number}: {error}")
            continue
        _print("teacher", other, same=other == own)
        warnings += [f"row {number}: {text}" for text in _differences(own, other)]
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr)
    if warnings and teacher:
        print(
            "warning: in training both read the student's rendering. Where the teacher was tuned "
            "on another one, it is asked in a way that it does not know: take its tokenizer "
            "(--tokenizer of fit), or a template of your own in PlainText.",
            file=sys.stderr,
        )
    return warnings


def _examples(data: PromptCorpus, count: int) -> list[tuple[str, PromptText]]:
    """The first rows that can be read, after it said which could not."""
    reports: list[FileReport] = []
    rows = list(islice(_rows(data.texts(), reports), count))
    broken = [report for report in reports if report.broken]
    if not rows:
        raise UserError(
            "The corpus has no row that can be read. "
            + (
                " ".join(f"{report}.{missing_column(report)}" for report in broken)
                or "Its files are empty."
            )
        )
    for report in broken:
        print(f"left out so far: {report}", file=sys.stderr)
    return rows


def _rows(
    texts: list[LanguageTexts], reports: list[FileReport]
) -> Iterator[tuple[str, PromptText]]:
    """Readable training rows, one of each language in turn; what is broken goes into reports."""
    for turn in zip_longest(*(_of_language(one, reports) for one in texts)):
        yield from (pair for pair in turn if pair is not None)


def _of_language(
    texts: LanguageTexts, reports: list[FileReport]
) -> Iterator[tuple[str, PromptText]]:
    for reader in texts.train:
        report = FileReport(reader.name, texts.language)
        reports.append(report)
        for row in reader.rows():
            report.rows += 1
            if isinstance(row, Broken):
                report.note(f"first at {reader.unit} {row.number}", row.reason)
            elif isinstance(row, PromptText):
                yield texts.language, row


def _view(
    tokenizer: Any, data: PromptCorpus, renderer: Renderer, row: PromptText, language: str
) -> View:
    prompt, response = data.rendering.texts(tokenizer, row)
    (ids,) = renderer([row], language)
    shown = tokenizer.decode(ids.prompt), tokenizer.decode(ids.response or [])
    return View(prompt, response, ids, shown)


def _troubles(data: PromptCorpus, view: View) -> Iterator[str]:
    """What the student itself could not learn of a row."""
    if view.ids.problem:
        yield f"cannot be used: {view.ids.problem}."
    if view.ids.inside:
        yield (
            "has a response that begins inside of a token of both as one text: give a space "
            "between them to the response, not to the prompt."
        )
    ended_for_it = f"{view.response}{data.tokenizer.eos_token}"
    if data.rendering.chat and view.shown[1] == ended_for_it:
        yield (
            f"ends with {(view.response or '')[-16:]!r} by the chat template, where no token ends "
            "a text, so EOS was put behind it. If one should, name it in "
            "data.init_args.stop_tokens."
        )


def _print(who: str, view: View, same: bool = False) -> None:
    if same:
        print(f"   {who}  the same")
        return
    print(f"   {who}  prompt,   {len(view.ids.prompt):3} tokens  {view.shown[0]!r}")
    if view.ids.response is None:
        print(f"   {' ' * len(who)}  no response")
    else:
        count = len(view.ids.response)
        print(f"   {' ' * len(who)}  response, {count:3} tokens  {view.shown[1]!r}")


def _differences(student: View, teacher: View) -> Iterator[str]:
    texts = {
        "prompt": (student.prompt, teacher.prompt),
        "response": (student.response or "", teacher.response or ""),
    }
    for name, (own, other) in texts.items():
        if own != other:
            at = first_difference(own, other)
            near = slice(max(at - AROUND, 0), at + AROUND)
            yield (
                f"the templates of student and teacher differ in the {name}: {own[near]!r} and "
                f"{other[near]!r}, from character {at} on."
            )
            return
    if student.ids != teacher.ids:
        yield (
            "the texts are equal and their tokens are not: the tokenizers differ in vocabulary, in "
            "special tokens, or in how they cut."
        )
