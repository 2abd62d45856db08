"""What the project itself says while a run is built: warnings and notes that one could miss."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lit_distill.cli.preflight.findings import Finding

LOGGERS = ("lightning.pytorch", "lightning.fabric", "lit_distill")
ROOT = Path(__file__).parents[3]
OWN = tuple(str(ROOT / name) for name in ("lit_distill", "data_modules", "callbacks"))


class Heard:
    """Keeps what is logged or warned of from files of this project, as findings.

    What libraries say is left out: it is not about the run.
    """

    def __init__(self) -> None:
        self._stack, self._handler = ExitStack(), _Keep()

    def __enter__(self) -> Self:
        """Begins to listen."""
        self._warnings = self._stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        for logger in (logging.getLogger(name) for name in LOGGERS):
            before, propagates = logger.handlers[:], logger.propagate
            self._stack.callback(_restore, logger, before, propagates)
            logger.handlers, logger.propagate = [self._handler], False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._heard = [one for one in self._warnings or [] if one.filename.startswith(OWN)]
        self._stack.close()

    def findings(self) -> list[Finding]:
        """What was said, each once."""
        found = [Finding("warning", "said", " ".join(str(w.message).split())) for w in self._heard]
        found += [
            Finding("warning" if one.levelno >= logging.WARNING else "note", "said", text)
            for one in self._handler.records
            if one.pathname.startswith(OWN) and (text := " ".join(one.getMessage().split()))
        ]
        return list(dict.fromkeys(found))


class _Keep(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _restore(logger: logging.Logger, handlers: list[logging.Handler], propagates: bool) -> None:
    logger.handlers, logger.propagate = handlers, propagates
