"""Several models side by side on the same masked validation text: size, speed, loss, agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus
from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.output_folders import check_output, write_files
from lit_distill.knobs import Seed, check_knobs
from lit_distill.measures.language_model import perplexity
from lit_distill.measures.measure import mean_over_languages
from lit_distill.tools.comparing.compare_grid import compare_grid
from lit_distill.tools.comparing.fairness import Item
from lit_distill.tools.comparing.grid import Grid
from lit_distill.tools.comparing.held_out.measuring import (
    by_window,
    measured,
    open_models,
    speeds_of,
    validation_batches,
)
from lit_distill.tools.comparing.less_control import less_control
from lit_distill.tools.comparing.rows import Compared
from lit_distill.tools.models_by_seed import SEED

KIND = "comparison of models"


def compare(
    models: dict[str, str],
    data: Corpus,
    reference: str | None = None,
    control: str | None = None,
    output: str | None = None,
    seeds: tuple[Seed, ...] = (),
    allow_differences: tuple[Item, ...] = (),
) -> Mapping[str, Compared]:
    """Measures models on the validation split of a corpus and prints one table.

    Args:
        models: names and Hugging Face folders, as `--models.teacher runs/x/student`; all must have
            the corpus's tokenizer. `{seed}` in one is each of `seeds`, under which it was trained.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        reference: name of the model that agreement and KL are measured against; by default
            "teacher" if there is one.
        control: name of the model whose loss the others' are compared with, with intervals over the
            texts; by default "control" if there is one.
        output: a folder; the numbers are written there as well, as compare.json; with seeds also
            the tables, as compare.md, and a figure. An earlier comparison there is replaced, and
            nothing else.
        seeds: under which models were trained; rows are then methods, and runs have to be equal in
            data, its order, start, teacher, tokenizer and updates, by their own records.
        allow_differences: in which of these runs may differ all the same.

    Raises:
        UserError: a model cannot be opened or does not fit, runs differ in more than their method,
            or the output is no comparison.
    """
    check_knobs(compare, locals())
    if output is not None:
        check_output(Path(output), kind=KIND)
    if not models:
        raise UserError("No models to compare: give --models.NAME FOLDER, once or more.")
    reference = _chosen("reference", reference, "teacher", models)
    control = _chosen("control", control, "control", models)
    _check_seeds(models, seeds, allow_differences)
    if seeds:
        grid = Grid(models, seeds, reference, control)
        return compare_grid(grid, data, allow_differences, output, KIND)
    rows = _alone(models, data, reference, control)
    _print(rows, reference, control)
    if output is not None:
        plain = {name: asdict(row) for name, row in rows.items()}
        write_files(Path(output), {"compare.json": strict_json.dumps(plain, indent=1)}, KIND)
    return rows


def _check_seeds(models: Mapping[str, str], seeds: Sequence[int], allowed: Sequence[Item]) -> None:
    """Refuses seeds without models that have them, and the other way round."""
    by_seed = [name for name, source in models.items() if SEED in source]
    if by_seed and not seeds:
        raise UserError(
            f"{', '.join(by_seed)}: {SEED} in a folder is a seed, and none is given: add "
            '--seeds "[1, 2]".'
        )
    if seeds and not by_seed:
        raise UserError(
            f"seeds: no model has {SEED} in its folder, so all seeds would be the same: name the "
            f"models as runs/x-seed={SEED}/student, or leave --seeds out."
        )
    if len({*seeds}) < len(seeds):
        raise UserError(f"seeds: {list(seeds)} has one twice, which would count as two.")
    if allowed and not seeds:
        raise UserError(
            "allow_differences: nothing is asserted of models that are compared without --seeds, "
            "so there is nothing to allow: leave it out."
        )


def _alone(
    models: dict[str, str], data: Corpus, reference: str | None, control: str | None
) -> dict[str, Compared]:
    """Rows of single models."""
    opened = open_models(models, data)
    batches = validation_batches(data)
    with torch.no_grad():
        keepers = measured(opened, batches, opened[reference] if reference else None, data)
        speeds = speeds_of(opened, batches)
    losses = {name: by_window(own[1], batches, data.languages) for name, own in keepers.items()}
    return {
        name: Compared(
            sum(p.numel() for p in model.model.parameters()),
            sum(f.stat().st_size for f in Path(models[name]).glob("*.safetensors")),
            speeds[name],
            keepers[name][0].scores(data.languages),
            *(less_control(losses[name], losses[control]) if control not in (None, name) else ()),
        )
        for name, model in opened.items()
    }


def _chosen(role: str, name: str | None, usual: str, models: dict[str, str]) -> str | None:
    """The model of a role: the one named, or else the one of the usual name, if there is one."""
    if name is not None and name not in models:
        raise UserError(f"The {role} {name!r} is none of the models {', '.join(models)}.")
    return name or (usual if usual in models else None)


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
