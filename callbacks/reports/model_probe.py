"""Probes of the models of a run, at its validations."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.probing import Asked, Metrics, ModelProbe
from lit_distill.measures.probing.asked import plain_engine
from lit_distill.models import LanguageModel
from lit_distill.training.distillation import Distillation


class ProbeReport(Callback):
    """Asks students and teachers what a probe asks, and logs the answers beside each other.

    Scalars: `val/<name>/<number>` of the single student, `val/<student>/<name>/<number>` of one of
    several, and `val/<teacher>/<name>/<number>` of every teacher, who is asked once. It runs
    models, on every rank alike: a probe of a hundred short prompts takes as long as a few batches.
    All of them read by the data's tokenizer.

    Args:
        probe: what is asked, such as `MaskedPronouns`; its own classes name it in a config.
        name: of the probe, in the names of scalars.
        every: ask at the first of so many validations of a training run; `validate` and `test`
            always do.
    """

    def __init__(self, probe: ModelProbe, name: str = "probe", every: Count = 1) -> None:
        check_knobs(ProbeReport, locals())
        self.probe, self.name, self.every = probe, name, every
        self._validations = 0
        self._teachers: dict[str, Metrics] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks once before the first step, so that what cannot be asked ends no run.

        Raises:
            UserError: a model cannot be asked so.
        """
        self._ask(trainer, Distillation.of(pl_module))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks and logs, where it is due; nothing while the Trainer only tries validation out."""
        if trainer.sanity_checking:
            return
        if trainer.state.fn == "fit":
            self._validations += 1
            if (self._validations - 1) % self.every:
                return
        module, stage = Distillation.of(pl_module), "test" if trainer.testing else "val"
        students, teachers = self._ask(trainer, module)
        for role, found in (students | teachers).items():
            alone = role in students and len(students) == 1
            prefix = "/".join([stage, *([] if alone else [role]), self.name])
            values = {f"{prefix}/{number}": value for number, value in found.items()}
            module.log_dict(values, sync_dist=True, rank_zero_only=True)

    on_test_epoch_end = on_validation_epoch_end

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were, so that a resumed run keeps the rhythm."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the number over."""
        self._validations = state_dict["validations"]

    def _ask(
        self, trainer: Trainer, module: Distillation
    ) -> tuple[dict[str, Metrics], dict[str, Metrics]]:
        """Answers of students and of teachers, by name."""
        tokenizer = module.data_facts.tokenizer
        if tokenizer is None:
            raise UserError("ProbeReport reads by the data's tokenizer, and the data has none.")
        engine = plain_engine(tokenizer)

        def answers(models: dict[str, LanguageModel]) -> dict[str, Metrics]:
            asked = (Asked(name, model, tokenizer, engine) for name, model in models.items())
            return {one.name: self._of(one) for one in asked}

        with trainer.precision_plugin.forward_context():
            students = answers(module.cast.student_models)
            if self._teachers is None:
                self._teachers = answers(module.cast.answering_teachers)
        return students, self._teachers

    def _of(self, asked: Asked) -> Metrics:
        """A model's answers, without dropout; its modules are left as they were."""
        training = [module for module in asked.model.modules() if module.training]
        asked.model.eval()
        try:
            return self.probe.of(asked)
        finally:
            for module in training:  # alone: `train` would reach what is in it too
                module.training = True
