"""Deep mutual learning: peers that teach each other (Zhang et al., 2018)."""

from __future__ import annotations

import copy
from typing import Any

import torch

from lit_distill.errors import UserError
from lit_distill.knobs import Between, Temperature, check_knobs
from lit_distill.losses import ForwardKL, Weight
from lit_distill.methods.peers._peer_method import PeerMethod, PeerTerm

AVERAGE = "average"


class MutualLearning(PeerMethod):
    """K peers learn the same text and what the others say about it.

        L = sum over k of  CE(q_k, target) + alpha / (K - 1) sum over j != k of KL(sg[q_j] || q_k)

    or, with to_mean, the KL from the mean of the others' distributions; at a temperature T of both,
    and times T^2. sg[.] is constant. Means over the rows with a target: masked tokens of encoders,
    tokens with a next one of decoders. All are updated at once; the paper's peers take turns.

    One student learns from an average of itself (self-distillation): weights that follow its own,
    m -> decay m + (1 - decay) w after each update. The average hears nobody, has no dropout, and is
    measured, saved and exported as a second student, `average`.

    Needs: two or more `students` of one vocabulary, or one and a decay; widths, depths, initial
    weights and architectures are free. A teacher, if given, only carves and is compared with.
    Data: `MaskedTokens` for encoders, `NextToken` for decoders.
    Relations: alpha = 0 is K independent runs of `MaskedLM` or `CausalLM`, bit for bit;
    `CoDistillation` is K = 2 with weights and temperatures of their own.

    Args:
        temperature: T of all distributions, > 0 (paper: 1).
        alpha: weight of the divergence, or a `Ramp` (paper: 1).
        to_mean: learn from the mean of the others, not from each (paper: worse of the two).
        decay: of the average, in (0, 1); None: there is none.
        base: see `Distillation`.

    Source: https://arxiv.org/abs/1706.00384, section 3 (the mean of the others: its discussion of
    larger cohorts); averages of weights as a peer: https://arxiv.org/abs/1703.01780.
    """

    def __init__(
        self,
        temperature: Temperature = 1.0,
        alpha: Weight = 1.0,
        to_mean: bool = False,
        decay: Between | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(MutualLearning, locals())
        given = self.cast.student_specs
        if (len(given) > 1) != (decay is None) or AVERAGE in given:
            raise UserError(
                f"MutualLearning has the students {', '.join(given)} and the decay {decay}: give "
                f"several (model.students), or one and a decay; `{AVERAGE}` is the name of its "
                "average."
            )
        self.decay = decay
        term = PeerTerm(ForwardKL(temperature), alpha, to_mean)
        self._peer_terms = dict.fromkeys(given, term)

    @property
    def student_names(self) -> list[str]:
        """Names of the students that are given, and of the average."""
        return [*self.cast.student_specs, *([] if self.decay is None else [AVERAGE])]

    def peer_terms(self) -> dict[str, PeerTerm]:
        """See `PeerMethod`."""
        return self._peer_terms

    def on_models_built(self) -> None:
        """Adds the average, if there is one."""
        if self.decay is not None:
            average = copy.deepcopy(self.student).requires_grad_(False).eval()
            average.stream = None
            self.students[AVERAGE] = average
            self.notes = [f"`{AVERAGE}` follows the weights of the trained student ({self.decay})"]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Makes the average follow."""
        super().optimizer_step(*args, **kwargs)
        if self.decay is not None:
            followed, average = self.students.values()
            with torch.no_grad():
                pairs = zip(average.parameters(), followed.parameters(), strict=True)
                for kept, new in pairs:
                    kept.lerp_(new, 1 - self.decay)
