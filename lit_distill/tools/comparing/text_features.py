"""Features of held-out text, by which `recommend` tells data sets apart."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from data_modules import Corpus
from lit_distill.batch import Batch, read_ids

SAMPLED = 32
"""Windows of a language whose letters are looked at."""


def features_of(batches: Sequence[Batch], data: Corpus) -> dict[str, float]:
    """Numbers about text: languages, scripts, windows, tokens, targets, lengths, code-mixing.

    Args:
        batches: all of the split.
        data: the corpus, for its tokenizer and the names of languages.
    """
    counted = Counter[str]()
    for batch in batches:
        counted.update(batch["counts"])
    windows = counted["sequences"]
    mixing: list[float] = []
    for batch in batches:
        levels: Tensor | None = dict(batch).get("mixing")  # type: ignore[assignment]
        mixing += [] if levels is None else [x for x in levels.tolist() if x >= 0]
    return {
        "languages": float(len({int(n) for batch in batches for n in batch["language"]})),
        "scripts": float(len(_scripts(batches, data))),
        "texts": float(windows),
        "tokens": float(counted["tokens"]),
        "targets": float(counted["rows"]),
        "mean_length": counted["tokens"] / max(windows, 1),
        "code_mixing": sum(mixing) / len(mixing) / 100 if mixing else 0.0,
        "vocabulary": float(len(data.tokenizer)),
    }


def _scripts(batches: Sequence[Batch], data: Corpus) -> set[str]:
    """The commonest script of each language's letters, by the names of Unicode."""
    letters: dict[int, Counter[str]] = {}
    seen = Counter[int]()
    for batch in batches:
        for language, ids in zip(batch["language"].tolist(), read_ids(batch), strict=True):
            if seen[language] < SAMPLED:
                seen[language] += 1
                text = data.tokenizer.decode(ids.tolist(), skip_special_tokens=True)
                names = (unicodedata.name(c, "?").split()[0] for c in text if c.isalpha())
                letters.setdefault(language, Counter()).update(names)
    return {own.most_common(1)[0][0] for own in letters.values() if own}
