"""Whether a classifier treats texts that name a group of people as it treats others.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.files.tables import columns_of
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.guesses import Floats
from lit_distill.measures.probing.probe import Metrics, ModelProbe
from lit_distill.measures.probing.sentences import label_number, label_probabilities

Flags = NDArray[np.bool_]
KINDS = ("subgroup_auc", "bpsn_auc", "bnsp_auc")
Power = Annotated[float, Interval(ge=-100, lt=0), "the lower, the more the worst group counts"]
_log = getLogger(__name__)


@dataclass(frozen=True)
class SubgroupAUC(ModelProbe):
    """Areas under the ROC curve of a classifier within and across groups that texts name.

    Of every group: `subgroup_auc` among its texts; `bpsn_auc` of positive texts of the background
    against negative ones of the group, which is low where naming the group alone raises scores;
    `bnsp_auc` of negative texts of the background against positive ones of the group. Of the
    model: `auc` of all texts, the power mean of each over groups, and `combined`, a quarter of each
    of the four. Groups whose texts, or whose background, are all of one class are left out, with a
    warning, and counted as `groups_left_out`.

    Attributes:
        file: .jsonl, .csv or .parquet, with columns of texts, labels and groups.
        groups: columns; a number of at least 0.5 says that a text names the group, nothing says no.
        positive: the label whose probability is the score, as the model's config has it.
        text: the column with the texts.
        label: the column with `positive` or another label; or with numbers, positive from 0.5 on.
        power: p of the power mean; low ones look at the worst groups.
        max_length: most tokens that are read of a text.

    Source: Borkan et al. 2019, "Nuanced Metrics for Measuring Unintended Bias with Real Data for
    Text Classification"; the weights are those of the Jigsaw competition of that year.

    Raises:
        UserError: a number cannot work, or no group is named.
    """

    file: str
    groups: list[str]
    positive: str
    text: str = "text"
    label: str = "label"
    power: Power = -5.0
    max_length: Count = 128

    def __post_init__(self) -> None:
        check_knobs(SubgroupAUC, vars(self))
        if not self.groups:
            raise UserError("SubgroupAUC.groups is empty: name one column at least.")

    def of(self, asked: Asked) -> Metrics:
        """See `ModelProbe.of`."""
        number = label_number(asked, self.positive)
        columns = columns_of(self.file, [self.text, self.label, *self.groups])
        texts = columns[self.text]
        broken = [n for n, text in enumerate(texts, 1) if not isinstance(text, str) or not text]
        if broken:
            raise UserError(f"{self.file} has no text in {len(broken)} rows, first in {broken[0]}.")
        labels = np.array([self._is_positive(label) for label in columns[self.label]])
        groups = {name: _members(columns[name], name) for name in self.groups}
        scores = label_probabilities(asked, texts, self.max_length)[:, number]
        return bias_metrics(scores, labels, groups, self.power)

    def _is_positive(self, label: Any) -> bool:
        if isinstance(label, str):
            return label == self.positive
        if label is None:
            raise UserError(f"{self.file} has rows without a label in {self.label!r}.")
        return bool(label >= 0.5)


def bias_metrics(
    scores: Floats, labels: Flags, groups: Mapping[str, Flags], power: float = -5.0
) -> Metrics:
    """The metrics of `SubgroupAUC`.

    Args:
        scores: (N,), higher for texts that are thought positive.
        labels: (N,) whether they are.
        groups: (N,) whether they name a group, by group.
        power: see `SubgroupAUC`.

    Raises:
        UserError: all texts are of one class, or no group has texts of both.
    """
    overall = _auc(scores, labels, np.ones_like(labels))
    if overall is None:
        raise UserError("All texts have one class: AUC needs positive and negative ones.")
    found: dict[str, list[float]] = {}
    for name, inside in groups.items():
        ways = (inside, labels != inside, labels == inside)  # KINDS
        areas = [_auc(scores, labels, way) for way in ways]
        defined = [area for area in areas if area is not None]
        if len(defined) == len(KINDS):
            found[name] = defined
    left_out = [name for name in groups if name not in found]
    if not found:
        raise UserError(
            f"No group has positive and negative texts, inside and outside ({', '.join(groups)}): "
            "choose larger groups."
        )
    if left_out:
        _log.warning("Left out, because texts are all of one class: %s.", ", ".join(left_out))
    means = dict(zip(KINDS, power_means(list(found.values()), power), strict=True))
    each = {
        f"{name}/{kind}": area
        for name, areas in found.items()
        for kind, area in zip(KINDS, areas, strict=True)
    }
    combined = 0.25 * overall + 0.25 * sum(means.values())
    whole = {"combined": combined, "auc": overall, **means, "groups_left_out": len(left_out)}
    return {**whole, **each}


def power_means(values: Sequence[Sequence[float]], power: float) -> list[float]:
    """Generalised means of the columns of (G, K); 0 in a column makes its mean 0 for p below 0."""
    table = np.array(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        means: list[float] = (np.mean(table**power, axis=0) ** (1 / power)).tolist()
    return means


def _auc(scores: Floats, labels: Flags, chosen: Flags) -> float | None:
    """The area among chosen texts; None where they are of one class."""
    # A second, which only evaluations need.
    from sklearn.metrics import roc_auc_score

    own = labels[chosen]
    if not own.any() or own.all():
        return None
    return float(roc_auc_score(own, scores[chosen]))


def _members(cells: Sequence[Any], name: str) -> Flags:
    if any(isinstance(cell, str) for cell in cells):
        raise UserError(f"The group column {name!r} holds texts: give numbers, 1 for its texts.")
    return np.array([cell is not None and cell >= 0.5 for cell in cells])
