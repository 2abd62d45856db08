"""Progress of tokenising."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from data_modules.reading.readers import Reader


class TokenisingBar:
    """Progress by bytes of text where files say their size, else by tokens only."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        total = sum(reader.size for reader in readers)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[tokens]:,} tokens"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("Tokenising", total=total or None, tokens=0)
        self._tokens, self._finished = 0, 0

    def __enter__(self) -> TokenisingBar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def advance(self, texts: Sequence[tuple[int, str]], tokens: int, language: str) -> None:
        """Shows what was just tokenised."""
        self._tokens += tokens
        size = sum(len(text.encode("utf-8")) + 1 for _, text in texts)
        self._progress.update(
            self._task, advance=size, tokens=self._tokens, description=f"Tokenising {language}"
        )

    def finish(self, reader: Reader) -> None:
        """A file is done: what it really had in bytes, whatever its format, counts now."""
        self._finished += reader.size
        self._progress.update(self._task, completed=self._finished)
