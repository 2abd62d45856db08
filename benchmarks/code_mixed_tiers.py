"""Held-out loss on real code-mixed text after tier 2, with intervals and a curve.

Of the runs of configs/recipes/code_mixed_tiers.yaml:

    python benchmarks/code_mixed_tiers.py --config configs/data/code_mixed_tiers.yaml \
      --data.data_dir FOLDER --data.tokenizer START --start START \
      --runs runs/code_mixed_tiers --output OUTPUT

Loss is per masked piece, on all held-out texts with the one fixed mask. Intervals are of 95 %:
a thousand times, texts are drawn with replacement, the same for all models; seeds are averaged.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import data_modules as data_modules
from data_modules import Corpus
from lit_distill.batch import Batch
from lit_distill.cli.errors import OneLineErrors
from lit_distill.models import LanguageModel, TeacherSpec

ARMS = {"made": "made code-mixed", "real": "real code-mixed", "mono": "more monolingual"}
COLOURS = {"made": "#d1495b", "real": "#2e8b57", "mono": "#1f5fa8"}
MIXES = ("bn-en", "hi-en")
DRAWS = 1000

Sums = NDArray[np.float64]


def per_text(model: LanguageModel, batches: list[Batch]) -> Sums:
    """Loss and masked pieces (2, texts)."""
    parts = []
    for batch in batches:
        text = batch["rows"] // batch["input_ids"].shape[1]
        logits = model.logits(model.encode(batch).rows(batch["rows"]))
        loss = torch.nn.functional.cross_entropy(logits, batch["targets"], reduction="none")
        zeros = torch.zeros(2, len(batch["language"]), dtype=torch.float64)
        columns = torch.stack([loss.double(), torch.ones_like(loss).double()])
        parts.append(zeros.index_add(1, text, columns))
    return torch.cat(parts, 1).numpy()


def measure(data: Corpus, start: str, runs: str, output: str) -> None:
    """Prints the table and writes tiers.json and tiers.png."""
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.validation_windows = 1_000_000
    data.prepare_data()
    data.setup("validate")
    loaders = dict(zip(data.languages, data.val_dataloader(), strict=True))
    batches = {mix: list(loaders[mix]) for mix in MIXES}
    folders = {"start": [start]} | {arm: _students(Path(runs), arm) for arm in ARMS}
    sums: dict[str, dict[str, list[Sums]]] = {mix: {} for mix in MIXES}
    with torch.no_grad():
        for arm, paths in folders.items():
            for path in paths:
                model = TeacherSpec(path).build()
                for mix in MIXES:
                    sums[mix].setdefault(arm, []).append(per_text(model, batches[mix]))
    table = {
        mix: {arm: _row(arm, own, sums[mix]) for arm, own in sums[mix].items()} for mix in MIXES
    }
    for mix, rows in table.items():
        print(f"\n| {mix} | loss | each seed | less than more monolingual |\n|---|---:|---:|---:|")
        for arm, row in rows.items():
            print(f"| {ARMS.get(arm, arm)} | {row['loss']} | {row['seeds']} | {row['gain']} |")
    Path(output).mkdir(parents=True, exist_ok=True)
    (Path(output) / "tiers.json").write_text(json.dumps(table, indent=1))
    _curve(Path(runs)).savefig(Path(output) / "tiers.png")


def _students(runs: Path, arm: str) -> list[str]:
    """The last student of every seed."""
    found = []
    for run in sorted(runs.glob(f"*{arm}-*")):
        students = [run / name for name in ("student-last", "student")]
        found += [str(path) for path in students if path.is_dir()][:1]
    return found


def _row(arm: str, own: list[Sums], all_arms: dict[str, list[Sums]]) -> dict[str, str]:
    draw = np.random.default_rng(0)
    size = own[0].shape[1]
    chosen = [draw.integers(0, size, size) for _ in range(DRAWS)]

    def mean(arms: list[Sums], texts: NDArray[np.int64] | slice) -> float:
        return float(np.mean([one[0, texts].sum() / one[1, texts].sum() for one in arms]))

    whole = slice(None)
    low, high = np.percentile([mean(own, texts) for texts in chosen], [2.5, 97.5])
    row = {
        "loss": f"{mean(own, whole):.3f} [{low:.3f}, {high:.3f}]",
        "seeds": ", ".join(f"{mean([one], whole):.3f}" for one in own),
        "gain": "",
    }
    if "mono" in all_arms and arm not in ("mono", "start"):
        mono = all_arms["mono"]
        low, high = np.percentile([mean(mono, t) - mean(own, t) for t in chosen], [2.5, 97.5])
        row["gain"] = f"{mean(mono, whole) - mean(own, whole):.3f} [{low:.3f}, {high:.3f}]"
    return row


def _curve(runs: Path) -> Figure:
    """Loss on each mix over the updates of tier 2, a line per run."""
    figure = Figure(figsize=(9.0, 3.6), dpi=100, layout="constrained")
    for axis, mix in zip(figure.subplots(1, len(MIXES)), MIXES, strict=True):
        for arm, title in ARMS.items():
            for number, folder in enumerate(sorted(runs.glob(f"*{arm}-*"))):
                events = EventAccumulator(str(folder / "tensorboard"))
                events.Reload()
                points = events.Scalars(f"val/{mix}/loss")
                label = title if number == 0 else None
                steps, losses = [p.step + 1 for p in points], [p.value for p in points]
                axis.plot(steps, losses, "o-", color=COLOURS[arm], label=label)
        axis.set_title(f"{mix}, real, held out: loss, nats", fontsize=10)
        axis.set_xlabel("updates of tier 2", fontsize=8)
        axis.grid(color="#eeeeee")
        axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    return figure


if __name__ == "__main__":
    parser = OneLineErrors(prog="code_mixed_tiers")
    parser.add_function_arguments(measure, as_group=False)
    parsed = parser.instantiate(parser.parse_args())
    del parsed["config"]
    measure(**parsed)
