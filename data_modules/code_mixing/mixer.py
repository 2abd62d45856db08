"""Code-mixed text made from parallel sentences, or from sentences and bilingual lexicons."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, compress
from pathlib import Path
from statistics import fmean

from data_modules.code_mixing.mix_request import Mix
from data_modules.code_mixing.romanisation import SCHEMES, romanised, spelled
from data_modules.code_mixing.switch_points import (
    Frame,
    Mixed,
    Unit,
    has_letters,
    mixed_frame,
    split_words,
    units_of,
)
from data_modules.code_mixing.word_alignment import align
from data_modules.pairing.sources import resolve_parallel
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import Source, resolve
from data_modules.reading.tagged_text import TaggedText, Word
from data_modules.recording.exclusion import Exclusion
from data_modules.storing.tokenising import held_out
from lit_distill.errors import UserError

GENERATOR = 2
"""Part of every stamp: raise it when the same sources give other text."""
FUNCTION_WORDS = 150
"""So many of the most frequent words of each language switch only where others do not suffice:
function words come from the matrix language (Joshi, 1982; Myers-Scotton, 1993)."""
TOLERANCE = 0.05
"""How far the corpus mean may be from what was asked for, relatively."""


class Mixer:
    """Makes the text of one mix; sentences are read and aligned once, when first needed.

    Args:
        mix: what is asked for.
        root: where relative paths start.
        seed: of all chances.
        holdout: one row of so many is for validation, by a hash of its matrix sentence.
        excluded: no text is made of rows that have a text in these files.

    Attributes:
        broken: rows that could not be mixed; there once the sentences are read.
    """

    def __init__(
        self,
        mix: Mix,
        root: Path,
        seed: int,
        holdout: int,
        excluded: Exclusion = Exclusion(),  # noqa: B008 (frozen)
    ) -> None:
        mix.check()
        self.mix, self.root, self.seed, self.holdout = mix, root, seed, holdout
        self.broken, self.excluded = list[Broken](), excluded
        self._frames: dict[bool, list[Frame]] | None = None

    @property
    def stamp(self) -> str:
        """Changes when the made text does."""
        parallel = resolve_parallel(self.mix.parallel, self.root) if self.mix.parallel else []
        stamps = [reader.stamp for reader in parallel]
        stamps += [reader.stamp for reader in (*self._texts(), *self._lexicons().values())]
        return repr((self.mix, self.seed, self.holdout, GENERATOR, stamps))

    def made(self, cmi: float, validation: bool) -> list[TaggedText]:
        """The text of one level.

        Raises:
            UserError: the sentences cannot be mixed so much.
        """
        frames = self.frames(validation)
        count = self.mix.sentences if not validation else None
        mixed = self._mixed(frames, cmi, count or len(frames))
        if not validation and frames:  # the few of validation may be off
            self._check(frames, mixed, cmi)
        name = f"{self.seed} {self.mix.name} {cmi} {validation}"
        draw = random.Random(f"spelling {name}")
        return [self._written(one, draw) for one in mixed]

    def _mixed(self, frames: Sequence[Frame], cmi: float, count: int) -> list[Mixed]:
        """Sentences whose mean comes to the wish: what one is off, the next ones make good."""
        draw = random.Random(f"{self.seed} {self.mix.name} {cmi}")
        highest = self.mix.highest
        width = self.mix.spread * min(cmi, highest - cmi)
        owed, owed_switches = 0.0, 0.0
        wanted = self.mix.switches
        made: list[Mixed] = []
        for number in range(count if frames else 0):
            wish = min(max(cmi + width * draw.uniform(-1, 1) + owed, 0.0), highest)
            switches = None if wanted is None else min(max(wanted + owed_switches, 0.0), 1.0)
            mixed = mixed_frame(frames[number % len(frames)], wish, switches, draw)
            owed += cmi - mixed.cmi if any(mixed.tags) else 0.0
            owed_switches += (wanted or 0.0) - mixed.switches
            # what no sentence can make good is not carried along for ever
            owed = min(max(owed, -2 * highest), 2 * highest)
            owed_switches = min(max(owed_switches, -2.0), 2.0)
            made.append(mixed)
        return made

    def _check(self, frames: Sequence[Frame], mixed: Sequence[Mixed], cmi: float) -> None:
        reached = fmean(one.cmi for one in mixed)
        if abs(reached - cmi) > TOLERANCE * cmi:
            most = self.reachable(frames)
            raise UserError(
                f"The mix {self.mix.name!r} cannot have a mean CMI of {cmi:g}: it came to "
                f"{reached:.1f}, and switching every {self.mix.unit} that can reaches {most:.1f}. "
                "Lower `cmi`, allow longer units, or give more parallel text (words are linked "
                "better)."
            )
        wanted = self.mix.switches
        if wanted is not None:
            switches = fmean(one.switches for one in mixed)
            if abs(switches - wanted) > TOLERANCE * wanted:
                raise UserError(
                    f"The mix {self.mix.name!r} cannot have a mean switch-point fraction of "
                    f"{wanted:g} at a CMI of {cmi:g}: the nearest that its {self.mix.unit}s reach "
                    f"is {switches:.3f}. Ask for that, for another CMI, or for other units."
                )

    def reachable(self, frames: Sequence[Frame] | None = None) -> float:
        """The mean CMI when every sentence is mixed as much as it can be."""
        frames = self.frames(validation=False) if frames is None else frames
        draw = random.Random(self.seed)
        return fmean(mixed_frame(frame, 100.0, None, draw).cmi for frame in frames)

    # -- sentences ------------------------------------------------------------------------------

    def frames(self, validation: bool) -> list[Frame]:
        """The matrix sentences of a split, with their units."""
        if self._frames is None:
            rows = self._rows()
            function_words = {
                language: _frequent(row[language] for row in rows) for language in rows[0]
            }
            found = self._from_parallel(rows) if self.mix.parallel else self._from_lexicons(rows)
            self._frames = {False: [], True: []}
            for row, (units, names) in zip(rows, found, strict=True):
                text = row[self.mix.matrix]
                frame = self._frame(text, units, names, function_words)
                self._frames[held_out(text.encode("utf-8"), self.holdout)].append(frame)
        return self._frames[validation]

    def _frame(
        self,
        text: str,
        units: list[Unit],
        names: Mapping[int, str],
        function_words: Mapping[str, set[str]],
    ) -> Frame:
        words, glued = split_words(text)

        def is_function(unit: Unit) -> bool:
            own, other = function_words[self.mix.matrix], function_words.get(unit.language, set())
            edges = (words[unit.start], words[unit.stop - 1])
            new = (unit.words[0], unit.words[-1])
            return any(word.lower() in own for word in edges) or any(
                word.lower() in other for word in new
            )

        kept = [unit for unit in units if not names.keys() & set(range(unit.start, unit.stop))]
        kept = [unit for unit in kept if any(map(has_letters, words[unit.start : unit.stop]))]
        kept.sort(key=is_function)
        preferred = sum(not is_function(unit) for unit in kept)
        return Frame(words, glued, self.mix.matrix, names, tuple(kept), preferred)

    def _rows(self) -> list[dict[str, str]]:
        """Rows that have all languages, each once."""
        wanted = (self.mix.matrix, *(self.mix.embedded if self.mix.parallel else ()))
        readers: list[Iterator[dict[str, str] | Broken]] = []
        if self.mix.parallel:
            readers = [reader.rows() for reader in resolve_parallel(self.mix.parallel, self.root)]
        for reader in self._texts():
            alone = reader.rows()
            readers.append(
                row if isinstance(row, Broken) else {self.mix.matrix: row} for row in alone
            )
        rows: dict[str, dict[str, str]] = {}
        self.broken = []
        for number, row in enumerate(chain.from_iterable(readers), 1):
            if isinstance(row, Broken):
                self.broken.append(row)
            elif missing := [language for language in wanted if language not in row]:
                self.broken.append(Broken(number, f"no text in {', '.join(missing)}"))
            else:
                rows.setdefault(row[self.mix.matrix], row)
        if not rows:
            raise UserError(f"The mix {self.mix.name!r}: no row has all of {', '.join(wanted)}.")
        kept = self.excluded.kept([[*row.values()] for row in rows.values()])
        return list(compress(rows.values(), kept))

    def _texts(self) -> list[Reader]:
        if not self.mix.texts:
            return []
        (texts,) = resolve([Source(self.mix.matrix, files=self.mix.texts)], self.root)
        return texts.train

    def _lexicons(self) -> dict[str, Reader]:
        found = {}
        for language, path in self.mix.lexicons.items():
            (texts,) = resolve([Source(language, files=path)], self.root)
            found[language] = texts.train[0]
        return found

    def _from_parallel(
        self, rows: Sequence[Mapping[str, str]]
    ) -> Iterator[tuple[list[Unit], dict[int, str]]]:
        """Units and names of every row, from links between its sentences."""
        sides = {
            language: [split_words(row[language])[0] for row in rows]
            for language in (self.mix.matrix, *self.mix.embedded)
        }
        matrix = sides[self.mix.matrix]
        links = {
            language: align(list(zip(matrix, sides[language], strict=True)))
            for language in self.mix.embedded
        }
        for number, words in enumerate(matrix):
            units: list[Unit] = []
            names: dict[int, str] = {}
            for language in self.mix.embedded:
                other, own = sides[language][number], links[language][number]
                units += units_of(self.mix.unit, words, other, own, language)
                names |= _names(other, own) if language == "en" else {}
            yield units, names

    def _from_lexicons(
        self, rows: Sequence[Mapping[str, str]]
    ) -> Iterator[tuple[list[Unit], dict[int, str]]]:
        lexicons = {language: _lexicon(reader) for language, reader in self._lexicons().items()}
        for row in rows:
            words, _ = split_words(row[self.mix.matrix])
            yield (
                [
                    Unit(place, place + 1, language, lexicon[word.lower()])
                    for language, lexicon in lexicons.items()
                    for place, word in enumerate(words)
                    if word.lower() in lexicon
                ],
                {},
            )

    # -- writing --------------------------------------------------------------------------------

    def _written(self, mixed: Mixed, draw: random.Random) -> TaggedText:
        """The text, its words' places and their languages; romanised and spelled if asked for."""
        text, words = "", list[Word]()
        for word, tag, glued in zip(mixed.words, mixed.tags, mixed.glued, strict=True):
            language = tag or self.mix.matrix
            if self.mix.romanise and language in SCHEMES:
                latin = romanised(word, language)
                word = (
                    latin
                    if tag is None or latin == word
                    else spelled(latin, self.mix.spelling, draw)
                )
            start = len(text) + (0 if glued or not text else 1)
            text = f"{text}{'' if glued or not text else ' '}{word}"
            words.append((start, len(text), tag))
        return TaggedText(text, words)


def _frequent(texts: Iterable[str]) -> set[str]:
    words = (word.lower() for text in texts for word in split_words(text)[0])
    counts = Counter(word for word in words if has_letters(word))
    return {word for word, _ in counts.most_common(FUNCTION_WORDS)}


def _names(english: Sequence[str], links: Sequence[tuple[int, int]]) -> dict[int, str]:
    """Words that are linked to an English name (a capital inside the sentence), and the name."""
    return {
        first: english[second]
        for first, second in links
        if second > 0
        and english[second][:1].isupper()
        and english[second] != "I"
        and english[second - 1] not in '.!?:"“'
    }


def _lexicon(reader: Reader) -> dict[str, tuple[str, ...]]:
    lexicon: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(reader.rows(), 1):
        word, tab, translation = ("", "", "") if isinstance(row, Broken) else row.partition("\t")
        if not tab or not word.strip() or not translation.strip():
            raise UserError(
                f"{reader.name}, line {number}: a lexicon has a word, a tab and its translation."
            )
        lexicon.setdefault(word.strip().lower(), tuple(translation.split()))
    return lexicon
