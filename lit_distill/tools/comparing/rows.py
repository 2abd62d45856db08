"""The rows of comparisons: a model, or a method with a model for each seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lit_distill.measures.measure import Scores
from lit_distill.tools.comparing.less_control import Difference, SeedDifference


@dataclass(frozen=True)
class Compared:
    """One model's row.

    Attributes:
        parameters: of the whole model, tied weights once.
        disk: bytes of its weight files; 0 if it is not a local folder.
        sentences_per_second: body and head on masked rows, this machine, this run.
        scores: by language.
        less_control: its mean loss less the control's; None without one, and of the control.
        languages_less_control: likewise, by language.
    """

    parameters: int
    disk: int
    sentences_per_second: float
    scores: dict[str, Scores]
    less_control: Difference | None = None
    languages_less_control: Mapping[str, Difference] | None = None


@dataclass(frozen=True)
class OverSeeds:
    """A number under several seeds.

    Attributes:
        mean: over them.
        by_seed: in their order; of a model without seeds, one.
        sd: standard deviation; None of one.
    """

    mean: float
    by_seed: tuple[float, ...]
    sd: float | None


@dataclass(frozen=True)
class TrainingCost:
    """What the training behind a method took, by its runs' records; means over seeds.

    Attributes:
        updates: that were made by the last run.
        exported_after: its updates before the weights that are compared.
        earlier: updates of the runs whose students it went on with, the first run first.
        tokens: that all these runs read, padding not counted; None where a record lacks it.
        seconds: of training without validations, on the machines that trained; likewise.
    """

    updates: float | None
    exported_after: float | None
    earlier: tuple[float, ...]
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class Method(Compared):
    """A method's row: numbers are means over seeds, of size and speed those of the first.

    Attributes:
        without_embeddings: parameters but for tables that are looked up, and the output matrix.
        loss: mean over languages.
        agreement: share of targets at which it puts the reference's first token first, a mean over
            languages; None without a reference, and of the reference.
        worst: the language with the highest loss, and that loss.
        training: what it took; None of a model that is in no run folder.
        pipeline: what was done, by the config of the first run.
    """

    without_embeddings: int = 0
    loss: OverSeeds = OverSeeds(0.0, (), None)
    agreement: OverSeeds | None = None
    worst: tuple[str, float] = ("", 0.0)
    training: TrainingCost | None = None
    pipeline: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def gap(self) -> SeedDifference | None:
        """The difference from the control, with what it is under each seed."""
        return self.less_control if isinstance(self.less_control, SeedDifference) else None
