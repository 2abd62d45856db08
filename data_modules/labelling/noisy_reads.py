"""Texts with noise, tokenised when they are read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from data_modules.labelling.encoding import Encoder, Reads
from data_modules.labelling.noise import Noise
from data_modules.labelling.stored_texts import StoredTexts
from data_modules.storing.token_store import TokenStore
from data_modules.tasks.rows import LabelledText
from data_modules.tasks.task import Ints
from data_modules.text.deduplication import marks_of
from lit_distill.counter_random import Purpose, key


@dataclass(frozen=True)
class NoisyReads:
    """What is read of windows, with noise: a function of seed, text and pass.

    Attributes:
        noise: of which kind.
        texts: clean ones.
        encode: tokenises.
        store: of the clean windows, which knows their languages.
        seed: of the random numbers.
    """

    noise: Noise
    texts: StoredTexts
    encode: Encoder
    store: TokenStore
    seed: int

    def take(self, windows: Ints, passes: Ints) -> Reads:
        """What is read of these windows (B,), each in its pass (B,)."""
        texts = self.texts.take(windows)
        marks = marks_of([text.content for text in texts])
        keys = key(self.seed, Purpose.NOISE, marks, passes).tolist()
        languages = [self.store.languages[number] for number in self.store.language[windows]]
        noisy = [
            self._noisy(text, language, random.Random(number))
            for text, language, number in zip(texts, languages, keys, strict=True)
        ]
        encoded = self.encode(noisy)
        lost = [number for number, one in enumerate(encoded) if not one.rows]
        for number in lost:  # noise left no token of any labelled word
            encoded[number] = self.encode([texts[number]])[0]
        return Reads.of(encoded)

    def _noisy(self, text: LabelledText, language: str, draw: random.Random) -> LabelledText:
        first, words = self.noise.text(text.text, text.words, language, draw)
        second, *choices = self._each([text.second, *text.choices], language, draw)
        return LabelledText(first, second, text.label, [c or "" for c in choices], words, text.tags)

    def _each(
        self, texts: Sequence[str | None], language: str, draw: random.Random
    ) -> list[str | None]:
        return [
            None if one is None else self.noise.text(one, (), language, draw)[0] for one in texts
        ]
