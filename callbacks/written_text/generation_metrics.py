"""How good, how long and how varied the text is that students write, per language."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from callbacks.written_text.continuations import GREEDY, Continued, GenerationReport, Written
from callbacks.written_text.teacher_answers import Nearness, means, nearness
from callbacks.written_text.text_scores import BleuTokenizer, Scored, TextScores, of_one, scores
from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.knobs import Count, Seed, Share, check_knobs
from lit_distill.models import Sampling
from lit_distill.training.distillation import Distillation

LOGGED = (
    *("exact_match", "chrf", "bleu", "rouge_l", "length", "eos_rate"),
    *("distinct_1", "distinct_2", "repetition"),
)


class GenerationMetrics(GenerationReport):
    """Exact match, chrF, BLEU, ROUGE, length, EOS rate, distinct-n and repetition, per language.

    Table: students, and teachers below them. Scalars of students: `val/<language>/<metric>` and
    `val/<metric>`, the mean over languages; see `TextScores` for what they are. Scores against
    texts are against the references; those against a teacher's answers, which it writes here or
    the data has of `pseudo-label`, say so: `chrf_to_teacher`, `exact_match_to_teacher`.
    `generations/<stage>-<step>.jsonl` (`<stage>.jsonl` of `validate` and `test`) in the run folder
    has every prompt with its reference and, by model, text, tokens and the scores that single texts
    have: what intervals of paired differences need; `report.json` has the latest scalars (`texts`).
    It warns where a student hardly ever ends one.

    Args:
        bleu_tokenizer: of sacrebleu; "char" for scripts without spaces.
        least_ended: share of texts that a student should end by itself.
        save: write the file.
        sampling: see `GenerationReport`.
        max_prompts: see `GenerationReport`.
        every: see `GenerationReport`.
        seed: see `GenerationReport`.
    """

    def __init__(
        self,
        bleu_tokenizer: BleuTokenizer = "13a",
        least_ended: Share = 0.1,
        save: bool = True,
        sampling: Sampling = GREEDY,
        max_prompts: Count = 32,
        every: Count = 1,
        seed: Seed = 0,
    ) -> None:
        check_knobs(GenerationMetrics, locals())
        super().__init__(sampling, max_prompts, every, seed)
        self.bleu_tokenizer, self.least_ended, self.save = bleu_tokenizer, least_ended, save
        self.texts: dict[str, Any] = {}

    def report(
        self, trainer: Trainer, module: Distillation, continued: list[Continued], stage: str
    ) -> None:
        """See `GenerationReport.report`."""
        tables = {
            name: self._table([(one, one.students[name]) for one in continued])
            for name in continued[0].students
        }
        near = {name: nearness(name, continued) for name in tables}
        self.texts = {"updates": trainer.global_step, "students": {}}
        for name, table in tables.items():
            prefix = stage if len(tables) == 1 else f"{stage}/{name}"
            metrics = logged(table, prefix) | means(near[name], prefix)
            self.texts["students"][name] = {
                key.removeprefix(f"{prefix}/"): value for key, value in metrics.items()
            }
            # Equal on all ranks: the first flag avoids a warning, the second the reduction.
            module.log_dict(metrics, sync_dist=True, rank_zero_only=True)
        if not trainer.is_global_zero:
            return
        taught = {
            name: self._table([(one, one.teachers[name]) for one in continued])
            for name in continued[0].teachers
        }
        fitting = trainer.state.fn == "fit"  # otherwise nobody counted the updates
        when = f"{stage} after {trainer.global_step} updates" if fitting else stage
        module.print(shown(f"{when}: written text", {**tables, **taught}, near))
        if self.save:
            folder = Path(trainer.default_root_dir) / "generations"
            name = f"{stage}-{trainer.global_step:08}.jsonl" if fitting else f"{stage}.jsonl"
            with replacing(folder / name) as beside:
                beside.write_text("".join(f"{line}\n" for line in map(_line, continued)), "utf-8")
        for name in tables:
            self._warn(name, [one.students[name] for one in continued])

    def state_dict(self) -> dict[str, Any]:
        """What `report.json` says of texts, too."""
        return {**super().state_dict(), "texts": self.texts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it over."""
        super().load_state_dict(state_dict)
        self.texts = state_dict.get("texts", {})

    def _table(self, texts: Sequence[tuple[Continued, Written]]) -> dict[str, TextScores]:
        """Scores by language."""
        by_language: dict[str, list[Scored]] = {}
        for one, written in texts:
            by_language.setdefault(one.language, []).append(_scored(one, written))
        return {name: scores(own, self.bleu_tokenizer) for name, own in by_language.items()}

    def _warn(self, student: str, written: Sequence[Written]) -> None:
        ended = sum(one.ended for one in written)
        if ended < self.least_ended * len(written):
            rank_zero_warn(
                f"The {student} ended {ended} of {len(written)} texts "
                f"({ended / len(written):.1%}) within {self.sampling.max_new_tokens} tokens; all "
                "others were cut. A student that never says the EOS token was never shown it: look "
                "at responses with `preview`, and whether any are labelled. Where responses are "
                "longer, raise sampling.max_new_tokens."
            )


def logged(table: Mapping[str, TextScores], prefix: str) -> dict[str, float]:
    """Metrics by key: of each language, and their means, every language counting the same."""
    known = {
        language: {name: getattr(one, name) for name in LOGGED if getattr(one, name) is not None}
        for language, one in table.items()
    }
    return means(known, prefix)


def shown(
    title: str,
    tables: Mapping[str, Mapping[str, TextScores]],
    near: Mapping[str, Nearness] | None = None,
) -> str:
    """A row per model and language, as text.

    Args:
        title: of the table.
        tables: scores by model and language; against a text, they are against the reference.
        near: of students, how near they come to what teachers answer.
    """
    drawn = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for heading in ("model", "language"):
        drawn.add_column(heading, no_wrap=True)
    columns = {
        "exact": ("exact_match", ".3f"),
        "chrF": ("chrf", ".1f"),
        "BLEU": ("bleu", ".1f"),
        "ROUGE-L": ("rouge_l", ".3f"),
        "tokens": ("length", ".1f"),
        "ended": ("eos_rate", ".3f"),
        "distinct-2": ("distinct_2", ".3f"),
        "repeated": ("repetition", ".3f"),
    }
    to_teachers = dict.fromkeys(
        name
        for tables_of in (near or {}).values()
        for own in tables_of.values()
        for name in own
        if name.startswith("chrf_to_")
    )
    for heading in (*columns, *(name.replace("chrf_to_", "chrF to ") for name in to_teachers)):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for model, table in tables.items():
        for language, own in table.items():
            values = [(getattr(own, name), form) for name, form in columns.values()]
            other = (near or {}).get(model, {}).get(language, {})
            values += [(other.get(name), ".1f") for name in to_teachers]
            cells = ["" if value is None else format(value, form) for value, form in values]
            drawn.add_row(model, language, *cells)
        drawn.add_section()
    text = io.StringIO()
    Console(file=text, width=max(120, shutil.get_terminal_size().columns)).print(drawn)
    return text.getvalue().rstrip()


def _scored(one: Continued, written: Written) -> Scored:
    tokens = written.tokens[: len(written.tokens) - written.ended]
    return Scored(written.text, one.reference, tokens, written.ended)


def _line(one: Continued) -> str:
    row = {
        **{name: getattr(one, name) for name in ("language", "sample_id", "prompt", "reference")},
        **({} if one.answer is None else {"answer": one.answer}),
        **{
            role: {
                name: {**asdict(own), "scores": of_one(_scored(one, own))}
                for name, own in written.items()
            }
            for role, written in (("students", one.students), ("teachers", one.teachers))
        },
    }
    return strict_json.dumps(row)
