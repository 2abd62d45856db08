"""Cuts the vocabulary of a model and its tokenizer to what some languages use, and verifies it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

import data_modules as data_modules  # makes bare class names of data modules resolve
from data_modules import Corpus
from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import check_output, mark
from lit_distill.knobs import Count, check_knobs
from lit_distill.models import (
    LanguageModel,
    VocabularyMap,
    declare_separate,
    load_tokenizer,
    tokenizer_files,
    tokenizer_fingerprint,
    trim_model,
    trim_tokenizer,
    write_tokenizer_files,
)
from lit_distill.models.loading.pretrained import open_model
from lit_distill.models.vocabularies.closure import Closing
from lit_distill.models.vocabularies.token_ids import ids_in_configs
from lit_distill.tools.corpora.given_corpus import given_corpus
from lit_distill.tools.trimming import counting, verifying
from lit_distill.tools.trimming.counting import Language
from lit_distill.tools.trimming.measuring import Change, change, size_of
from lit_distill.tools.trimming.previewing import budgets, preview_budgets
from lit_distill.tools.trimming.reporting import (
    change_figure,
    console,
    language_table,
    size_table,
)
from lit_distill.tools.trimming.selections import LineFrequency, PieceSelection
from lit_distill.tools.trimming.subject import Subject, opened, tokenizer_of

KIND = "trimmed vocabulary"
_BESIDE = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")
"""Files of sentence encoders that say nothing of a vocabulary, as the folders of their modules."""


def trim_vocabulary(
    output: str,
    model: str,
    data: Corpus | None = None,
    selection: PieceSelection = LineFrequency(),  # noqa: B008 (frozen)
    languages: list[str] | None = None,
    files: dict[str, list[str]] | None = None,
    tokenizer: str | None = None,
    revision: str | None = None,
    held_out: Count = 500,
    preview: list[Count] | None = None,
) -> None:
    """Cuts the vocabulary of a model to what the texts of some languages use.

    A held-out text of kept pieces is cut as before and has the same hidden states, bit for bit, and
    the same logits. That is verified on the folder as it was written, before it is there.

    Args:
        output: the folder of model, tokenizer, vocabulary_map.json and trimming.json; there must be
            none.
        model: local folder or hub name: any model of the table, with or without a head.
        data: the corpus; take it from a file with `--config configs/data/....yaml`.
        selection: which pieces stay: LineFrequency, TokenFrequency or SizeBudget.
        languages: tags of the corpus to keep; all by default.
        files: instead of a corpus, files or globs by language: `--files.de='["de/*.txt"]'`.
        tokenizer: folder or hub name, where none is beside the model.
        revision: of the model on the hub.
        held_out: at most so many validation texts of each language are looked at.
        preview: instead, sizes of vocabularies: what each would cost is drawn, and nothing trimmed.

    Raises:
        UserError: something cannot be read or does not fit together, a language has no text, or the
            trimmed model is not the old one; nothing is written then.
    """
    check_knobs(trim_vocabulary, locals())
    folder = Path(output)
    check_new(folder)
    corpus = given_corpus(data, files)
    wanted = counting.wanted(corpus, languages)
    subject = opened(model, revision, tokenizer_of(model, revision, tokenizer))
    closing = Closing(subject.tokenizer, subject.rows, subject.named)
    rules = [selection] if preview is None else budgets(selection, preview)
    for rule in rules:
        rule.check(closing)
    read = counting.read(corpus, wanted, subject.tokenizer, selection.longer_than, held_out)
    if preview is not None:
        preview_budgets(folder, subject, read, closing, rules)
        return
    kept = closing.of(selection.choose([one.counts for one in read], closing))
    _trim(folder, subject, read, kept, selection)


def check_new(folder: Path, kind: str = KIND) -> None:
    """Refuses a place where something is: a trimmed model may have been trained since."""
    check_output(folder, kind=kind)
    if folder.exists():
        raise UserError(
            f"--output {folder} is there already, and nothing is overwritten: choose another "
            "folder, or move it away."
        )


def _trim(
    folder: Path,
    subject: Subject,
    read: Sequence[Language],
    kept: tuple[int, ...],
    selection: PieceSelection,
) -> None:
    """Trims, verifies, tells and writes; the model of `subject` is another afterwards."""
    old, model = subject.tokenizer, LanguageModel(subject.model)
    new = trim_tokenizer(old, kept, subject.rows)
    ids = VocabularyMap.between(kept, subject.rows, old, new)
    changes, whole = {}, {}
    for one in read:
        name, texts = one.counts.language, one.held_out
        changes[name] = change(name, texts, old, new, kept)
        whole[name] = verifying.whole_texts(name, texts, old, new, ids)
    before = {name: verifying.readings(model, own, ids, False) for name, own in whole.items()}
    sizes = {"before": size_of(subject.model, old, subject.dtype)}
    trim_model(subject.model, kept)
    sizes["after"] = size_of(subject.model, new, subject.dtype)
    with replacing(folder) as beside:
        beside.mkdir()
        write_model(beside, subject)
        write_tokenizer_files(beside, tokenizer_files(new))
        again = _reopened(beside, subject, ids)
        found = {
            name: verifying.agreement(
                name,
                changes[name].before.report.documents,
                len(own),
                before[name],
                verifying.readings(again, own, ids, True),
            )
            for name, own in whole.items()
        }
        ids.write(beside)
        figure = change_figure(changes, sizes["before"], sizes["after"])
        (beside / "trimming.png").write_bytes(figure)
        record = _record(subject, read, kept, selection, changes) | {
            "size": {name: asdict(size) for name, size in sizes.items()},
            "verified": verifying.as_json(found),
        }
        (beside / "trimming.json").write_text(strict_json.dumps(record, indent=1) + "\n", "utf-8")
        mark(beside, KIND)
    screen = console()
    screen.print(language_table(changes, found))
    screen.print(size_table(sizes))
    print(f"{len(kept):,} of {subject.rows:,} rows are kept: {folder}")


def write_model(folder: Path, subject: Subject) -> None:
    """Writes weights in the dtype that they had, and what a sentence encoder has beside them."""
    declare_separate(subject.model)
    shows_progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    subject.model.to(subject.dtype).save_pretrained(folder)
    if shows_progress:
        logging.enable_progress_bar()
    source = Path(subject.name).expanduser()
    for name in _BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    for module in source.glob("[0-9]_*/"):  # its pooling, or a layer behind it
        shutil.copytree(module, folder / module.name)


def _reopened(folder: Path, subject: Subject, ids: VocabularyMap) -> LanguageModel:
    """The model as it was written, by which it is judged.

    Raises:
        UserError: tokenizer or configs are not what was meant to be written.
    """
    tokenizer = load_tokenizer(str(folder))
    expected = VocabularyMap.between(ids.kept, ids.old_size, subject.tokenizer, tokenizer)
    if expected != ids:
        raise UserError(
            "The trimmed tokenizer is another one when it is opened from its files "
            f"({tokenizer_fingerprint(tokenizer)[:8]}). Nothing is written: please report it."
        )
    model = open_model(str(folder), None, torch.float32, needs_head=False)
    verifying.check_named_ids(subject.named, ids_in_configs(model, ids.size), ids)
    return LanguageModel(model)


def _record(
    subject: Subject,
    read: Sequence[Language],
    kept: tuple[int, ...],
    selection: PieceSelection,
    changes: Mapping[str, Change],
) -> dict[str, Any]:
    """What was trimmed by what; `trimming.json`."""
    return {
        "model": subject.name,
        "dtype": str(subject.dtype).removeprefix("torch."),
        "tokenizer": tokenizer_fingerprint(subject.tokenizer),
        "selection": {"class_path": type(selection).__name__, "init_args": asdict(selection)},
        "rows": {"before": subject.rows, "after": len(kept)},
        "counted": {one.counts.language: one.counts.texts for one in read},
        "languages": {name: one.as_json for name, one in changes.items()},
    }
