"""Gives the vocabulary of a model and its tokenizer pieces for some languages, and verifies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus
from data_modules.text.markers import engine
from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import mark
from lit_distill.knobs import Count, check_knobs
from lit_distill.models import (
    LanguageModel,
    VocabularyMap,
    load_tokenizer,
    tokenizer_files,
    tokenizer_fingerprint,
    write_tokenizer_files,
)
from lit_distill.models.loading.pretrained import open_model
from lit_distill.models.vocabularies.growing.finding import find_pieces
from lit_distill.models.vocabularies.growing.model_growing import check_tables, grow_model
from lit_distill.models.vocabularies.growing.new_piece import Growth
from lit_distill.models.vocabularies.growing.record import VocabularyGrowth
from lit_distill.models.vocabularies.growing.tokenizer_growing import (
    grow_tokenizer,
    growable_parts,
)
from lit_distill.tools.corpora.given_corpus import given_corpus
from lit_distill.tools.growing import verifying
from lit_distill.tools.growing.reading import Read, read
from lit_distill.tools.growing.reporting import change_as_json, language_table
from lit_distill.tools.trimming.counting import wanted
from lit_distill.tools.trimming.measuring import Change, change, size_of
from lit_distill.tools.trimming.reporting import change_figure, console, size_table
from lit_distill.tools.trimming.subject import Subject, opened, tokenizer_of
from lit_distill.tools.trimming.trim_vocabulary import check_new, write_model
from lit_distill.tools.trimming.verifying import Reading, readings

KIND = "grown vocabulary"


def grow_vocabulary(
    output: str,
    model: str,
    languages: list[str],
    pieces: Count,
    data: Corpus | None = None,
    files: dict[str, list[str]] | None = None,
    tokenizer: str | None = None,
    revision: str | None = None,
    held_out: Count = 500,
) -> None:
    """Gives a model pieces for languages that its tokenizer cuts to bits.

    A text without a new piece is cut as before, and old ids have the same hidden states, bit for
    bit, and the same logits: verified on the folder as it was written, before it is there. The row
    of a new piece is the mean of the rows of the old pieces into which it was cut.

    Args:
        output: the new folder of model, tokenizer, vocabulary_growth.json and growing.json.
        model: local folder or hub name: any model of the table, with or without a head.
        languages: tags of the corpus that get pieces; of others held-out texts are looked at.
        pieces: how many to add, at most: fewer where the texts have no more that occur twice.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        files: instead of a corpus, files or globs by language: `--files.bn='["bn/*.txt"]'`.
        tokenizer: folder or hub name, where none is beside the model.
        revision: of the model on the hub.
        held_out: at most so many validation texts of each language are looked at.

    Raises:
        UserError: something cannot be read or does not fit, a language has no text or nothing to
            gain, or the grown model is not the old one; nothing is written then.
    """
    check_knobs(grow_vocabulary, locals())
    folder = Path(output)
    check_new(folder, KIND)
    corpus = given_corpus(data, files)
    texts = wanted(corpus, languages)
    own = tokenizer_of(model, revision, tokenizer, growable_parts)
    subject = opened(model, revision, own)
    check_tables(subject.model, max(own.get_vocab().values()) + 1)
    found = read(corpus, texts, own, held_out)
    growth = find_pieces(engine(own), own.get_vocab(), found.words, pieces)
    if not growth.pieces:
        raise UserError(
            f"Nothing is to gain in {', '.join(languages)}: no two pieces that the tokenizer knows "
            "stand beside each other twice inside of words. Give more text, or keep the tokenizer."
        )
    _grow(folder, subject, found, growth)
    if len(growth.pieces) < pieces:
        print(f"{pieces:,} pieces were asked for: the texts have no more that save tokens")


def _grow(folder: Path, subject: Subject, found: Read, growth: Growth) -> None:
    """Grows, verifies, tells and writes; the model of `subject` is another afterwards."""
    old, new = subject.tokenizer, grow_tokenizer(subject.tokenizer, growth)
    before, after = engine(old), engine(new)
    verifying.check_reachable(after, growth.pieces)
    cuts = {
        name: verifying.check_cuts(name, texts, before, after, growth.pieces)
        for name, texts in found.held_out.items()
    }
    changes = {
        name: change(name, texts, old, new, old.get_vocab().values())
        for name, texts in found.held_out.items()
    }
    record = VocabularyGrowth.between(old, new, subject.rows, growth.pieces)
    asked = VocabularyMap.between(tuple(range(record.old_tokens)), subject.rows, old, new)
    read_before = _readings(LanguageModel(subject.model), cuts, asked)
    sizes = {"before": size_of(subject.model, old, subject.dtype)}
    grow_model(subject.model, record.old_tokens, growth.pieces)
    sizes["after"] = size_of(subject.model, new, subject.dtype)
    with replacing(folder) as beside:
        beside.mkdir()
        write_model(beside, subject)
        write_tokenizer_files(beside, tokenizer_files(new))
        again = _reopened(beside, subject, record, growth)
        read_after = _readings(again, cuts, asked)
        agreements = {
            name: verifying.agreement(
                name, len(found.held_out[name]), cuts[name][0], read_before[name], own
            )
            for name, own in read_after.items()
        }
        record.write(beside)
        figure = change_figure(changes, sizes["before"], sizes["after"])
        (beside / "growing.png").write_bytes(figure)
        told = _told(subject, found, record, changes) | {
            "size": {name: asdict(size) for name, size in sizes.items()},
            "verified": {name: asdict(one) for name, one in agreements.items()},
        }
        (beside / "growing.json").write_text(strict_json.dumps(told, indent=1) + "\n", "utf-8")
        mark(beside, KIND)
    screen = console()
    screen.print(language_table(changes, agreements, found.texts))
    screen.print(size_table(sizes))
    print(f"{len(growth.pieces):,} pieces are new, behind {record.old_tokens:,}: {folder}")


def _readings(
    model: LanguageModel, cuts: dict[str, tuple[int, list[list[int]]]], asked: VocabularyMap
) -> dict[str, list[Reading]]:
    """What a model makes of the old ids of texts, by language; it is asked about old rows alone."""
    return {name: readings(model, texts, asked, trimmed=False) for name, (_, texts) in cuts.items()}


def _reopened(
    folder: Path, subject: Subject, record: VocabularyGrowth, growth: Growth
) -> LanguageModel:
    """The model as it was written, by which it is judged.

    Raises:
        UserError: the tokenizer is not what was meant to be written.
    """
    tokenizer = load_tokenizer(str(folder))
    expected = VocabularyGrowth.between(subject.tokenizer, tokenizer, subject.rows, growth.pieces)
    if expected != record:
        raise UserError(
            "The grown tokenizer is another one when it is opened from its files "
            f"({tokenizer_fingerprint(tokenizer)[:8]}). Nothing is written: please report it."
        )
    return LanguageModel(open_model(str(folder), None, torch.float32, needs_head=False))


def _told(
    subject: Subject, found: Read, record: VocabularyGrowth, changes: Mapping[str, Change]
) -> dict[str, Any]:
    """What grew by what; `growing.json`."""
    return {
        "model": subject.name,
        "dtype": str(subject.dtype).removeprefix("torch."),
        "tokenizer": tokenizer_fingerprint(subject.tokenizer),
        "pieces": len(record.pieces),
        "rows": {"before": subject.rows, "after": record.old_tokens + len(record.pieces)},
        "learnt_from": found.texts,
        "languages": {name: change_as_json(one) for name, one in changes.items()},
    }
