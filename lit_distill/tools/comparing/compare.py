"""Several models side by side on the same masked validation text: size, speed, loss, agreement."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus
from lit_distill.batch import Batch, read_ids
from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.output_folders import check_output, write_files
from lit_distill.measures.language_model import perplexity
from lit_distill.measures.logits import ScoreKeeper, score_batch
from lit_distill.measures.measure import Scores, mean_over_languages
from lit_distill.models import (
    Ensemble,
    LanguageModel,
    TeacherSpec,
    check_models,
    load_tokenizer,
    share_vocabulary,
    teach,
)
from lit_distill.tools.comparing.less_control import Difference, Losses, less_control

KIND = "comparison of models"
TIMED_SECONDS = 3.0


@dataclass(frozen=True)
class Compared:
    """One model's row.

    Attributes:
        parameters: of the whole model, tied weights once.
        disk: bytes of its weight files; 0 if it is not a local folder.
        sentences_per_second: body and head on masked rows, this machine, this run.
        scores: by language.
        less_control: its mean loss less the control's; None without one, and of the control.
        languages_less_control: likewise, by language.
    """

    parameters: int
    disk: int
    sentences_per_second: float
    scores: dict[str, Scores]
    less_control: Difference | None = None
    languages_less_control: dict[str, Difference] | None = None


def compare(
    models: dict[str, str],
    data: Corpus,
    reference: str | None = None,
    control: str | None = None,
    output: str | None = None,
) -> dict[str, Compared]:
    """Measures models on the validation split of a corpus and prints one table.

    Args:
        models: names and Hugging Face folders, as `--models.teacher runs/x/student`; all must have
            the corpus's tokenizer.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        reference: name of the model that agreement and KL are measured against; by default
            "teacher" if there is one.
        control: name of the model whose loss the others' are compared with, with intervals over the
            texts; by default "control" if there is one.
        output: a folder; the numbers are written there as well, as compare.json. An earlier
            comparison there is replaced, and nothing else.

    Raises:
        UserError: a model cannot be opened or does not fit, or the output is no comparison.
    """
    if output is not None:
        check_output(Path(output), kind=KIND)
    if not models:
        raise UserError("No models to compare: give --models.NAME FOLDER, once or more.")
    reference = _chosen("reference", reference, "teacher", models)
    control = _chosen("control", control, "control", models)
    opened = open_models(models, data)
    batches = validation_batches(data)
    with torch.no_grad():
        keepers = _measured(opened, batches, opened[reference] if reference else None, data)
        speeds = _speeds(opened, batches)
    losses = {name: _by_window(own[1], batches, data.languages) for name, own in keepers.items()}
    rows = {
        name: Compared(
            sum(p.numel() for p in model.model.parameters()),
            sum(f.stat().st_size for f in Path(models[name]).glob("*.safetensors")),
            speeds[name],
            keepers[name][0].scores(data.languages),
            *(less_control(losses[name], losses[control]) if control not in (None, name) else ()),
        )
        for name, model in opened.items()
    }
    _print(rows, reference, control)
    if output is not None:
        plain = {name: asdict(row) for name, row in rows.items()}
        write_files(Path(output), {"compare.json": strict_json.dumps(plain, indent=1)}, KIND)
    return rows


def _chosen(role: str, name: str | None, usual: str, models: dict[str, str]) -> str | None:
    """The model of a role: the one named, or else the one of the usual name, if there is one."""
    if name is not None and name not in models:
        raise UserError(f"The {role} {name!r} is none of the models {', '.join(models)}.")
    return name or (usual if usual in models else None)


def open_models(models: dict[str, str], data: Corpus) -> dict[str, LanguageModel]:
    """Opens models that all read the tokens of a corpus.

    Raises:
        UserError: one cannot be opened, or has another vocabulary.
    """
    try:
        tokenizer = data.tokenizer
    except UserError as error:
        raise UserError(
            "The corpus has no tokenizer: give --data.tokenizer the folder of one of the models."
        ) from error
    opened = {name: TeacherSpec(folder).build() for name, folder in models.items()}
    for name, model in opened.items():
        check_models(model, None, None, tokenizer, data)
        own = Path(models[name]) / "tokenizer.json"
        if own.is_file() and load_tokenizer(models[name]).get_vocab() != tokenizer.get_vocab():
            raise UserError(
                f"{name} has another vocabulary than the corpus's tokenizer: losses per token can "
                "only be compared on the same tokens."
            )
    share_vocabulary(list(opened.values()), tokenizer)
    return opened


def _measured(
    models: dict[str, LanguageModel],
    batches: list[Batch],
    teacher: LanguageModel | None,
    data: Corpus,
) -> dict[str, list[ScoreKeeper]]:
    """Two sums of scores for each model: by language, and by window."""
    windows = sum(len(batch["sample_id"]) for batch in batches)
    keepers = {
        name: [
            ScoreKeeper(len(data.languages), teacher is not None),
            ScoreKeeper(windows, teacher is not None, _row_windows),
        ]
        for name in models
    }
    for batch in track(batches, "Measuring", transient=True):
        taught = teach([teacher], Ensemble(), batch) if teacher else None
        score_batch(keepers, models, taught, batch)
    return keepers


def _row_windows(batch: Batch) -> Tensor:
    """The window (N,) of every selected position."""
    return batch["sample_id"].index_select(0, batch["rows"] // read_ids(batch).shape[1])


def _by_window(keeper: ScoreKeeper, batches: list[Batch], languages: Sequence[str]) -> Losses:
    sums, own = keeper.compute().numpy(), torch.cat([batch["language"] for batch in batches])
    return {name: sums[own == number][:, [1, 0]] for number, name in enumerate(languages)}


def validation_batches(data: Corpus) -> list[Batch]:
    """All validation batches of all languages; their windows are numbered through."""
    data.trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    data.prepare_data()
    data.setup("validate")
    batches, first = list[Batch](), 0
    for batch in (batch for loader in data.val_dataloader() for batch in loader):
        count = len(batch["language"])
        batches.append(Batch(**{**batch, "sample_id": torch.arange(first, first + count)}))
        first += count
    return batches


def _speeds(models: dict[str, LanguageModel], batches: Sequence[Batch]) -> dict[str, float]:
    """Sentences per second of each model, in turns, so that a slow moment hits all."""
    seconds, sentences = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0)
    end = time.perf_counter() + TIMED_SECONDS * len(models)
    mixed = random.Random(0).sample(batches, len(batches))  # not one language's before the others
    for batch in mixed[:1]:
        for model in models.values():  # the first call is slower
            model.logits(model.encode(batch).rows(batch["rows"]))
    for batch in mixed:
        for name, model in models.items():
            start = time.perf_counter()
            model.logits(model.encode(batch).rows(batch["rows"]))
            seconds[name] += time.perf_counter() - start
            sentences[name] += batch["counts"]["sequences"]
        if time.perf_counter() > end:
            break
    return {name: sentences[name] / seconds[name] for name in models}


def _print(rows: dict[str, Compared], reference: str | None, control: str | None) -> None:
    table = Table(title="Held-out masked text; means are over languages", title_justify="left")
    table.add_column("")
    for name in rows:
        table.add_column(name, justify="right")
    table.add_row("parameters", *(f"{row.parameters / 1e6:.2f} M" for row in rows.values()))
    table.add_row("disk", *(f"{row.disk / 1e6:.1f} MB" for row in rows.values()))
    table.add_row("sentences/s", *(f"{row.sentences_per_second:.0f}" for row in rows.values()))
    table.add_row("loss, mean", *_means(rows, "loss"))
    if control is not None:
        gaps = [row.less_control for row in rows.values()]
        table.add_row(f"less {control}'s", *("-" if g is None else f"{g.value:+.3f}" for g in gaps))
        ends = ("-" if g is None else f"{g.low:+.3f} to {g.high:+.3f}" for g in gaps)
        table.add_row("  95 % interval", *ends)
    table.add_row("accuracy", *_means(rows, "accuracy"))
    if reference is not None:
        table.add_row(f"agreement with {reference}", *_means(rows, "agreement"))
        table.add_row(f"KL from {reference}", *_means(rows, "kl"), end_section=True)
    table.add_row("loss (perplexity)")
    for language in next(iter(rows.values())).scores:
        losses = (row.scores[language]["loss"] for row in rows.values())
        cells = (f"{x:.3f} ({perplexity(x):.1f})" for x in losses if x is not None)
        table.add_row(f"  {language}", *cells)
    Console().print(table)


def _means(rows: dict[str, Compared], name: str) -> list[str]:
    means = [mean_over_languages(row.scores).get(name) for row in rows.values()]
    return ["-" if mean is None else f"{mean:.3f}" for mean in means]
