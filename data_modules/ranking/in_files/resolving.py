"""From `sources` of a config to collections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_modules.ranking.collection import Collection
from data_modules.ranking.in_files.folder import Folder
from data_modules.ranking.in_files.rows import Rows
from data_modules.ranking.in_files.sources import RetrievalSource
from lit_distill.errors import UserError


def resolve_retrieval(sources: Sequence[RetrievalSource], root: Path) -> list[Collection]:
    """The collections of all sources.

    Raises:
        UserError: there is none, one is contradictory, or its files are not there.
    """
    if not sources:
        raise UserError("There are no retrieval sources: set data.init_args.sources.")
    filled = [source.filled(root) for source in sources]
    return [Rows(one, root) if one.of_rows else Folder(one, root) for one in filled]
