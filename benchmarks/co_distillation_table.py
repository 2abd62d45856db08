"""Whether models that learn from each other are better: differences with intervals, and curves.

Of the runs of configs/recipes/co_distillation_table.yaml:

    python benchmarks/co_distillation_table.py --config configs/data/eight_languages_folder.yaml \
      --data.data_dir FOLDER --data.objective NextToken --runs runs/co_distillation_table \
      --data.tokenizer runs/co_distillation_table/tokenizer --output OUTPUT

Loss is per target on all held-out windows, after the last update; means over languages count each
the same. Intervals are of 95 %: a thousand times, windows are drawn with replacement within each
language, the same for all models; seeds are averaged.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from code_mixed_tiers import Sums, per_text
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data_modules as data_modules
from data_modules import Corpus
from lit_distill.cli.errors import OneLineErrors
from lit_distill.models import TeacherSpec

SEEDS = (1, 2)
ARMS = {
    "large alone": ("large-alone", "", "val/loss"),
    "small alone": ("small-alone", "", "val/loss"),
    "small, one-way": ("one-way", "", "val/loss"),
    "large, together": ("together", "large", "val/large/loss"),
    "small, together": ("together", "small", "val/small/loss"),
}
"""Run, student, and metric of each."""
GAINS = [
    ("the large one gains from the small one", "large alone", "large, together"),
    ("the small one together beats the large one alone", "large alone", "small, together"),
    ("the small one gains from the large one", "small alone", "small, together"),
    ("together beats one-way, for the small one", "small, one-way", "small, together"),
    ("one-way beats alone, for the small one", "small alone", "small, one-way"),
]
COLOURS = ("#1f5fa8", "#d1495b", "#e9a03b", "#5fa8d3", "#2e8b57")
DRAWS = 1000

Losses = dict[str, Sums]
"""By language, loss and targets (2, windows)."""


def measure(data: Corpus, runs: str, output: str) -> None:
    """Prints the tables and writes table.json and curves.png."""
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.validation_windows = 1_000_000
    data.prepare_data()
    data.setup("validate")
    batches = {
        language: list(loader)
        for language, loader in zip(data.languages, data.val_dataloader(), strict=True)
    }
    found: dict[str, list[Losses]] = {}
    with torch.no_grad():
        for arm, (run, student, _) in ARMS.items():
            for seed in SEEDS:
                model = TeacherSpec(str(_run(runs, run, seed) / "student-last" / student)).build()
                losses = {name: per_text(model, own) for name, own in batches.items()}
                found.setdefault(arm, []).append(losses)
    table = {
        arm: [{language: _mean(one[language]) for language in batches} for one in own]
        for arm, own in found.items()
    }
    _print(table, found)
    Path(output).mkdir(parents=True, exist_ok=True)
    (Path(output) / "table.json").write_text(json.dumps(table, indent=1))
    _curves(runs).savefig(Path(output) / "curves.png")


def _run(runs: str, name: str, seed: int) -> Path:
    return Path(runs) / f"{name}-seed={seed}"


def _mean(sums: Sums, windows: NDArray[np.int64] | slice = slice(None)) -> float:
    return float(sums[0, windows].sum() / sums[1, windows].sum())


def _print(table: dict[str, list[dict[str, float]]], found: dict[str, list[Losses]]) -> None:
    languages = list(table["large alone"][0])
    print(f"| | {' | '.join(ARMS)} |\n|---|{'---:|' * len(ARMS)}")
    for language in languages:
        cells = [f"{np.mean([seed[language] for seed in table[arm]]):.3f}" for arm in ARMS]
        print(f"| {language} | {' | '.join(cells)} |")
    means = {
        arm: [float(np.mean([seed[one] for one in languages])) for seed in own]
        for arm, own in table.items()
    }
    cells = [
        f"{np.mean(means[arm]):.3f} ({', '.join(f'{m:.3f}' for m in means[arm])})" for arm in ARMS
    ]
    print(f"| mean (each seed) | {' | '.join(cells)} |\n")
    print("| claim | gain, nats | each seed |\n|---|---:|---:|")
    draw = np.random.default_rng(0)
    sizes = {one: found["large alone"][0][one].shape[1] for one in languages}
    chosen = [
        {one: draw.integers(0, size, size) for one, size in sizes.items()} for _ in range(DRAWS)
    ]
    for claim, worse, better in GAINS:
        drawn = [_gain(found[worse], found[better], windows) for windows in chosen]
        low, high = np.percentile(drawn, [2.5, 97.5])
        seeds = [a - b for a, b in zip(means[worse], means[better], strict=True)]
        listed = ", ".join(f"{gain:+.3f}" for gain in seeds)
        print(f"| {claim} | {np.mean(seeds):+.3f} [{low:+.3f}, {high:+.3f}] | {listed} |")


def _gain(
    worse: list[Losses], better: list[Losses], windows: dict[str, NDArray[np.int64]]
) -> float:
    gains = [
        _mean(a[one], drawn) - _mean(b[one], drawn)
        for a, b in zip(worse, better, strict=True)
        for one, drawn in windows.items()
    ]
    return float(np.mean(gains))


def _curves(runs: str) -> Figure:
    """Mean held-out loss over the updates, a picture per seed."""
    figure = Figure(figsize=(9.0, 3.6), dpi=100, layout="constrained")
    for axis, seed in zip(figure.subplots(1, len(SEEDS), sharey=True), SEEDS, strict=True):
        for colour, (arm, (run, _, metric)) in zip(COLOURS, ARMS.items(), strict=True):
            events = EventAccumulator(str(_run(runs, run, seed) / "tensorboard"))
            events.Reload()
            points = events.Scalars(metric)
            steps, losses = [p.step + 1 for p in points], [p.value for p in points]
            axis.plot(steps, losses, "o-", markersize=3, color=colour, label=arm)
        axis.set_title(f"held-out loss, nats, seed {seed}", fontsize=10)
        axis.set_xlabel("updates", fontsize=8)
        axis.grid(color="#eeeeee")
        axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    return figure


if __name__ == "__main__":
    parser = OneLineErrors(prog="co_distillation_table")
    parser.add_function_arguments(measure, as_group=False)
    parsed = parser.instantiate(parser.parse_args())
    del parsed["config"]
    measure(**parsed)
