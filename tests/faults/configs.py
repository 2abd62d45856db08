"""Configurations of the runs that are harmed: every method, on tiny models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipped_methods import OURS

CLASSES = {
    shipped.node["class_path"]: name for name, shipped in OURS.items() if not shipped.reads_labels
}
"""Names of shipped configs by the class of their method; the runs harmed are of plain text."""
UPDATES = 12
VALIDATED_EVERY = 3
SAVED_EVERY = {"DistiLLM": 3}
"""Updates between saves, by method; where validations are, so that one may follow a save."""
SAVED_ELSEWHERE = 2
RISING = {
    "threshold": 0.5,
    "increase": 0.5,
    "tolerance": 0.0,
    "capacity": 8,
    "schedule": {"class_path": "Constant", "init_args": {"warmup": 0.9}},
}
"""With a high learning rate: DistiLLM's threshold rises after update 6, and its best is at 9."""


@dataclass(frozen=True)
class Places:
    """Folders that configurations name.

    Attributes:
        models: tiny teachers with their tokenizers, by family.
        text: `<language>.txt`.
        prompts: `<language>.jsonl`.
        cache: of corpora.
    """

    models: dict[str, Path]
    text: Path
    prompts: Path
    cache: Path


def settings(method: str, workers: int, ranks: int, places: Places) -> dict[str, Any]:
    """Two epochs of six updates of two micro-batches; validations inside and at their ends."""
    accumulate = 2 // ranks
    every = SAVED_EVERY.get(method, SAVED_ELSEWHERE)
    checkpoint = {"every_n_updates": every, "every_n_minutes": 0}
    board = {"save_dir": "{run_dir}", "name": "", "version": "tensorboard"}
    trainer = {
        "accelerator": "cpu",
        "devices": ranks,
        "strategy": "ddp" if ranks > 1 else "auto",
        "max_epochs": 2,
        "accumulate_grad_batches": accumulate,
        "val_check_interval": VALIDATED_EVERY * accumulate,
        "gradient_clip_val": 1.0,
        "logger": {"class_path": "TensorBoardLogger", "init_args": board},
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "plugins": ["AtomicCheckpointIO"],
        "callbacks": [
            "RngState",
            "ExportStudent",
            "callbacks.watching.non_finite.NonFiniteLoss",
            {"class_path": "RunCheckpoint", "init_args": checkpoint},
        ],
    }
    name = CLASSES[method]
    teacher = places.models[OURS[name].families[0]]
    return {
        "model": {"class_path": method, "init_args": _model(method, teacher)},
        "data": _data(name, workers, places),
        "trainer": trainer,
        "tokenizer": str(teacher),
    }


def _model(method: str, teacher: Path) -> dict[str, Any]:
    name = CLASSES[method]
    shipped = OURS[name]
    own = {**shipped.node.get("init_args", {}), **shipped.knobs}
    optimizer = {"fused": method == "TripleLoss"}
    if method == "DistiLLM":
        own |= RISING
        optimizer["lr"] = 0.5
    if shipped.students:
        own["students"] = {
            student: {"class_path": "LayerCopyStudent", "init_args": {"num_layers": layers}}
            for student, layers in shipped.students.items()
        }
    return {
        **own,
        "teacher": {"name": str(teacher)},
        "dropout": 0.1,
        "optimizer": {"class_path": "AdamW", "init_args": optimizer},
    }


def _data(name: str, workers: int, places: Places) -> dict[str, Any]:
    shared = {
        "cache_dir": str(places.cache),
        "batch_tokens": 128,
        "updates_per_epoch": UPDATES // 2,
        "holdout": 5,
        "validation_windows": 8,
        "num_workers": workers,
    }
    if OURS[name].reads_prompts:
        own = {
            "sources": [{"files": "{language}.jsonl"}],
            "data_dir": str(places.prompts),
            "max_length": 24,
            "response_room": 6,
        }
        return {"class_path": "PromptCorpus", "init_args": {**shared, **own}}
    own = {"sources": [{"files": "{language}.txt"}], "data_dir": str(places.text), "max_length": 16}
    plain = OURS[name].reads_plain
    if plain or "bert" not in OURS[name].families:
        own["objective"] = {"class_path": "NoTargets" if plain else "NextToken"}
    return {"class_path": "MultilingualCorpus", "init_args": {**shared, **own}}
