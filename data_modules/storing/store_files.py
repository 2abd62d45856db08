"""Reading the files of a tokenised corpus: each is what it should be, or the corpus is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lit_distill.errors import UserError


@contextmanager
def reading(corpus: Path) -> Iterator[None]:
    """Takes errors of all kinds for damage.

    Args:
        corpus: the folder of all its splits.

    Raises:
        UserError: something in it cannot be read, or is no such thing.
    """
    try:
        yield
    except UserError:
        raise
    except (  # of files, JSON and Arrow
        *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError),
        *(RecursionError, OverflowError, MemoryError, pa.ArrowException),
        *(SyntaxError, TokenError),  # of the header of a .npy file
    ) as error:
        reason = str(error) or type(error).__name__
        raise UserError(
            f"The tokenised corpus in {corpus} is damaged ({reason}): delete it and start again; "
            "it will be made anew."
        ) from error


def names_of(path: Path) -> list[str]:
    """The list of texts in a JSON file.

    Raises:
        ValueError: it is none.
    """
    names = json.loads(path.read_text("utf-8"))
    require(isinstance(names, list) and all(isinstance(one, str) for one in names), path)
    return list(names)


def array_of(path: Path, dtype: Any, dimensions: int, mapped: bool = False) -> NDArray[Any]:
    """The array in a .npy file.

    Raises:
        ValueError: it has another type or other dimensions.
    """
    found: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    require(found.dtype == dtype and found.ndim == dimensions, path)
    return found


def require(sound: bool, path: Path) -> None:
    """Checks what a file holds.

    Raises:
        ValueError: it does not hold what it should.
    """
    if not sound:
        raise ValueError(f"{path.name} of {path.parent.name} does not hold what it should")
