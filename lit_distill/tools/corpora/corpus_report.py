"""What is in a corpus, per language and mix, and what the sampler will draw of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus, ParallelCorpus
from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import check_output, mark
from lit_distill.tools.corpora.corpus_figures import corpus_figures
from lit_distill.tools.corpora.language_report import LanguageReport, report_of

KIND = "corpus report"
HEADINGS = (
    *("documents", "repeats", "broken", "words", "tokens", "tokens/word", "chars/token"),
    *("unknown", "lost", "scripts", "CMI", "switches", "share", "drawn", "passes"),
)
SCRIPTS_SHOWN = 2
SHOWN_SHARE = 0.0005


@dataclass(frozen=True)
class Drawn:
    """What one language gives to an epoch.

    Attributes:
        share: of the training tokens by the sampler's formula.
        tokens: drawn in the first epoch, special ones included.
        drawn_share: the share that this is of all.
        passes: how often its training windows are gone through in that epoch.
    """

    share: float
    tokens: int
    drawn_share: float
    passes: float


def corpus_report(output: str, data: Corpus) -> dict[str, LanguageReport]:
    """Counts and draws what a corpus holds: table, corpus.json, corpus-*.png, TensorBoard.

    Documents, words, tokens and scripts are those of all splits, before repeats are left out; the
    draws are those of training. Statistics of mixing need texts whose words have language tags.

    Args:
        output: the folder; an earlier report is replaced, and nothing else.
        data: the corpus; take it from a file with `--config configs/data/....yaml`, and give it
            `--data.tokenizer`.

    Raises:
        UserError: a source cannot be read, or the corpus has no tokenizer.
    """
    check_output(Path(output), kind=KIND)
    tokenizer = data.tokenizer  # raises where there is none
    if isinstance(data, ParallelCorpus):
        raise UserError(
            "A ParallelCorpus draws pairs, not texts: report its texts as a MultilingualCorpus."
        )
    data.trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    data.prepare_data()
    data.setup("fit")
    texts = track(data.texts(), "Reading", transient=True, console=Console(stderr=True))
    reports = {one.language: report_of(one, tokenizer) for one in texts}
    drawn = draws(data)
    _print(reports, drawn, data.updates_per_epoch)
    with replacing(Path(output)) as beside:
        _write(beside, reports, drawn)
        mark(beside, KIND)
    print(f"corpus.json, figures and TensorBoard events are in {output}")
    return reports


def draws(data: Corpus, updates: int | None = None) -> dict[str, Drawn]:
    """What the first epoch takes of each language, batch by batch of the real order.

    Args:
        data: a corpus that is set up.
        updates: how many global batches; by default the corpus's `updates_per_epoch`.
    """
    plan, store = data.plan(), data.train
    tokens = np.zeros(len(data.languages), dtype=np.int64)
    windows = np.zeros(len(data.languages), dtype=np.int64)
    for position in range(updates or data.updates_per_epoch):
        chosen, _ = plan.batch(position)
        tokens += np.bincount(
            store.language[chosen], store.lengths[chosen], minlength=len(tokens)
        ).astype(np.int64)
        windows += np.bincount(store.language[chosen], minlength=len(windows))
    columns = zip(
        data.languages,
        data.shares().tolist(),
        tokens.tolist(),
        (tokens / max(tokens.sum(), 1)).tolist(),
        (windows / np.maximum(store.windows_per_language(), 1)).tolist(),
        strict=True,
    )
    return {language: Drawn(*numbers) for language, *numbers in columns}


def _print(reports: dict[str, LanguageReport], drawn: dict[str, Drawn], updates: int) -> None:
    table = Table(title=f"Corpus; draws of an epoch of {updates:,} batches", title_justify="left")
    table.add_column("language", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "scripts" else "right")
    for language, report in reports.items():
        table.add_row(language, *_cells(report, drawn[language]))
    console = Console()
    console = console if console.is_terminal else Console(width=180)
    console.print(table)
    if not any(report.mixing.tagged_utterances for report in reports.values()):
        console.print("No words have language tags (`tags:` of a source): CMI cannot be told.")


def _cells(report: LanguageReport, drawn: Drawn) -> Sequence[str]:
    letters = max(report.scripts.total(), 1)
    scripts = [
        f"{script} {count / letters:.1%}"
        for script, count in report.scripts.most_common(SCRIPTS_SHOWN)
        if count / letters >= SHOWN_SHARE
    ]
    tagged, mixing = report.mixing.tagged_utterances, report.mixing
    return (
        f"{report.documents:,}",
        f"{report.repeats:,}",
        f"{report.broken:,}",
        f"{report.words:,}",
        f"{report.tokens:,}",
        f"{report.fertility:.2f}" if report.fertility is not None else "",
        f"{report.characters_per_token:.2f}",
        f"{report.unknown_rate:.2%}",
        f"{report.lost_rate:.2%}",
        ", ".join(scripts),
        f"{mixing.cmi:.1f}" if tagged else "",
        f"{mixing.switch_point_fraction:.3f}" if tagged else "",
        f"{drawn.share:.2%}",
        f"{drawn.drawn_share:.2%}",
        f"{drawn.passes:.2f}",
    )


def _write(folder: Path, reports: dict[str, LanguageReport], drawn: dict[str, Drawn]) -> None:
    folder.mkdir()
    content: dict[str, Any] = {
        language: {**report.as_json(), "sampling": vars(drawn[language])}
        for language, report in reports.items()
    }
    text = strict_json.dumps(content, indent=1)
    (folder / "corpus.json").write_text(text + "\n", "utf-8")
    shares = {language: (one.share, one.drawn_share) for language, one in drawn.items()}
    with SummaryWriter(str(folder / "tensorboard")) as board:
        for name, figure in corpus_figures(reports, shares).items():
            figure.savefig(folder / f"corpus-{name}.png")
            board.add_figure(f"corpus/{name}", figure)
