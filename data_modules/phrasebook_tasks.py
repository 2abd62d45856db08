"""The embedded default for labelled tasks: what the phrasebook knows of its sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar, Literal

from data_modules.labelled import LabelledCorpus
from data_modules.phrasebook import GENERATOR, phrasebook
from data_modules.phrasebook_text.grammar import TOKEN
from data_modules.phrasebook_text.sentences import SPOKEN, Sentence, Split, check_language
from data_modules.reading.readers import Broken, Reader
from data_modules.reading.sources import LanguageTexts
from data_modules.tasks.rows import LabelledText
from data_modules.tasks.text_tasks import Classification
from data_modules.tasks.word_tasks import TokenLabels
from lit_distill.errors import UserError
from lit_distill.knobs import Count, Seed, check_knobs

Asked = Literal["topic", "sentiment", "entities"]
HeldOut = Literal["both", "templates", "words"]


@dataclass(frozen=True)
class TaskReader(Reader):
    """Sentences of one language and split with their labels.

    Attributes:
        task: which label.
        language: of the sentences.
        split: of the phrasebook.
        count: so many sentences.
        held_out: see `PhrasebookTasks`.
        seed: of the phrasebook.
    """

    task: Asked
    language: str
    split: Split
    count: int
    held_out: HeldOut
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"phrasebook {self.task} {self.language} {self.split}"

    @property
    def stamp(self) -> str:
        """What is asked of the generator, and the text of its files."""
        digest = blake2b(phrasebook(self.seed).book.source.encode("utf-8"), digest_size=16)
        return f"{self} {GENERATOR} {digest.hexdigest()}"

    def rows(self) -> Iterator[str | Broken]:
        """See `Reader.rows`: every row is a `LabelledText`; nothing is ever broken."""
        for sentence in self._sentences():
            if self.task == "entities":
                yield tagged(sentence)
            else:
                yield LabelledText(sentence.text, None, getattr(sentence, self.task))

    def _sentences(self) -> list[Sentence]:
        """The first `count` of the split, or of the half of it that is asked for."""
        book = phrasebook(self.seed)
        if self.split == "train" or self.held_out == "both":
            return book.sentences(self.language, self.split, self.count)
        both = book.sentences(self.language, self.split, 2 * self.count)  # which take turns
        wanted = self.held_out == "templates"
        return [one for one in both if (one.template in book.held_out_templates) == wanted]


def tagged(sentence: Sentence) -> LabelledText:
    """A sentence with the tags of its words in IOB2: B-PLACE I-PLACE O.

    A word belongs to the entity in which it begins: what is glued to a name ("Clara's") does too.
    """
    words, tags, before = [], [], None
    for match in TOKEN.finditer(sentence.text):
        found = [one for one in sentence.entities if one[0] <= match.start() < one[1]]
        entity = found[0] if found else None
        words.append(match.span())
        tags.append(f"{'I' if entity == before else 'B'}-{entity[2]}" if entity else "O")
        before = entity
    return LabelledText(sentence.text, None, "", words=words, tags=tags)


class PhrasebookTasks(LabelledCorpus):
    """Topic, sentiment or entities of sentences in seven languages and three mixes; no download.

    Splits are those of `PhrasebookCorpus` with the same seed: what a model read there in training
    is in no validation or test sentence here, in any language. Of languages that are not trained on
    there are test sentences alone, so that nothing is chosen by them either.

    Args:
        task: `topic` (12 labels of texts), `sentiment` (3), or `entities` (persons, places and
            events, a tag in IOB2 for each word).
        languages: among en, hi, hi-Latn, bn, bn-Latn, es, de and the mixes hi-en, bn-en, bn-hi-en.
        train_languages: those that are trained on and selected by; None: all.
        sentences_per_language: different training sentences of each.
        validation_sentences: of each, and as many for testing.
        held_out: what is new in validation and test sentences, by turns: a template, or one word;
            or one of the two alone.
        phrasebook_seed: of the sentences and of what is held out.
        labelled: see `LabelledCorpus`.
    """

    licence: ClassVar[str] = "apache-2.0"  # our own text, as the rest of the project

    def __init__(
        self,
        task: Asked = "topic",
        languages: list[str] = list(SPOKEN),  # noqa: B006 (never changed)
        train_languages: list[str] | None = None,
        sentences_per_language: Count = 2_000,
        validation_sentences: Count = 500,
        held_out: HeldOut = "both",
        phrasebook_seed: Seed = 0,
        **labelled: Any,
    ) -> None:
        check_knobs(PhrasebookTasks, locals())
        kind = TokenLabels() if task == "entities" else Classification()
        super().__init__(sources=[], data_dir=".", task=kind, **labelled)
        trained = languages if train_languages is None else train_languages
        _check(languages, trained)
        counts: dict[Split, int] = {
            "train": sentences_per_language,
            "validation": validation_sentences,
            "test": validation_sentences,
        }

        def readers(language: str, split: Split) -> list[Reader]:
            if split != "test" and language not in trained:
                return []
            given = task, language, split, counts[split], held_out, phrasebook_seed
            return [TaskReader(*given)]

        self._texts = [
            LanguageTexts(
                language,
                train=readers(language, "train"),
                validation=readers(language, "validation"),
                test=readers(language, "test"),
            )
            for language in sorted(set(languages))
        ]

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`; every text is a `LabelledText`."""
        return self._texts


def _check(languages: Sequence[str], trained: Sequence[str]) -> None:
    """Stops where nothing can be trained, or a language is unknown.

    Raises:
        UserError: with what there is.
    """
    for language in languages:
        check_language(language)
    unknown = [language for language in trained if language not in languages]
    if unknown or not trained:
        raise UserError(
            f"train_languages has {', '.join(unknown) or 'no language'}, and the task's languages "
            f"are {', '.join(languages) or 'none'}: train on some of them, or leave "
            "train_languages out to train on all."
        )
