"""Bugs that keep something from a logger."""

from __future__ import annotations

from planted.mutant import Mutant

BOARDS_TEST = "tests/callbacks/reports/test_boards.py"

LOGGERS = (
    Mutant(
        "a table of numbers has no figures beside it",
        "callbacks/reports/boards.py",
        "        return Folder(Path(logger.log_dir))\n",
        "        return None\n",
        f"{BOARDS_TEST} -k every_logger",
    ),
    Mutant(
        "a tracker on the web has no figures",
        "callbacks/reports/boards.py",
        "if all(map(callable, able)) else None",
        "if not any(map(callable, able)) else None",
        f"{BOARDS_TEST} -k every_logger",
    ),
    Mutant(
        "a language of a file leads out of the folder of a logger",
        "callbacks/reports/boards.py",
        '_NO_NAME.sub("_", part) or "_"',
        "part",
        f"{BOARDS_TEST} -k leads_out",
    ),
    Mutant(
        "no run without a logger",
        "lit_distill/cli/training.py",
        'if config["logger"] is False and',
        'if config["logger"] is None and',
        "tests/lit_distill/cli/test_loggers.py -k no_logger",
    ),
    Mutant(
        "hyper-parameters log a made-up loss",
        "callbacks/watching/hyperparameters.py",
        "        if isinstance(logger, TensorBoardLogger):\n",
        "        if isinstance(logger, TensorBoardLogger):\n"
        '            logger.log_metrics({"val/loss": 0.0}, 0)\n',
        f"{BOARDS_TEST} -k hyperparameters",
    ),
)
"""What is shown where."""
