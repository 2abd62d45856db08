"""Arithmetic as prompts with worked answers, made from a seed; no download."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from zlib import crc32

from annotated_types import Interval

from data_modules.phrasebook_text.sentences import Split
from data_modules.prompting.form import PromptText
from data_modules.prompts import PromptCorpus
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts
from lit_distill.errors import UserError
from lit_distill.knobs import Count, Seed, check_knobs

KINDS = ("plus", "minus", "times", "chain")
GENERATOR = 1
"""Part of every stamp: raise it when the same settings give other problems."""
PARTS = 10
"""One problem of so many is for validation and one for testing, by its own checksum."""
PATIENCE = 1_000
"""Draws in a row that bring nothing new until there seems to be nothing left."""


@dataclass(frozen=True)
class ArithmeticReader(Reader):
    """Different problems of one kind and split.

    Attributes:
        kind: one of `KINDS`.
        split: of the corpus.
        count: at most so many.
        largest: of the numbers.
        steps: write the steps of a chain down.
        seed: of the draws.
    """

    kind: str
    split: Split
    count: int
    largest: int
    steps: bool
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"arithmetic {self.kind} {self.split}"

    @property
    def stamp(self) -> str:
        """The settings of the generator, by which its cache is keyed."""
        return f"{self} {GENERATOR}"

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`; nothing is ever broken."""
        draw = random.Random(f"{self.seed}/{self.kind}/{self.split}")
        given: set[str] = set()
        failures = 0
        while len(given) < self.count and failures < PATIENCE:
            problem, answer = _problem(self.kind, self.largest, self.steps, draw)
            if problem in given or _split_of(problem) != self.split:
                failures += 1
                continue
            given.add(problem)
            failures = 0
            yield PromptText(f"{problem} =", f" {answer}")


Largest = Annotated[int, Interval(ge=9, le=10**6), "with fewer numbers no problem is new"]
"""The largest number of a problem."""


class ArithmeticCorpus(PromptCorpus):
    """Sums, differences, products, and chains such as "3 + 4 * 2 = 3 + 8 = 11".

    The kind of problem stands in the place of the language: it is sampled and measured by itself.
    No problem is in two splits.

    Args:
        kinds: among plus, minus, times and chain.
        problems_per_kind: different training problems at most; small numbers give fewer.
        validation_problems: of each kind at most, and as many for testing.
        largest: of the numbers.
        steps: chains show the product before the result.
        problem_seed: of the problems.
        prompts: see `PromptCorpus`.
    """

    licence: ClassVar[str] = "apache-2.0"  # our own text, as the rest of the project

    def __init__(
        self,
        kinds: list[str] = list(KINDS),  # noqa: B006 (never changed)
        problems_per_kind: Count = 5_000,
        validation_problems: Count = 200,
        largest: Largest = 99,
        steps: bool = True,
        problem_seed: Seed = 0,
        **prompts: Any,
    ) -> None:
        check_knobs(ArithmeticCorpus, locals())
        super().__init__(sources=[], data_dir=".", **prompts)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise UserError(f"Arithmetic has the kinds {', '.join(KINDS)}; found {kinds}.")
        counts: dict[Split, int] = {
            "train": problems_per_kind,
            "validation": validation_problems,
            "test": validation_problems,
        }

        def reader(kind: str, split: Split) -> list[Reader]:
            return [ArithmeticReader(kind, split, counts[split], largest, steps, problem_seed)]

        self._texts = [
            LanguageTexts(
                kind, reader(kind, "train"), reader(kind, "validation"), reader(kind, "test")
            )
            for kind in sorted(set(kinds))
        ]

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`."""
        return self._texts


def _split_of(problem: str) -> Split:
    part = crc32(problem.encode()) % PARTS
    return "validation" if part == 0 else "test" if part == 1 else "train"


def _problem(kind: str, largest: int, steps: bool, draw: random.Random) -> tuple[str, str]:
    """A problem and its answer."""
    first, second, third = (draw.randint(0, largest) for _ in range(3))
    if kind == "plus":
        return f"{first} + {second}", str(first + second)
    if kind == "minus":
        return f"{first} - {second}", str(first - second)
    if kind == "times":
        return f"{first} * {second}", str(first * second)
    middle = f"{first} + {second * third} = " if steps else ""
    return f"{first} + {second} * {third}", f"{middle}{first + second * third}"
