"""Texts out of datasets on the Hugging Face hub, or of folders in the same format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from data_modules.reading.cells import Cell, Row, column_number, column_texts
from data_modules.reading.file_kinds import check_dataset, file_stamp
from data_modules.reading.readers import ROWS_AT_ONCE, Reader
from lit_distill.errors import UserError
from lit_distill.models.loading.hub import (
    FIRST_ASK,
    Patience,
    answer_within,
    outage,
    patience,
    refusal,
)

STREAMING = Patience(busy=60.0, silent=60.0)
"""For a stream that runs: what was read already would be lost."""

REMEDY = (
    "Check the name, the configuration and the split; HF_HUB_OFFLINE=1 takes what was downloaded "
    "before; or give local files (`files:`)."
)


@dataclass(frozen=True)
class HubReader(Reader):
    """One split of a dataset on the hub, or of a local folder in the same format.

    Attributes:
        dataset: hub name or folder.
        config: name of the configuration (often a language).
        split: "train", or a slice such as "train[:1%]" (not with streaming).
        revision: branch, tag or commit; pin it for runs that others should repeat.
        column: the column with the text.
        streaming: read over the network instead of downloading first. Folders are always streamed:
            the dataset library would write a second copy of them.
        limit: read at most so many rows.
        cell: what is taken of the column.
    """

    dataset: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    column: str = "text"
    streaming: bool = False
    limit: int | None = None
    cell: Cell = field(default=Cell.TEXT, repr=False)  # not in the stamps of what was read before

    @property
    def name(self) -> str:
        """Name, configuration and split."""
        return " ".join(part for part in (self.dataset, self.config, self.split) if part)

    @property
    def stamp(self) -> str:
        """All that was asked for, and of a folder the stamp of every file.

        A branch that moves on the hub is not noticed: pin the revision.
        """
        files = sorted(path for path in Path(self.dataset).rglob("*") if path.is_file())
        return repr((self, [(str(path), file_stamp(path)) for path in files]))

    def rows(self) -> Iterator[Row]:
        """See `Reader.rows`."""
        return islice(self._rows(), self.limit)

    def _rows(self) -> Iterator[Row]:
        table = self._open()
        if table.column_names is not None:
            column_number(self.name, self.column, table.column_names)
        parts = table.select_columns(self.column).with_format("arrow").iter(ROWS_AT_ONCE)
        columns = (part.column(self.column).combine_chunks() for part in parts)
        yield from column_texts(self.name, self._watched(columns), self.cell)

    def _open(self) -> Any:
        from datasets import load_dataset

        folder = Path(self.dataset).is_dir()
        if folder:
            check_dataset(Path(self.dataset))
        else:
            self._check_reachable()
        try:
            with patience():
                return load_dataset(
                    self.dataset,
                    self.config,
                    split=self.split,
                    revision=self.revision,
                    streaming=self.streaming or (folder and "[" not in self.split),
                )
        except Exception as error:  # the library lets the errors of a dozen others through
            raise UserError(self._explain("could not be opened", error)) from error

    def _watched(self, columns: Iterator[Any]) -> Iterator[Any]:
        """The same columns; what a network or a broken file raises between them is explained."""
        while True:
            try:
                with patience(STREAMING):
                    column = next(columns, None)
            except Exception as error:  # as above
                raise UserError(self._explain("broke off", error)) from error
            if column is None:
                return
            yield column

    def _check_reachable(self) -> None:
        """Asks the hub once, within seconds.

        Raises:
            UserError: there is no such dataset or revision, or no answer.
        """
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            return
        try:
            with patience(FIRST_ASK):
                HfApi().dataset_info(self.dataset, revision=self.revision, timeout=answer_within())
        except Exception as error:  # the HTTP client's own errors differ between versions
            raise UserError(self._explain("was not found on the hub", error)) from error

    def _explain(self, what: str, error: Exception) -> str:
        if refused := refusal(error, "dataset", self.dataset, self.revision):
            return refused
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = outage(error) or (lines[0] if lines else type(error).__name__)
        return f"The dataset {self.name} {what}: {reason.removesuffix('.')}. {REMEDY}"
