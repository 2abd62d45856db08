"""Vocabularies of tiny models, cut to some of their pieces."""

from __future__ import annotations

import random
from pathlib import Path

from transformers import AutoConfig

from lit_distill.models import (
    TeacherSpec,
    VocabularyMap,
    closure,
    load_tokenizer,
    trim_model,
    trim_tokenizer,
)


def trimmed_vocabulary(model: Path, folder: Path, share: float = 0.5) -> VocabularyMap:
    """Writes a vocabulary of a share of a model's pieces, drawn at random, as a tool would."""
    tokenizer = load_tokenizer(str(model))
    pieces = sorted(tokenizer.get_vocab().values())
    drawn = random.Random(5).sample(pieces, int(share * len(pieces)))
    kept = closure(tokenizer, drawn)
    new = trim_tokenizer(tokenizer, kept)
    rows = AutoConfig.from_pretrained(model).vocab_size
    found = VocabularyMap.between(kept, rows, tokenizer, new)
    folder.mkdir(parents=True)
    new.save_pretrained(folder)
    found.write(folder)
    return found


def trimmed_folder(model: Path, vocabulary: Path, folder: Path) -> None:
    """Writes the model itself cut to a vocabulary, with its tokenizer."""
    whole = TeacherSpec(str(model)).build().model
    trim_model(whole, VocabularyMap.read(vocabulary).kept)
    whole.save_pretrained(folder)
    load_tokenizer(str(vocabulary)).save_pretrained(folder)
