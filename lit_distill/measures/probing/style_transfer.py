"""How well models rewrite texts in another style: is it there, is it the same, is it fluent.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lit_distill.errors import UserError
from lit_distill.files.tables import columns_of
from lit_distill.knobs import Count, check_knobs
from lit_distill.measures.probing.asked import Asked
from lit_distill.measures.probing.guesses import Floats
from lit_distill.measures.probing.probe import Metrics, ModelProbe
from lit_distill.measures.probing.sentences import label_number, label_probabilities, vectors
from lit_distill.measures.probing.written import GREEDILY, Writing, written

MAX_LENGTH = 512


@dataclass(frozen=True)
class Judge:
    """A classifier and the label that it should give.

    Attributes:
        model: folder or hub name of a classifier of texts.
        label: its name for what is wanted, such as "neutral" or "acceptable".
    """

    model: str
    label: str


@dataclass(frozen=True)
class StyleTransferScores(ModelProbe):
    """How well a model rewrites texts: style, meaning, fluency, and all at once.

    `style` (STA) is the share of texts that the style classifier gives the wanted label, `meaning`
    (SIM) the mean cosine of source and text, negative ones counted as 0, and `fluency` (FL) the
    share that the fluency classifier accepts. `joint` (J) is the mean of the products of the three
    of each text, not the product of the means: a copy and an off-topic sentence do not make up for
    each other. `chrf` is against the references, 0 to 100, where there are some. All four are as
    good as the judges, which are models too; look at texts before believing them.

    Attributes:
        file: .jsonl, .csv or .parquet with a column of sources.
        style: the style classifier and its label.
        embedder: folder or hub name of a sentence encoder; mean pooling.
        fluency: the fluency classifier and its label.
        source: the column with the texts to be rewritten.
        reference: the column with how somebody rewrote them; None: there is none.
        prompt: what stands around a source, with {source}; of an encoder-decoder, usually nothing.
        writing: how texts are drawn.
        at_most: rows that are rewritten, from the first.

    Source: J as Dementieva et al. use it for detoxification (e.g. 2023, "Exploring Methods for
    Cross-lingual Text Style Transfer: The Case of Text Detoxification").

    Raises:
        UserError: a number cannot work, or the prompt has no place for the source.
    """

    file: str
    style: Judge
    embedder: str
    fluency: Judge
    source: str = "source"
    reference: str | None = None
    prompt: str = "{source}"
    writing: Writing = GREEDILY
    at_most: Count = 200

    def __post_init__(self) -> None:
        check_knobs(StyleTransferScores, vars(self))
        if "{source}" not in self.prompt:
            raise UserError(f"StyleTransferScores.prompt is {self.prompt!r}: it needs {{source}}.")

    def of(self, asked: Asked) -> Metrics:
        """See `ModelProbe.of`."""
        names = [self.source, *([self.reference] if self.reference else [])]
        columns = {name: own[: self.at_most] for name, own in columns_of(self.file, names).items()}
        for name, own in columns.items():
            if not all(isinstance(text, str) and text.strip() for text in own):
                raise UserError(f"The column {name!r} of {self.file} has rows without a text.")
        sources = columns[self.source]
        prompts = [self.prompt.replace("{source}", source) for source in sources]
        texts = written(asked, prompts, self.writing)
        found = style_transfer_metrics(
            _accepted(self.style, texts),
            self._meaning(sources, texts),
            _accepted(self.fluency, texts),
        )
        if self.reference:
            # Half a second, which only probes of written text need.
            from sacrebleu.metrics.chrf import CHRF

            found["chrf"] = CHRF().corpus_score(texts, [columns[self.reference]]).score
        return found

    def _meaning(self, sources: Sequence[str], texts: Sequence[str]) -> Floats:
        """Cosines (N,) of sources and texts; 0 of a text that is empty."""
        asked = Asked.opened(self.embedder, needs_head=False)
        ours, theirs = (
            vectors(asked, [text or "-" for text in own], "mean", MAX_LENGTH)
            for own in (texts, sources)
        )
        return np.where([bool(text) for text in texts], (ours * theirs).sum(-1), 0.0)


def style_transfer_metrics(style: Floats, meaning: Floats, fluency: Floats) -> Metrics:
    """The metrics of `StyleTransferScores` but chrF.

    Args:
        style: (N,) in [0, 1], of each text.
        meaning: (N,) cosines.
        fluency: (N,) in [0, 1].
    """
    meaning = np.clip(meaning, 0.0, 1.0)
    return {
        "joint": float((style * meaning * fluency).mean()),
        "style": float(style.mean()),
        "meaning": float(meaning.mean()),
        "fluency": float(fluency.mean()),
    }


def _accepted(judge: Judge, texts: Sequence[str]) -> Floats:
    """1 (N,) where a judge gives its label, else 0; 0 of a text that is empty."""
    asked = Asked.opened(judge.model)
    number = label_number(asked, judge.label)
    chosen = label_probabilities(asked, [text or "-" for text in texts], MAX_LENGTH).argmax(-1)
    return np.array(
        [float(bool(text) and best == number) for text, best in zip(texts, chosen, strict=True)]
    )
