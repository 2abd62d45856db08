"""The corpus that a command was given: by the config of a data module, or as files by language."""

from __future__ import annotations

from data_modules import Corpus, MultilingualCorpus, Source
from lit_distill.errors import UserError


def given_corpus(data: Corpus | None, files: dict[str, list[str]] | None) -> Corpus:
    """The corpus that the user gave.

    Args:
        data: by a config.
        files: instead, paths or globs by language.

    Raises:
        UserError: neither or both.
    """
    if (data is None) == (not files):
        raise UserError(
            "Give either a corpus (--config configs/data/....yaml) or --files.LANGUAGE."
        )
    if data is not None:
        return data
    return MultilingualCorpus([Source(tag, files=paths) for tag, paths in (files or {}).items()])
