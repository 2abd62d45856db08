"""A tokenizer as the text of its files, as checkpoints carry it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from lit_distill.files.file_names import check_file_name
from lit_distill.files.scratch import in_scratch
from lit_distill.models.loading.tokenizers import load_tokenizer


def tokenizer_files(
    tokenizer: PreTrainedTokenizerFast, beside: Path | None = None
) -> dict[str, str]:
    """The text of the files that `save_pretrained` writes, by name.

    A name has a folder in it where there are several chat templates. For `beside` see `in_scratch`.
    """

    def saved(folder: Path) -> dict[str, str]:
        tokenizer.save_pretrained(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}

    return in_scratch(saved, beside)


def tokenizer_from_files(
    files: dict[str, str], beside: Path | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer of `tokenizer_files`; asks no network. For `beside` see `in_scratch`."""

    def opened(folder: Path) -> PreTrainedTokenizerFast:
        write_tokenizer_files(folder, files)
        return load_tokenizer(str(folder))

    return in_scratch(opened, beside)


def write_tokenizer_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the files of `tokenizer_files` into a folder.

    Raises:
        UserError: a name leads out of the folder.
    """
    names = [check_file_name(name, "The tokenizer", folders=True) for name in files]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(files[name], "utf-8")
