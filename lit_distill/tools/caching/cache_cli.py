"""`cache-teacher`: a config as `fit` takes it, and what of its teacher is to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from lightning.pytorch.cli import LightningArgumentParser

from data_modules import Corpus
from lit_distill.cli.training import DistillCLI
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.methods import FineTune
from lit_distill.tools.caching.cache_teacher import CacheOptions, cache_teacher


def run(args: Sequence[str]) -> None:
    """Runs `cache-teacher`.

    Args:
        args: its options.

    Raises:
        UserError: something the user gave cannot work.
    """
    CacheCLI("cache-teacher", args).run()


class CacheCLI(DistillCLI):
    """Takes teacher, text, masks and device from the configuration of a training run."""

    sections: ClassVar[dict[str, type]] = {**DistillCLI.sections, "cache": CacheOptions}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options of `fit`, and those of the cache."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--output", type=str, required=True, help="Folder of the cache.")
        parser.add_class_arguments(CacheOptions, "cache")

    def run(self) -> None:
        """Writes the cache; the student is not built."""
        cast = self.model.cast
        cast.read_alike(DataFacts(self.datamodule).teacher_tokenizer is not None)
        specs = cast.teacher_specs
        if not specs:
            raise UserError(
                "There is no teacher to cache: set model.init_args.teacher.name to a model name or "
                "folder."
            )
        if len(specs) > 1:
            raise UserError(
                "A cache holds what one teacher says, and model.ensemble names more: leave it out."
            )
        if not isinstance(self.datamodule, Corpus):
            raise UserError(
                f"{type(self.datamodule).__name__} is no corpus of `data_modules`, and only their "
                "texts are the same in every run: use one of them."
            )
        options: CacheOptions = self.config_init["cache"]
        if options.temperature is None:
            options = replace(options, temperature=self._temperature())
        device = self.trainer.strategy.root_device
        cache_teacher(self.config["output"], specs["teacher"], self.datamodule, options, device)

    def _temperature(self) -> float:
        """That of the method, or of all of its soft targets.

        Raises:
            UserError: they have several.
        """
        init_args = self.config["model"].get("init_args") or {}
        soft = self.model.soft if isinstance(self.model, FineTune) else {}
        found = {name: float(getattr(one.loss, "temperature", 1)) for name, one in soft.items()}
        if len({*found.values()}) > 1:
            named = ", ".join(f"{name} {temperature:g}" for name, temperature in found.items())
            raise UserError(
                f"A cache has one temperature, and the soft targets have several ({named}): give "
                "them one, or name that of the cache (--cache.temperature)."
            )
        return next(iter(found.values()), float(init_args.get("temperature") or 1.0))
