"""What methods share that train on text which a model writes while it trains."""

from __future__ import annotations

from typing import Any

from lit_distill.batch import PromptBatch, Reading
from lit_distill.counter_random import Purpose, key, uniform
from lit_distill.knobs import Seed
from lit_distill.losses import AccumulationWindow
from lit_distill.models import (
    Generated,
    Hears,
    LanguageModel,
    Sampling,
    check_room,
    ending_ids,
    prompts_without_response,
    with_missing_responses,
    with_written_responses,
    write,
)
from lit_distill.training.distillation import Distillation

KEY = "on_policy"
"""Where in a checkpoint lies, by method, what such a method remembers."""


class OnPolicy(Distillation):
    """A method whose `prepare` may replace responses of the data by text of student or teacher.

    A written text is a function of the writer's weights, the seed, the update and the text's
    `sample_id`: not of the number of ranks, of how a window is split, or of what was drawn before.
    Rows and counts are then those of the written text, so that losses and their normalisation see
    nothing of the response it replaces. Logs `train/eos_rate` (share of written texts that ended
    before `max_new_tokens`) and `train/written_tokens` (mean length).

    Args:
        sampling: how text is drawn.
        seed: of everything that is drawn.
        base: see `Distillation`.

    Attributes:
        endings: ids that end a text: the data's, the tokenizer's, the student's, the teachers'.
        partly_labelled: whether some prompts of the data have no response.
    """

    hears = Hears.LOGITS
    reads = (Reading.RESPONSES,)

    def __init__(self, sampling: Sampling, seed: Seed, **base: Any) -> None:
        super().__init__(**base)
        self.sampling, self.seed = sampling, seed
        self.endings: tuple[int, ...] = ()
        self.partly_labelled = False

    def configure_model(self) -> None:
        """Refuses models that cannot write, and prompts that leave no room for an answer."""
        super().configure_model()
        if not self.students or not self.trainer.training:
            return
        facts = self.data_facts
        known = set(facts.eos_ids)
        for name, model in {"student": self.student, **self.cast.teacher_models}.items():
            check_room(model, facts.longest_prompt, self.sampling, name)
            known.update(ending_ids(model, self.tokenizer))
        self.endings = tuple(sorted(known))
        self.partly_labelled = facts.partly_labelled

    def chance(self, number: int) -> float:
        """In (0, 1), the same on all ranks: decides what window `number` is made of."""
        return float(uniform(key(self.seed, Purpose.SOURCE, number))[0])

    def write(self, batches: list[PromptBatch], author: LanguageModel) -> list[Generated]:
        """Continues all prompts of a window's batches at once."""
        seed = int(key(self.seed, Purpose.SAMPLING, self.global_step)[0])
        return write(author, batches, self.sampling, seed, self.endings)

    def continue_prompts(
        self, batches: list[PromptBatch], author: LanguageModel
    ) -> list[PromptBatch]:
        """The window's batches with the author's text in the place of all responses."""
        written = self.write(batches, author)
        return [
            with_written_responses(*pair, self.student)
            for pair in zip(batches, written, strict=True)
        ]

    def complete(self, batches: list[PromptBatch]) -> list[PromptBatch]:
        """The window's batches with the data's responses; where there are none, the student's text.

        The student's text has no targets: nobody learns hard targets from himself.
        """
        if not self.partly_labelled:  # the same on all ranks, which gather weights together
            return batches
        written = self.write([prompts_without_response(one) for one in batches], self.student)
        pairs = zip(batches, written, strict=True)
        return [with_missing_responses(*pair, self.student, right=False) for pair in pairs]

    def window_figures(self, window: AccumulationWindow) -> dict[str, float]:
        """The share of written texts that ended, and their mean length."""
        written = float(window.totals.get("written", 0))
        shares = {"eos_rate": "ended", "written_tokens": "written_tokens"}
        if written == 0:
            return {}
        return {name: float(window.totals[count]) / written for name, count in shares.items()}

    # -- what survives a resume -----------------------------------------------------------------

    def method_state(self) -> dict[str, Any]:
        """Tensors and plain values that a resumed run needs; called on all ranks."""
        return {}

    def load_method_state(self, memory: dict[str, Any]) -> None:
        """Takes back what `method_state` gave."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the method remembers."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[KEY] = {type(self).__name__: self.method_state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes it back where training goes on."""
        super().on_load_checkpoint(checkpoint)
        memory = checkpoint.get(KEY, {}).get(type(self).__name__)
        if self.trainer.training and memory is not None:
            self.load_method_state(memory)
