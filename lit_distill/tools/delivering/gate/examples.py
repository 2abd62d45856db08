"""Held texts as what a model reads, alone and in padded batches.

Shapes: B texts, T positions, C choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.phrasebook import phrasebook
from data_modules.phrasebook_text.sentences import SPOKEN
from data_modules.reading.readers import FileReader
from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, Predicted, start_id
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable

Ints = NDArray[np.int64]
Example = dict[str, Ints]
"""What is read of one text, by input: (T,), of choices (C, T)."""

EDGES = "one token, longest"
"""The row of lengths at which exported shapes break."""
_PHRASEBOOK_SEED = 0


def held_texts(files: Mapping[str, str], count: int) -> dict[str, list[str]]:
    """The first texts of every language.

    Args:
        files: text (a line each), jsonl, csv or parquet, by language; nothing: the embedded
            phrasebook's validation sentences in its ten languages and mixes.
        count: of each language.

    Raises:
        UserError: a file cannot be read or has no text.
    """
    if not files:
        book = phrasebook(_PHRASEBOOK_SEED)
        return {one: [s.text for s in book.sentences(one, "validation", count)] for one in SPOKEN}
    found = {}
    for language, path in files.items():
        if not Path(path).is_file():
            raise UserError(f"--texts.{language}: there is no file {path}.")
        texts = [row for row in FileReader(Path(path)).rows() if isinstance(row, str)]
        texts = list(dict.fromkeys(text for text in texts if text.strip()))[:count]
        if not texts:
            raise UserError(
                f"--texts.{language}: {path} has no row with text, so the export cannot be "
                "compared with its model: give a file of lines, or of rows with a column `text`."
            )
        found[language] = texts
    return found


def read(what: Deliverable, texts: Sequence[str], longest: int | None = None) -> list[Example]:
    """What a model reads of texts; of pairs and choices, each with those behind it.

    Args:
        what: reads.
        texts: of one language.
        longest: most tokens of a text; None: what the model allows.
    """
    following = [*texts[1:], *texts][: len(texts)], [*texts[2:], *texts, *texts][: len(texts)]
    most = longest or what.max_length
    if what.anatomy.predicts == Predicted.CHOICES:
        pairs = [
            [_ids(what, (t, a), most), _ids(what, (t, b), most)]
            for t, a, b in zip(texts, *following, strict=True)
        ]
        return [padded(pair, what.padding) for pair in pairs]
    if what.anatomy.predicts == Predicted.SPANS and most > 4:
        return [_ids(what, (t, a), most) for t, a in zip(texts, following[0], strict=True)]
    found = [_ids(what, (text,), most) for text in texts]
    if "decoder_input_ids" in what.inputs:
        start = start_id(LanguageModel(what.model))
        for one in found:
            one["decoder_input_ids"] = np.array([start, *one["input_ids"][:-1]], np.int64)
    return found


def edges(what: Deliverable, texts: Sequence[str]) -> list[Example]:
    """Examples of one token, of two, and of as many as the model (or the gate) reads."""
    (longest,) = read(what, [" ".join(texts)[: 40 * what.max_length] * 8])[:1]
    return [*(cut(longest, length) for length in (1, 2)), longest]


def cut(example: Example, length: int) -> Example:
    """The first tokens of an example."""
    return {name: values[..., :length] for name, values in example.items()}


def _ids(what: Deliverable, parts: tuple[str, ...], most: int) -> Example:
    encoded = what.tokenizer(*parts, truncation=True, max_length=most, padding=False)
    ids = encoded["input_ids"] or [what.padding]
    found = {"input_ids": np.array(ids, np.int64), "attention_mask": np.ones(len(ids), np.int64)}
    if "token_type_ids" in what.inputs:
        types = encoded.get("token_type_ids") or [0] * len(ids)
        found["token_type_ids"] = np.array(types, np.int64)
    return found


def padded(examples: Sequence[Example], padding: int, left: bool = False) -> Example:
    """A batch, by input: (B, T), of choices (B, C, T).

    Args:
        examples: of one or several texts.
        padding: the id at positions that are none.
        left: whether these come first.
    """
    batch = {}
    for name in examples[0]:
        length = max(one[name].shape[-1] for one in examples)
        value = padding if name.endswith("input_ids") else 0
        rows = []
        for one in examples:
            short = length - one[name].shape[-1]
            side = (short, 0) if left else (0, short)
            borders = [(0, 0)] * (one[name].ndim - 1) + [side]
            rows.append(np.pad(one[name], borders, constant_values=value))
        batch[name] = np.stack(rows)
    return batch


def batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """Examples, some at a time; what is left over comes last."""
    for start in range(0, len(examples), size):
        yield examples[start : start + size]
