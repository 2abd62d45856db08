"""Prompts and what the models write behind them, to read beside the curves."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Trainer

from callbacks.reports.boards import boards
from callbacks.reports.markdown import escaped
from callbacks.written_text.continuations import GREEDY, Continued, GenerationReport, Written
from lit_distill.knobs import Count, Seed, check_knobs
from lit_distill.models import Sampling
from lit_distill.training.distillation import Distillation

CUT = " …"
"""Behind texts that did not end by themselves, or that are shown in part."""


class SampleText(GenerationReport):
    """Writes prompts with the wanted response and those of students and teachers, per language.

    The table `val/continuations/<language>` has a row per prompt, in every logger that shows
    tables. Prompts never change, so rows can be compared over training. An ellipsis stands behind
    what did not end by itself.

    Args:
        texts: rows of each language.
        characters: how much of each text is shown.
        sampling: see `GenerationReport`; with equal settings, `GenerationMetrics` costs nothing
            more.
        max_prompts: see `GenerationReport`.
        every: see `GenerationReport`.
        seed: see `GenerationReport`.
    """

    def __init__(
        self,
        texts: Count = 4,
        characters: Count = 300,
        sampling: Sampling = GREEDY,
        max_prompts: Count = 32,
        every: Count = 1,
        seed: Seed = 0,
    ) -> None:
        check_knobs(SampleText, locals())
        super().__init__(sampling, max_prompts, every, seed)
        self.texts, self.characters = texts, characters

    def report(
        self, trainer: Trainer, module: Distillation, continued: list[Continued], stage: str
    ) -> None:
        """See `GenerationReport.report`."""
        for language in dict.fromkeys(one.language for one in continued):
            own = [one for one in continued if one.language == language][: self.texts]
            heading, rows = table(own, self.characters)
            for board in boards(trainer) if trainer.is_global_zero else []:
                name = f"{stage}/continuations/{language}"
                board.table(name, heading, rows, trainer.global_step)


def table(rows: Sequence[Continued], characters: int) -> tuple[list[str], list[list[str]]]:
    """The heading and a row per prompt, of cells in Markdown.

    Args:
        rows: of one language; at least one.
        characters: how much of each text is shown.
    """

    def shown(text: str | None, ended: bool = True) -> str:
        if not text:
            return "(nothing)"
        whole = ended and len(text) <= characters
        return escaped(text[:characters]) + ("" if whole else CUT)

    def said(written: dict[str, Written]) -> list[str]:
        return [shown(one.text, one.ended) for one in written.values()]

    heading = ["prompt", "wanted", *rows[0].students, *rows[0].teachers]
    return heading, [
        [shown(row.prompt), shown(row.reference), *said(row.students), *said(row.teachers)]
        for row in rows
    ]
