"""Samples of the text of every language, as the run's tokenizer and the teacher's read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from data_modules import Corpus, PromptCorpus
from data_modules.prompting.form import PromptText
from data_modules.prompting.rendering import first_difference
from data_modules.reading.sources import LanguageTexts
from lit_distill.cli.preflight.findings import Checked, Finding
from lit_distill.errors import UserError
from lit_distill.models import TeacherSpec, load_tokenizer
from lit_distill.training.distillation import Distillation

LANGUAGES = 20
"""How many languages are shown, at most."""
SHOWN, AROUND = 160, 24
"""Characters of a text that are shown, and those around a difference."""


@dataclass(frozen=True)
class Sample:
    """One text as a tokenizer reads it.

    Attributes:
        ids: its tokens; of a prompt with its response, both.
        text: what these tokens are, special ones included.
        tokens: how many there are, in words.
    """

    ids: list[int]
    text: str
    tokens: str


def show_samples(checked: Checked, module: Distillation, data: Any) -> None:
    """Adds the first text of every language, and what the teacher's tokenizer makes of it.

    Args:
        checked: gets them, and a finding where the two read the same text differently.
        module: of the run; its models need not be there.
        data: its data module.
    """
    try:
        tokenizer = data.tokenizer if isinstance(data, Corpus) else None
        rows = [] if tokenizer is None else list(_first_rows(data.texts()))
    except UserError:  # which the run itself has said
        return
    if not rows:
        return
    others = dict(_teachers_tokenizers(module, data))
    table, numbers, apart = dict[str, str](), list[dict[str, Any]](), list[Finding]()
    for language, row in rows:
        own = _read(tokenizer, data, row, language)
        if own is None:
            continue
        table[language] = f"{own.tokens}: {own.text[:SHOWN]!r}"
        known: dict[str, Any] = {"language": language, "text": own.text, "ids": own.ids}
        for name, other in others.items():
            theirs = _read(other, data, row, language)
            same = theirs is not None and theirs.ids == own.ids
            found = "not at all" if theirs is None else f"{theirs.tokens}: {theirs.text[:SHOWN]!r}"
            table[f"{language}, {name}"] = "the same" if same else found
            known[name] = None if theirs is None else {"text": theirs.text, "ids": theirs.ids}
            if not same and module.cast.shares_vocabulary and not _has_view(module, data):
                apart.append(_difference(language, name, own, theirs, data))
        numbers.append(known)
    checked.figures["Texts as they are read"] = table
    checked.numbers["samples"] = numbers
    checked.add(apart[:1])  # of one language: others differ alike
    checked.add(_padding(tokenizer, others))


def _first_rows(texts: list[LanguageTexts]) -> Iterator[tuple[str, str]]:
    """The first readable training text of every language."""
    for language in texts[:LANGUAGES]:
        rows = (row for reader in language.train for row in reader.rows())
        first = next((row for row in rows if isinstance(row, str) and row.strip()), None)
        if first is not None:
            yield language.language, first


def _teachers_tokenizers(module: Distillation, data: Any) -> Iterator[tuple[str, Any]]:
    """Those that live teachers were trained with, or that the data takes for them."""
    specs: dict[str, TeacherSpec] = module.cast.teacher_specs
    for name, spec in specs.items():
        if _has_view(module, data):
            yield name, data.teacher_tokenizer
            return
        try:
            revision = None if spec.tokenizer else spec.revision
            yield name, load_tokenizer(spec.tokenizer or spec.name, revision)
        except UserError:  # likewise
            continue


def _has_view(module: Distillation, data: Any) -> bool:
    """Whether the teacher reads a text of its own, cut by a tokenizer of its own."""
    return module.cast.takes_view and getattr(data, "teacher_tokenizer", None) is not None


def _read(tokenizer: Any, data: Corpus, row: str, language: str) -> Sample | None:
    """A text as a tokenizer reads it; None where it cannot."""
    if not isinstance(row, PromptText) or not isinstance(data, PromptCorpus):
        ids = tokenizer(str(row), truncation=True, max_length=data.max_length)["input_ids"]
        return Sample(ids, tokenizer.decode(ids), f"{len(ids)} tokens")
    try:
        (one,) = data.renderer_with(tokenizer)([row], language)
    except UserError:
        return None
    ids, response = one.prompt, one.response or []
    text = tokenizer.decode(ids) + tokenizer.decode(response)
    return Sample([*ids, *response], text, f"{len(ids)} + {len(response)} tokens")


def _difference(
    language: str, name: str, own: Sample, theirs: Sample | None, data: Corpus
) -> Finding:
    """What to say where a teacher reads a text otherwise than its student."""
    if theirs is None:
        how = f"{name}'s tokenizer cannot render a text of {language} that the student reads"
    elif own.text != theirs.text:
        at = first_difference(own.text, theirs.text)
        near = slice(max(at - AROUND, 0), at + AROUND)
        how = (
            f"A text of {language} is {own.text[near]!r} for the student and "
            f"{theirs.text[near]!r} for {name}, from character {at} on"
        )
    else:
        how = f"A text of {language} has other token ids in {name}'s tokenizer"
    template = isinstance(data, PromptCorpus) and data.rendering.chat
    instead = ", or a template of your own in PlainText" if template else ""
    return Finding(
        "warning",
        "samples",
        f"{how}: it is asked in a way that it does not know.",
        f"--tokenizer with the tokenizer of {name}{instead}; `preview --teacher` shows prompts.",
    )


def _padding(tokenizer: Any, others: dict[str, Any]) -> Iterator[Finding]:
    """Tokenizers that pad on different sides, which matters to whoever calls them."""
    sides = {"the student's": tokenizer.padding_side}
    sides |= {f"{name}'s": other.padding_side for name, other in others.items()}
    if len({*sides.values()}) > 1:
        listed = ", ".join(f"{whose} on the {side}" for whose, side in sides.items())
        yield Finding(
            "note",
            "padding",
            f"Tokenizers pad on different sides ({listed}). Batches here do not follow them: texts "
            "are padded on the right, prompts that are continued on the left.",
            "Of the exported student's tokenizer, padding_side is to be `left` where it writes.",
        )
