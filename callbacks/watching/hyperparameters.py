"""The configuration of a run as flat hyper-parameters, by which loggers compare runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from lit_distill.measures import MetricSpec, metric_of

LEFT_OUT = ("trainer.logger", "trainer.callbacks", "trainer.plugins", "config")
"""How a run is watched and saved is no knob of it."""

Value = bool | int | float | str


def log_hyperparameters(
    trainer: Trainer, config_text: str, students: Sequence[str], metrics: Sequence[MetricSpec]
) -> None:
    """Tells every logger what a run was configured with; TensorBoard as its tab HPARAMS shows it.

    Args:
        trainer: of the run.
        config_text: the configuration, as YAML.
        students: names of what is trained.
        metrics: what may be measured, to be shown beside them; what is not stays empty.
    """
    values = flat(config_text)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # Lightning's own way would log a made-up value of every metric.
            keys = [f"val/{one.name}" for one in metrics if one.in_card and one.log_mean]
            names = [metric_of(key, name, students) for name in students for key in keys]
            for summary in hparams(values, dict.fromkeys(names, 0.0)):  # type: ignore[no-untyped-call]
                logger.experiment.file_writer.add_summary(summary)
        else:
            logger.log_hyperparams(values)


def flat(config_text: str) -> dict[str, Value]:
    """A configuration by dotted paths: classes by their names, `init_args` left out.

    Args:
        config_text: as YAML.
    """
    config: dict[str, Any] = yaml.safe_load(config_text) or {}
    return dict(_values(config, ()))


def _values(node: Any, above: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
    path = ".".join(above)
    if node is None or path in LEFT_OUT:
        return
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "class_path":
                yield path, str(value).rpartition(".")[2]
            else:
                yield from _values(value, above if key == "init_args" else (*above, str(key)))
    elif isinstance(node, list):
        yield path, json.dumps(node, ensure_ascii=False)
    else:
        yield path, node if isinstance(node, bool | int | float) else str(node)
