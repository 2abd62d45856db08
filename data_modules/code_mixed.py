"""Code-mixed corpora: real text, made text, or both, with the languages of words in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.code_mixing.curriculum import Curriculum
from data_modules.code_mixing.mix_request import Mix
from data_modules.code_mixing.mixer import Mixer
from data_modules.corpus import Corpus
from data_modules.feeding.plan import Plan
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts, Source, resolve
from lit_distill.errors import UserError
from lit_distill.knobs import Seed, check_knobs

PADDING = 1.05
"""Positions per token, about, of which a pool's number of batches is reckoned."""


@dataclass(frozen=True, eq=False)
class MixReader(Reader):
    """One level of a mix, for training or for validation."""

    mixer: Mixer
    cmi: float
    validation: bool

    @property
    def name(self) -> str:
        """For people."""
        split = "validation" if self.validation else "training"
        return f"{self.mixer.mix.level(self.cmi)}, made, {split}"

    @property
    def stamp(self) -> str:
        """Of the mixer, the level and the split."""
        return f"{self.mixer.stamp} {self.cmi} {self.validation}"

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`: the made texts, and for training the rows that none is made of."""
        yield from self.mixer.made(self.cmi, self.validation)
        if not self.validation:
            yield from self.mixer.broken


class CodeMixedCorpus(Corpus):
    """Texts from `sources`, real and code-mixed or in one language, and text made by `mixes`.

    Words of made text have language tags, and those of sources that name `tags`; `batch` then has
    `token_language`, `target_languages`, `target_switched` and `mixing`. A mix of one level is the
    language of its name, one of several is a language for each, "hi-en@10"; a source may have the
    same name, its text then joins the made one.

    Args:
        mixes: what text is made; see `Mix`.
        sources: see `Source`.
        data_dir: where relative paths of mixes and sources start.
        mix_seed: of the made text.
        curriculum: let the mixing rise over the run; mixes then need several levels.
        corpus: see `Corpus`.
    """

    def __init__(
        self,
        mixes: list[Mix] = [],  # noqa: B006 (never changed)
        sources: list[Source] = [],  # noqa: B006
        data_dir: str = ".",
        mix_seed: Seed = 0,
        curriculum: Curriculum | None = None,
        **corpus: Any,
    ) -> None:
        check_knobs(CodeMixedCorpus, locals())
        super().__init__(**corpus)
        if not mixes and not sources:
            raise UserError("The corpus has neither mixes nor sources: set data.init_args.mixes.")
        names = [mix.name for mix in mixes]
        if len({*names}) < len(names):
            raise UserError(f"Two mixes have one name: {', '.join(names)}.")
        if curriculum is not None and not any(len(mix.cmi) > 1 for mix in mixes):
            raise UserError(
                "A curriculum goes through the levels of a mix, and none has several: give "
                "`cmi: [10, 20, 30]`."
            )
        self.mixes, self.sources, self.curriculum = mixes, sources, curriculum
        self.data_dir = Path(data_dir).expanduser()
        given = self.data_dir, mix_seed, self.holdout, self.excluded
        self._mixers = [Mixer(mix, *given) for mix in mixes]

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`."""
        real = resolve(self.sources, self.data_dir) if self.sources else []
        found = {texts.language: texts for texts in real}
        for mixer in self._mixers:
            for cmi in mixer.mix.cmi:
                name = mixer.mix.level(cmi)
                texts = found.setdefault(name, LanguageTexts(name, weight=mixer.mix.weight))
                texts.train.append(MixReader(mixer, cmi, validation=False))
                texts.validation.append(MixReader(mixer, cmi, validation=True))
        return [found[language] for language in sorted(found)]

    def plan(self) -> Plan:
        """The order of all training batches; with a curriculum, its shares change."""
        if self.curriculum is None:
            return super().plan()
        lengths, language = self.train.lengths, self.train.language
        shares = self.shares()
        sizes = np.maximum(np.array(self.train.windows_per_language()), 1)
        means = np.bincount(language, lengths, minlength=len(sizes)) / sizes
        tokens_per_window = shares.sum() / (shares / np.maximum(means, 1.0)).sum()
        batches = self.pool_size * tokens_per_window * PADDING / self.batch_tokens
        if self.trainer is not None:  # an update is so many batches
            batches /= self.trainer.accumulate_grad_batches * self.trainer.world_size
        table = self.curriculum.table(shares, self._levels(), batches)
        return Plan(lengths, language, table, self.batch_tokens, self.seed, self.pool_size)

    def _levels(self) -> list[list[int]]:
        """For every mix of several levels its languages' numbers, the lowest level first."""
        return [
            [self.languages.index(mix.level(cmi)) for cmi in sorted(mix.cmi)]
            for mix in self.mixes
            if len(mix.cmi) > 1
        ]
