"""What students and teachers write behind a fixed set of prompts, shared by all who look at it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_distill.batch import PromptBatch, read_ids
from lit_distill.knobs import Count, Seed, check_knobs
from lit_distill.models import LanguageModel, Sampling, ending_ids, generate
from lit_distill.models.generation.generation import check_room
from lit_distill.training.distillation import Distillation

GREEDY = Sampling(max_new_tokens=64, temperature=0.0)


@dataclass(frozen=True)
class Written:
    """What one model wrote behind a prompt.

    Attributes:
        text: without special tokens and outer spaces.
        tokens: ids, the ending token included.
        ended: whether it ended by itself; False where `max_new_tokens` cut it.
    """

    text: str
    tokens: list[int]
    ended: bool


@dataclass(frozen=True)
class Continued:
    """A prompt and everything that was written behind it.

    Attributes:
        language: its name.
        sample_id: the same in every run on the same text.
        prompt: without special tokens.
        reference: the response that was wanted; None: none is known.
        students: what each student wrote, by name.
        teachers: what each teacher wrote, by name.
        answer: what a teacher answered before, if the data says so.
    """

    language: str
    sample_id: int
    prompt: str
    reference: str | None
    students: dict[str, Written]
    teachers: dict[str, Written]
    answer: str | None = None

    @property
    def answers(self) -> dict[str, str]:
        """What students are compared with beside the reference, by teacher."""
        if self.teachers:
            return {name: own.text for name, own in self.teachers.items()}
        return {} if self.answer is None else {"teacher": self.answer}


class GenerationReport(Callback):
    """Lets the models continue validation prompts, the same ones every time; a subclass reports.

    All prompts of all languages are continued together, on every rank alike. Reports with equal
    settings share what is written; a teacher's is written once. Corpora without prompts, and the
    Trainer trying validation out, are passed over.

    Args:
        sampling: how text is drawn; by default greedily, 64 tokens.
        max_prompts: of each language, at most.
        every: report at the first of so many validations of a training run; `validate` and `test`
            always do.
        seed: of the choice of prompts, and of the draws.
    """

    def __init__(
        self,
        sampling: Sampling = GREEDY,
        max_prompts: Count = 32,
        every: Count = 1,
        seed: Seed = 0,
    ) -> None:
        check_knobs(GenerationReport, locals())
        self.sampling, self.max_prompts, self.every, self.seed = sampling, max_prompts, every, seed
        self._validations = 0
        self._continued: list[Continued] | None = None
        self._teachers: dict[str, dict[str, list[Written]]] = {}

    @abstractmethod
    def report(
        self, trainer: Trainer, module: Distillation, continued: list[Continued], stage: str
    ) -> None:
        """Shows what was written; called on every rank."""

    @property
    def settings(self) -> tuple[Any, ...]:
        """What decides on what is written, and when."""
        return self.sampling, self.max_prompts, self.every, self.seed

    # -- when -----------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks before any step that the models can write so much.

        Raises:
            UserError: they cannot.
        """
        module = Distillation.of(pl_module)
        batch = self._prompts(module, "validation")
        if batch is not None:
            width, models = batch["prompt_ids"].shape[1], module.cast
            for name, model in (*models.student_models.items(), *models.answering_teachers.items()):
                check_room(model, width, self.sampling, name)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets what was written before."""
        self._continued = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports, where it is due."""
        if trainer.sanity_checking:
            return
        if trainer.state.fn == "fit":
            self._validations += 1
            if (self._validations - 1) % self.every:
                return
        module, stage = Distillation.of(pl_module), "test" if trainer.testing else "val"
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        reports = [each for each in callbacks if isinstance(each, GenerationReport)]
        writer = next(each for each in reports if each.settings == self.settings)
        continued = writer.continued(trainer, module)
        if continued:
            self.report(trainer, module, continued, stage)

    on_test_epoch_start = on_validation_epoch_start
    on_test_epoch_end = on_validation_epoch_end

    def state_dict(self) -> dict[str, Any]:
        """How many validations there were, so that a resumed run keeps the rhythm."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the number over."""
        self._validations = state_dict["validations"]

    # -- what -----------------------------------------------------------------------------------

    def continued(self, trainer: Trainer, module: Distillation) -> list[Continued]:
        """Everything that is written in this validation; empty without prompts."""
        if self._continued is None:
            split: Literal["validation", "test"] = "test" if trainer.testing else "validation"
            batch = self._prompts(module, split)
            self._continued = [] if batch is None else self._write(trainer, module, batch, split)
        return self._continued

    def _prompts(self, module: Distillation, split: str) -> PromptBatch | None:
        sample = module.data_facts.sample_prompts
        return None if sample is None else sample(split, self.max_prompts, self.seed)

    def _write(
        self, trainer: Trainer, module: Distillation, batch: PromptBatch, split: str
    ) -> list[Continued]:
        with trainer.precision_plugin.forward_context():
            students = {
                name: self._by_model(module, model, batch)
                for name, model in module.cast.student_models.items()
            }
            if split not in self._teachers:
                self._teachers[split] = {
                    name: self._by_model(module, model, batch)
                    for name, model in module.cast.answering_teachers.items()
                }
        teachers, tokenizer = self._teachers[split], module.data.tokenizer
        targets = _by_text(batch)
        answers = module.data.teacher_answers(split)
        return [
            Continued(
                module.data_facts.languages[language],
                sample_id,
                _text(tokenizer, prompt[mask.bool()].tolist()),
                _text(tokenizer, targets[place]) if label else None,
                {name: written[place] for name, written in students.items()},
                {name: written[place] for name, written in teachers.items()},
                answers[sample_id],
            )
            for place, (language, sample_id, prompt, mask, label) in enumerate(
                zip(
                    batch["language"].tolist(),
                    batch["sample_id"].tolist(),
                    batch["prompt_ids"],
                    batch["prompt_mask"],
                    batch["labelled"].tolist(),
                    strict=True,
                )
            )
        ]

    def _by_model(
        self, module: Distillation, model: LanguageModel, batch: PromptBatch
    ) -> list[Written]:
        tokenizer = module.data.tokenizer
        starts = batch.get("target_starts")
        made = generate(
            model,
            batch["prompt_ids"].to(module.device),
            batch["prompt_mask"].to(module.device),
            self.sampling,
            self.seed,
            batch["sample_id"],
            sorted({*ending_ids(model, tokenizer), *module.data_facts.eos_ids}),
            None if starts is None else starts.to(module.device),
        )
        rows = zip(made.tokens.tolist(), made.lengths.tolist(), made.ended.tolist(), strict=True)
        return [
            Written(_text(tokenizer, ids[:length]), ids[:length], ended)
            for ids, length, ended in rows
        ]


def _by_text(batch: PromptBatch) -> list[list[int]]:
    """The target tokens of every text of a batch."""
    width = read_ids(batch).shape[1]
    found: list[list[int]] = [[] for _ in batch["language"]]
    for row, target in zip(batch["rows"].tolist(), batch["targets"].tolist(), strict=True):
        found[row // width].append(target)
    return found


def _text(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
