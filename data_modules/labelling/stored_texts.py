"""The texts of windows on the disk, for what is made of them in every pass anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_modules.storing.store_files import reading
from data_modules.tasks.rows import LabelledText
from data_modules.tasks.task import Ints

_FILE = "texts.arrow"
_SCHEMA = pa.schema([("row", pa.large_string())])


class TextsWriter:
    """Writes rows, a part at a time.

    Args:
        folder: of the split.
    """

    def __init__(self, folder: Path) -> None:
        self._file = pa.OSFile(str(folder / _FILE), "wb")
        self._writer = pa.ipc.new_file(self._file, _SCHEMA)

    def add(self, texts: Sequence[LabelledText]) -> None:
        """Adds rows."""
        rows = [json.dumps([t.text, t.second, t.label, t.choices, t.words, t.tags]) for t in texts]
        self._writer.write_batch(pa.record_batch([pa.array(rows, pa.large_string())], _SCHEMA))

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()
        self._file.close()


class StoredTexts:
    """Rows by the number of their window, mapped into memory.

    Args:
        path: of the file.

    Raises:
        UserError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with reading(path.parent.parent):
            self._rows: Any = pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("row")

    def __reduce__(self) -> tuple[type[StoredTexts], tuple[Path]]:
        """A worker process maps the file again."""
        return StoredTexts, (self._path,)

    def __len__(self) -> int:
        return len(self._rows)

    @classmethod
    def there(cls, folder: Path) -> StoredTexts | None:
        """Those of a split, where they were kept."""
        path = folder / _FILE
        return cls(path) if path.is_file() else None

    def take(self, windows: Ints) -> list[LabelledText]:
        """The rows of these windows."""
        return [
            LabelledText(*json.loads(self._rows[number].as_py())) for number in windows.tolist()
        ]
