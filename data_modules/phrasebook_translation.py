"""The phrasebook as prompts to translate, with the translations as responses; no download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, Literal

from data_modules.phrasebook import GENERATOR, phrasebook
from data_modules.phrasebook_text.sentences import Sentence, Split, check_language
from data_modules.prompting.form import PromptText
from data_modules.prompts import PromptCorpus
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts
from data_modules.text.templates import PromptTemplate
from lit_distill.errors import UserError
from lit_distill.knobs import Count, Seed, check_knobs

HeldOut = Literal["sentences", "words"]
NAMES = {
    "en": "English",
    "hi": "Hindi",
    "hi-Latn": "romanised Hindi",
    "bn": "Bangla",
    "bn-Latn": "romanised Bangla",
    "es": "Spanish",
    "de": "German",
    "hi-en": "Hinglish",
    "bn-en": "Banglish",
    "bn-hi-en": "Bangla, Hindi and English mixed",
}
"""What the languages and mixes are called in prompts."""
FIELDS = ("text", "source", "target")


@dataclass(frozen=True)
class TranslationReader(Reader):
    """Sentences of one split in one language, each with its translation into another.

    Attributes:
        pair: source and target language.
        split: of the corpus.
        sizes: training sentences, and those of validation, as many as of testing.
        held_out: see `PhrasebookTranslation`.
        seed: of the phrasebook.
        prompt: template.
    """

    pair: tuple[str, str]
    split: Split
    sizes: tuple[int, int]
    held_out: HeldOut
    seed: int
    prompt: PromptTemplate

    @property
    def name(self) -> str:
        """For people."""
        return f"phrasebook {'>'.join(self.pair)} {self.split}"

    @property
    def stamp(self) -> str:
        """What is asked of the generator, and the text of its files."""
        digest = blake2b(phrasebook(self.seed).book.source.encode("utf-8"), digest_size=16)
        return f"{self} {GENERATOR} {digest.hexdigest()}"

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`; nothing is ever broken."""
        source, target = self.pair
        names = {"source": NAMES[source], "target": NAMES[target]}
        for text, translation in zip(self._said(source), self._said(target), strict=True):
            prompt = self.prompt({**names, "text": text.text}, target)
            yield PromptText(prompt, translation.text, text.text)

    def _said(self, language: str) -> list[Sentence]:
        book, (training, measured) = phrasebook(self.seed), self.sizes
        if self.held_out == "words":
            count = training if self.split == "train" else measured
            return book.sentences(language, self.split, count)
        every = book.sentences(language, "train", training + 2 * measured)
        # Measured ones first: more training sentences then change none of them.
        starts = {"validation": 0, "test": measured, "train": 2 * measured}
        stops = {"validation": measured, "test": 2 * measured, "train": len(every)}
        return every[starts[self.split] : stops[self.split]]


class PhrasebookTranslation(PromptCorpus):
    """Everyday sentences to translate; `batch["language"]` is the pair, "en>hi".

    Training, validation and test sentences differ in the source language. A sentence is in the same
    split in every pair.

    Args:
        source: language of the prompts: en, hi, hi-Latn, bn, bn-Latn, es, de, or a mix.
        targets: languages of the responses, mixes (hi-en, bn-en, bn-hi-en) among them.
        prompt: template with `{text}`, and the names of the languages as `{source}` and `{target}`.
        held_out: `sentences`: new combinations of known templates and words. `words`: templates and
            words that training never shows; those words have translations that nobody can know.
        sentences_per_language: different training sentences.
        validation_sentences: for each pair, and as many for testing.
        phrasebook_seed: of the sentences and of what is held out.
        prompts: see `PromptCorpus`.
    """

    licence: ClassVar[str] = "apache-2.0"  # our own text, as the rest of the project

    def __init__(
        self,
        source: str = "en",
        targets: list[str] = ["hi", "bn", "es", "de", "hi-en"],  # noqa: B006 (never changed)
        prompt: str = "{source} to {target}: {text}\n",
        held_out: HeldOut = "sentences",
        sentences_per_language: Count = 5_000,
        validation_sentences: Count = 500,
        phrasebook_seed: Seed = 0,
        **prompts: Any,
    ) -> None:
        check_knobs(PhrasebookTranslation, locals())
        super().__init__(sources=[], data_dir=".", **prompts)
        for language in (source, *targets):
            check_language(language)
        if source in targets or not targets:
            raise UserError(
                f"{source} cannot be translated into {', '.join(targets) or 'nothing'}."
            )
        wording = PromptTemplate(prompt)
        odd = [column for column in wording.columns if column not in FIELDS]
        if odd or "text" not in wording.columns:
            raise UserError(
                f"The template {prompt!r} needs {{text}}, may have {{source}} and {{target}}, and "
                f"has {', '.join(wording.columns) or 'nothing'}."
            )
        sizes = sentences_per_language, validation_sentences

        def reader(target: str, split: Split) -> list[Reader]:
            given = (source, target), split, sizes, held_out, phrasebook_seed, wording
            return [TranslationReader(*given)]

        self._texts = [
            LanguageTexts(
                f"{source}>{target}",
                train=reader(target, "train"),
                validation=reader(target, "validation"),
                test=reader(target, "test"),
            )
            for target in sorted(set(targets))
        ]

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`."""
        return self._texts
