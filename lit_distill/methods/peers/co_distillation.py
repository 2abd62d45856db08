"""CTCD: a large and a small model trained together (Lee et al., 2023)."""

from __future__ import annotations

import math
from typing import Any

from lit_distill.errors import UserError
from lit_distill.knobs import Temperature, check_knobs
from lit_distill.losses import ForwardKL, Weight
from lit_distill.measures import Measurement
from lit_distill.methods.peers._peer_method import PeerMethod, PeerTerm


class CoDistillation(PeerMethod):
    """A large and a small model learn the same text and, at the same time, each other's opinion.

        L = CE(q_large, target) + alpha_large T_large^2 KL(sg[q_small] || q_large)
          + CE(q_small, target) + alpha_small T_small^2 KL(sg[q_large] || q_small)

    Means over the rows with a target: masked tokens of encoders, tokens with a next one of
    decoders. sg[.] is constant: nobody is pulled towards who learns from him. In a direction both
    distributions are taken at its temperature.

    Needs: `students` named large and small, of one vocabulary; widths, depths, initial weights and
    architectures are free. A teacher, if given, only carves and is compared with.
    Data: `MaskedTokens` for encoders, `NextToken` for decoders.
    Relations: alpha_large = alpha_small = 0 is two independent runs of `MaskedLM` or `CausalLM`,
    bit for bit; `MutualLearning` for more than two.

    Args:
        temperature_large: T of what the large model learns, > 0 (replication: 2).
        temperature_small: T of what the small model learns (2).
        alpha_large: weight of what the large model learns of the small one (1; a `Ramp` starts
            while partners still know nothing).
        alpha_small: weight of what the small model learns of the large one (1).
        wait_for_chance: no weight before a validation has found both better than guessing
            evenly (loss below log V, mean over languages).
        base: see `Distillation`.

    Source: https://arxiv.org/abs/2311.02849, section 3. The authors published no code; T and
    weights from leovianaf/project-co-training-co-distillation, a replication.
    """

    def __init__(
        self,
        temperature_large: Temperature = 2.0,
        temperature_small: Temperature = 2.0,
        alpha_large: Weight = 1.0,
        alpha_small: Weight = 1.0,
        wait_for_chance: bool = False,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(CoDistillation, locals())
        if set(self.cast.student_specs) != {"large", "small"}:
            raise UserError(
                "CoDistillation trains two students, named large and small; model.students has "
                f"{', '.join(self.cast.streams) or 'none'}."
            )
        self._peer_terms = {
            "large": PeerTerm(ForwardKL(temperature_large), alpha_large),
            "small": PeerTerm(ForwardKL(temperature_small), alpha_small),
        }
        self.waiting = wait_for_chance

    def peer_terms(self) -> dict[str, PeerTerm]:
        """See `PeerMethod`."""
        if self.waiting:
            return {name: PeerTerm(own.divergence, 0.0) for name, own in self._peer_terms.items()}
        return self._peer_terms

    def on_validated(self, measurements: dict[str, Measurement]) -> None:
        """Gives divergences their weights, for good, once both models are better than chance."""
        if self.waiting:
            means = [own.mean.get("loss") for own in measurements.values()]
            model = self.cast.student_models["small"]
            chance = math.log(model.size or model.outputs)
            self.waiting = not all(mean is not None and mean < chance for mean in means)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds whether the divergences are still without weight."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["waiting"] = self.waiting

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with the weights if they had begun."""
        super().on_load_checkpoint(checkpoint)
        self.waiting = self.waiting and checkpoint["waiting"]
