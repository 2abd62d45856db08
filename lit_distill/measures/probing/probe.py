"""What a probe is: a question to models that needs no task and trains nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from lit_distill.measures.probing.asked import Asked

Metrics = dict[str, float]
"""By name; a name with slashes has parts, such as `en/verbs/log_ratio`."""


class Probe(ABC):
    """A question to several models at once; a frozen dataclass of its settings.

    Example: how often a model, asked for the time, begins as the teacher does. ::

        @dataclass(frozen=True)
        class SameStart(Probe):
            def measure(self, models: Mapping[str, str]) -> dict[str, Metrics]:
                starts = {name: first_word(folder) for name, folder in models.items()}
                return {n: {"same": float(s == starts["teacher"])} for n, s in starts.items()}
    """

    @abstractmethod
    def measure(self, models: Mapping[str, str]) -> dict[str, Metrics]:
        """What is found out about every model.

        Args:
            models: folders or hub names, by the names that the answer has.

        Raises:
            UserError: a model cannot be asked so.
        """


class ModelProbe(Probe):
    """A question to one model at a time, which can be asked of models in training as well."""

    @abstractmethod
    def of(self, asked: Asked) -> Metrics:
        """What is found out about one model.

        Raises:
            UserError: it cannot be asked so.
        """

    def measure(self, models: Mapping[str, str]) -> dict[str, Metrics]:
        """See `Probe.measure`; one model is in memory at a time."""
        return {name: self.of(Asked.opened(folder)) for name, folder in models.items()}
