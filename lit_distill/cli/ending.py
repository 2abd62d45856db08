"""What a fit says at its end: where the students are, and what can be done next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer

from callbacks import ExportStudent
from lit_distill.measures import metric_of
from lit_distill.models import anatomy_of
from lit_distill.training.distillation import Distillation


def ending(trainer: Trainer, module: Distillation) -> str:
    """The lines.

    Args:
        trainer: after its fit.
        module: that it trained.
    """
    root = Path(trainer.default_root_dir)
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return "No student was exported and nothing saved: fast_dev_run only tries."
    exporters = [c for c in trainer.callbacks if isinstance(c, ExportStudent)]  # type: ignore[attr-defined]
    if not exporters:
        saved = any((root / "checkpoints").glob("*.ckpt"))
        how = (
            f"To write it: python -m lit_distill export {shlex.quote(str(root))}"
            if saved
            else "Nothing was saved: --trainer.enable_checkpointing false."
        )
        return f"No student was exported (--export_student false). {how}"
    lines: list[str] = []
    for name in module.students:
        lines += _student(root, name, len(module.students) > 1, exporters[0], module)
    return "\n".join(lines)


def _student(
    root: Path, name: str, several: bool, exporter: ExportStudent, module: Distillation
) -> Iterator[str]:
    best, last = (
        root / kind / name if several else root / kind for kind in ("student", "student-last")
    )
    who = f"student {name}" if several else "student"
    if not (best / "config.json").is_file():
        yield f"No {who} is in {best}."
        return
    metric = metric_of(exporter.monitor, name, module.students)
    if (found := exporter.best_of(name)) is None:
        yield f"The last {who} is in {best}; none is the best, because nothing gave {metric}."
    else:
        value, updates = found
        yield f"The best {who}, {metric} {value:.4g} after {updates} updates, is in {best},"
        yield f"the last one in {last}. To load and to measure it:"
    yield f"  transformers.{_loader(best)}.from_pretrained({str(best)!r})"
    checkpoint = f"best-{name}" if several else "best"
    if found and (root / "checkpoints" / f"{checkpoint}.ckpt").exists():
        config = shlex.quote(str(root / "config.yaml"))
        yield f"  python -m lit_distill validate --config {config} --ckpt_path {checkpoint}"


def _loader(folder: Path) -> str:
    """The class of Transformers that loads it."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return anatomy_of(config["architectures"][0]).auto_class
