"""Rules by which a student keeps some layers of its teacher.

Numbers count from 0, and of n layers k are kept. DistilBERT's choice: huggingface
transformers-research-projects@fccd0cd, distillation/scripts/extract_distilbert.py. The tables of
shrink and fine-tune (Shleifer and Rush, 2020, https://arxiv.org/abs/2010.13002): huggingface
transformers@98ad48f, examples/research_projects/seq2seq-distillation/make_student.py. For a size
without a row that code takes the lowest layers and warns; here it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Literal

from lit_distill.errors import UserError
from lit_distill.knobs import CountOrNone

_log = getLogger(__name__)

Rule = Literal[
    "every_other",
    "last_of_group",
    "spread",
    "middle_out",
    "first",
    "last",
    "shrink_and_fine_tune",
    "distilbert",
]
"""Names of the rules; see `LayerCopyStudent`."""

Layers = Rule | list[CountOrNone]
"""A rule, or numbers of layers from 0."""

DISTILBERT_LAYERS = [0, 2, 4, 7, 9, 11]
"""Of 12, from 0."""

SHRINK_AND_FINE_TUNE: dict[int, dict[int, list[int]]] = {
    6: {1: [0], 2: [0, 5], 3: [0, 2, 5], 4: [0, 1, 3, 5], 6: list(range(6))},
    12: {
        1: [0],
        2: [0, 6],
        3: [0, 6, 11],
        4: [0, 4, 8, 11],
        6: [0, 2, 4, 7, 9, 11],
        9: [0, 1, 2, 4, 5, 7, 9, 10, 11],
        12: list(range(12)),
    },
    16: {
        1: [0],
        2: [0, 15],
        3: [0, 8, 15],
        4: [0, 5, 10, 15],
        6: [0, 3, 6, 9, 12, 15],
        8: [0, 2, 4, 6, 8, 10, 12, 15],
        9: [0, 1, 3, 5, 7, 9, 11, 13, 15],
        12: [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15],
        16: list(range(16)),
    },
}
"""The layers kept, by the teacher's number of layers and the student's: Marian, BART, Pegasus."""


def pick_layers(choice: str | list[int], keep: int | None, count: int) -> list[int]:
    """Numbers (from 0) of the teacher layers that a student keeps; see `LayerCopyStudent`.

    Args:
        choice: the rule, or the numbers themselves.
        keep: how many; None is half of them, rounded down, and at least one.
        count: how many the teacher has.

    Raises:
        UserError: the choice does not fit the teacher.
    """
    if isinstance(choice, list):
        return _explicit(choice, keep, count)
    if choice == "distilbert":
        return _distilbert(keep, count)
    keep = max(count // 2, 1) if keep is None else keep
    if not 1 <= keep <= count:
        raise UserError(f"num_layers={keep}: the teacher has {count} layers; keep 1 to {count}.")
    if choice == "shrink_and_fine_tune":
        return _published(keep, count)
    if choice not in _BY_FORMULA:
        known = [*_BY_FORMULA, "shrink_and_fine_tune", "distilbert"]
        raise UserError(f"layers={choice!r}: choose {', '.join(known)} or a list of numbers.")
    return _BY_FORMULA[choice](keep, count)


def _distilbert(keep: int | None, count: int) -> list[int]:
    if count != 12 or keep not in (None, 6):
        raise UserError(
            f"layers='distilbert' is 6 chosen layers of 12 ({DISTILBERT_LAYERS}); the teacher "
            f"has {count} and {keep or count // 2} are wanted: use layers='every_other'."
        )
    return list(DISTILBERT_LAYERS)


def _published(keep: int, count: int) -> list[int]:
    """The row of the published tables."""
    rows = SHRINK_AND_FINE_TUNE.get(count)
    if rows is None or keep not in rows:
        sizes = f"teachers of {_listed(SHRINK_AND_FINE_TUNE)} layers"
        if rows is not None:
            sizes = f"students of {_listed(rows)} layers of {count}"
        raise UserError(
            f"layers='shrink_and_fine_tune' is a table of {sizes}, and the teacher has {count} "
            f"layers of which {keep} are wanted: use layers='spread'."
        )
    return list(rows[keep])


def _listed(numbers: Sequence[int] | Mapping[int, object]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}"


def _every_other(keep: int, count: int) -> list[int]:
    return [i * count // keep for i in range(keep)]


def _last_of_group(keep: int, count: int) -> list[int]:
    """Groups are those of the layer map `LastOfGroup`: the lower ones are larger."""
    size, more = divmod(count, keep)
    return [size * i + min(i, more) - 1 for i in range(1, keep + 1)]


def _spread(keep: int, count: int) -> list[int]:
    """Halves are rounded up; one layer alone is the first."""
    steps = max(keep - 1, 1)
    return [(2 * i * (count - 1) + steps) // (2 * steps) for i in range(keep)]


def _middle_out(keep: int, count: int) -> list[int]:
    """The bottom half has one more where they cannot be equal."""
    top = keep // 2
    return [*range(keep - top), *range(count - top, count)]


def _first(keep: int, count: int) -> list[int]:
    del count
    return list(range(keep))


def _last(keep: int, count: int) -> list[int]:
    return list(range(count - keep, count))


_BY_FORMULA: dict[str, Callable[[int, int], list[int]]] = {
    "every_other": _every_other,
    "last_of_group": _last_of_group,
    "spread": _spread,
    "middle_out": _middle_out,
    "first": _first,
    "last": _last,
}


def respect_kinds(choice: str | list[int], picked: list[int], kinds: Sequence[str]) -> list[int]:
    """Numbers of the layers to keep of a teacher whose layers attend in several ways.

    Gemma 2 looks at all positions in every second layer and Gemma 3 in every sixth: a plain
    every_other would keep none of them. Where a plain choice gives a kind less or more than its
    share, or none, every kind is thinned out by itself. Other choices are kept, and what they lose
    is said.

    Args:
        choice: as for `pick_layers`.
        picked: what that found.
        kinds: of all layers of the teacher, in order.
    """
    keep, count = len(picked), len(kinds)
    found = {kind: [i for i in range(count) if kinds[i] == kind] for kind in dict.fromkeys(kinds)}
    wanted = {kind: len(numbers) * keep / count for kind, numbers in found.items()}
    kept = {kind: sum(kinds[i] == kind for i in picked) for kind in found}
    even = all(abs(kept[kind] - wanted[kind]) < 1 for kind in found) and min(kept.values()) > 0
    if choice == "every_other" and not even and keep >= len(found):
        sizes = _shares(wanted, keep)
        return sorted(
            numbers[i * len(numbers) // sizes[kind]]
            for kind, numbers in found.items()
            for i in range(sizes[kind])
        )
    for kind, numbers in found.items():
        if not kept[kind]:
            _log.warning(
                "The student keeps none of the teacher's %d layers of %s (%s), only %s: list "
                "layers of both kinds in `layers` if it should have some.",
                *(len(numbers), kind, ", ".join(map(str, numbers)), picked),
            )
    return picked


def _shares(wanted: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers of sum `total`, at least 1 each: the largest remainders are rounded up.

    Of equal ones, that of the rarer kind.
    """
    sizes = {kind: max(int(share), 1) for kind, share in wanted.items()}
    while (missing := total - sum(sizes.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [kind for kind in sizes if step > 0 or sizes[kind] > 1]
        chosen = max(movable, key=lambda kind: (step * (wanted[kind] - sizes[kind]), -wanted[kind]))
        sizes[chosen] += step
    return sizes


def _explicit(choice: list[int], keep: int | None, count: int) -> list[int]:
    outside = [i for i in choice if not 0 <= i < count]
    twice = sorted({i for i in choice if choice.count(i) > 1})
    if outside:
        raise UserError(
            f"layers={choice}: {outside} do not exist; the teacher's {count} layers are numbered "
            f"0 to {count - 1}."
        )
    if twice:
        raise UserError(f"layers={choice}: {twice} appear more than once; name each layer once.")
    if not choice:
        raise UserError("layers=[]: a student needs at least one layer.")
    if keep not in (None, len(choice)):
        raise UserError(
            f"layers={choice} names {len(choice)} layers and num_layers is {keep}: leave "
            "num_layers out."
        )
    return list(choice)
