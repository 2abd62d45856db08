"""What code-mixed text is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_modules.code_mixing.romanisation import SCHEMES
from data_modules.code_mixing.switch_points import Kind
from data_modules.pairing.sources import ParallelSource
from lit_distill.errors import UserError
from lit_distill.knobs import Count, NotNegative, Positive, PositiveShare, Share, check_knobs


@dataclass(frozen=True)
class Mix:
    """Text in one matrix language with words of others, made on the spot.

    Attributes:
        name: the mix's tag, such as "hi-en".
        matrix: the language that gives the frame; its order of words stays.
        embedded: the languages whose words come in.
        parallel: sentences in the matrix language and in the embedded ones. Words that translate
            each other are found by `align`, over all of them.
        texts: instead, sentences in the matrix language alone: files, globs or lists of them.
        lexicons: with `texts`, a .txt file per embedded language: a word of the matrix language, a
            tab, and its translation on each line; the first one of a word counts.
        unit: the longest stretch that switches: a word, a phrase of up to four, a clause.
        cmi: wished means of the code-mixing index over the text; several make levels, each a
            language of its own, "hi-en@10".
        spread: how much sentences differ: 0 gives all about the same index, 1 up to all there is.
        switches: wished mean of the switch-point fraction; None leaves it to the units.
        romanise: write Indic words in Latin letters, as people type them.
        spelling: probability that a romanised word is spelled in a less common way.
        sentences: of each level; None: as many as there are rows. More than there are rows mixes
            a row more than once, differently each time.
        weight: factor of each level in the sampler.
    """

    name: str
    matrix: str
    embedded: list[str]
    parallel: list[ParallelSource] = field(default_factory=list)
    texts: str | list[str] | None = None
    lexicons: dict[str, str] = field(default_factory=dict)
    unit: Kind = "word"
    cmi: list[Positive] = field(default_factory=lambda: [25.0])
    spread: Share = 0.5
    switches: PositiveShare | None = None
    romanise: bool = True
    spelling: Share = 0.15
    sentences: Count | None = None
    weight: NotNegative = 1.0

    def __post_init__(self) -> None:
        check_knobs(Mix, vars(self))

    def check(self) -> None:
        """Refuses what cannot be meant.

        Raises:
            UserError: with what to change.
        """
        for problem, found in (
            ("no embedded language", not self.embedded),
            ("its matrix language embedded", self.matrix in self.embedded),
            ("neither or both of parallel and texts", bool(self.parallel) == bool(self.texts)),
            ("no lexicon for a language", bool(self.texts) and {*self.embedded} - {*self.lexicons}),
            (f"a cmi outside (0, {self.highest:.4g}]", self._outside()),
            ("no cmi, or one twice", not self.cmi or len({*self.cmi}) < len(self.cmi)),
        ):
            if found:
                raise UserError(f"The mix {self.name!r} has {problem}.")
        scripts = [one for one in (self.matrix, *self.embedded) if one in SCHEMES]
        if self.romanise and not scripts:
            raise UserError(f"The mix {self.name!r} has no language to romanise: set it to false.")

    def _outside(self) -> bool:
        return any(not 0 < cmi <= self.highest for cmi in self.cmi)

    def level(self, cmi: float) -> str:
        """The name of the language that text of this index is."""
        return self.name if len(self.cmi) == 1 else f"{self.name}@{cmi:g}"

    @property
    def highest(self) -> float:
        """The code-mixing index of all languages in equal parts."""
        return 100.0 * (1.0 - 1.0 / (1 + len(self.embedded)))
