"""What runs that are compared must have in common: data, its order, start, teacher, updates.

It is asserted from what the runs themselves have written down, before anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lit_distill.errors import UserError
from lit_distill.tools.comparing.records import Record

Item = Literal["data", "order", "start", "teacher", "tokenizer", "updates", "tokens"]
"""What may be allowed to differ."""
ITEMS: tuple[Item, ...] = get_args(Item)
_HASH = 12  # characters of a hash that are shown
_NEAR = 0.05  # tokens of an update, of runs of different length: other texts are of other lengths

Records = Mapping[int, Mapping[str, Record | None]]
"""By seed and name of the model; None of a model that no run folder holds."""


@dataclass(frozen=True)
class Deviation:
    """One thing in which a run differs from the one that it is compared with.

    Attributes:
        item: what.
        seed: under which.
        model: whose run it is.
        other: whose run it is compared with.
        found: its value.
        expected: that of the other.
    """

    item: Item
    seed: int
    model: str
    other: str
    found: str
    expected: str

    @property
    def sentence(self) -> str:
        """As users read it."""
        return (
            f"{self.item} under seed {self.seed}: {self.found} of {self.model}, "
            f"{self.expected} of {self.other}"
        )


def check_fair(
    records: Records, control: str | None, reference: str | None, allowed: Sequence[Item]
) -> list[Deviation]:
    """Compares the runs of every seed with the control's; without one, with the first's.

    The reference is none of the compared. A truncation has made no updates and read nothing, so of
    it only start, teacher and tokenizer are compared.

    Args:
        records: of all models.
        control: name of the model with which the others are compared.
        reference: name of the teacher.
        allowed: in which runs may differ.

    Returns:
        How they differ, all of it allowed.

    Raises:
        UserError: they differ in something else; all such differences are listed.
    """
    found = []
    for seed, own in records.items():
        runs = {name: one for name, one in own.items() if one is not None and name != reference}
        found += list(_deviations(seed, runs, control))
    refused = [one for one in found if one.item not in allowed]
    if refused:
        lines = "".join(f"\n  {one.sentence}" for one in refused)
        items = ", ".join(dict.fromkeys(one.item for one in refused))
        raise UserError(
            f"These runs differ in more than their method, so a table would not say which of both "
            f"made the difference:{lines}\nTrain them alike, or compare all the same with "
            f'--allow_differences "[{items}]"; the table then says so.'
        )
    return found


def _deviations(seed: int, runs: Mapping[str, Record], control: str | None) -> Iterator[Deviation]:
    order = sorted(runs, key=lambda name: name != control)  # the control first, if it has a run
    for item in ITEMS:
        known = {name: runs[name] for name in order if _has(item, runs[name])}
        if item in ("data", "order", "updates", "tokens"):
            known = {name: one for name, one in known.items() if not one.is_start}
        first, *others = [*known] or [""]
        for name in others:
            values = _differ(item, known[name], known[first])
            if values is not None:
                yield Deviation(item, seed, name, first, *values)


def _has(item: Item, record: Record) -> bool:
    """Whether anything is known that can be compared."""
    if item in ("updates", "tokens"):
        return record.updates is not None and (item == "updates" or record.tokens is not None)
    return bool({item, f"{item} as said"} & {*record.identity}) or item == "order"


def _differ(item: Item, one: Record, other: Record) -> tuple[str, str] | None:
    """The two values, if they are different."""
    if item == "updates":
        return _unless_equal(str(one.updates), str(other.updates))
    if item == "tokens":
        return _tokens(one, other)
    common = [int(count) for count in one.order if count in other.order and count.isdecimal()]
    if item == "order" and common:
        most = str(max(common))
        return _unless_equal(one.order[most], other.order[most])
    for name in (item, f"{item} as said"):
        if name in one.identity and name in other.identity:
            return _unless_equal(one.identity[name], other.identity[name])
    return None


def _tokens(one: Record, other: Record) -> tuple[str, str] | None:
    """Tokens in all; of runs of different length, tokens of an update."""
    if one.updates == other.updates:
        return _unless_equal(f"{one.tokens:,}", f"{other.tokens:,}")
    mine, theirs = ((run.tokens or 0) / (run.updates or 1) for run in (one, other))
    if abs(mine - theirs) <= _NEAR * theirs:
        return None
    return f"{mine:,.0f} an update", f"{theirs:,.0f}"


def _unless_equal(one: str, other: str) -> tuple[str, str] | None:
    return None if one == other else (_shown(one), _shown(other))


def _shown(value: str) -> str:
    """A hash by its beginning; anything else as it is."""
    plain = "".join(value.split())
    is_hash = len(plain) >= 32 and all(c in "0123456789abcdef" for c in plain)
    return value[:_HASH] if is_hash else value
