"""What an evaluation found about one of its models, read from its `results.json`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_distill.errors import UserError
from lit_distill.tools.evaluating.plan import model_mark
from lit_distill.tools.models_by_seed import SEED
from lit_distill.tools.reporting.plain_files import inside, json_of, named


@dataclass(frozen=True)
class Found:
    """An evaluation, seen from one model.

    Attributes:
        content: of `results.json`.
        model: name of the model in it.
    """

    content: Mapping[str, Any]
    model: str

    @property
    def reference(self) -> str:
        """Name of the teacher."""
        return named(self.content, "reference")

    @property
    def control(self) -> str:
        """Name of the model that had no teacher; "" where there was none."""
        return named(self.content, "control")

    @property
    def seeds(self) -> list[int]:
        """Of the cells that were asked of the model."""
        cells = self.content.get("cells")
        own = [one for one in (cells if isinstance(cells, list) else ()) if isinstance(one, dict)]
        seeds = {one.get("seed") for one in own if one.get("model") == self.model}
        return sorted(seed for seed in seeds if isinstance(seed, int))

    @property
    def differs_by_seed(self) -> bool:
        """Whether each seed had a model of its own."""
        return SEED in named(self.content, "models", self.model)

    def tasks(self) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        """Name, leading metric, level of that metric, and levels by language, of the model's tasks.

        A task of which the model was not asked is left out.
        """
        for task, about in inside(self.content, "tasks").items():
            metric = named(about, "metric")
            level = inside(about, "metrics", metric)
            if self.model in inside(level, "scores"):
                yield task, metric, level, inside(level, "languages")

    def broken(self) -> Iterator[str]:
        """Tasks of which a cell of the model has no answer, with the reason."""
        cells = self.content.get("broken")
        for cell in cells if isinstance(cells, list) else ():
            if named(cell, "model") == self.model:
                yield f"{named(cell, 'task')}: {named(cell, 'error')}"


def found_about(folder: Path, results: Path, model: str | None) -> Found:
    """Reads what there is about the model in a folder.

    Args:
        folder: of the model.
        results: the file, or the folder of the evaluation.
        model: name in the evaluation; None: that of the folder.

    Raises:
        UserError: there is no such file, it is no evaluation's, does not have the model, or is
            about other weights than those in the folder.
    """
    path = results / "results.json" if results.is_dir() else results
    if not path.is_file():
        raise UserError(f"There is no {path}: `evaluate` writes it into its --output.")
    problems = list[str]()
    content = json_of(path, problems)
    models = inside(content, "models")
    if problems or not models or not named(content, "reference"):
        raise UserError(f"{path} is damaged, or no results.json of `evaluate`.")
    name = model or _name_of(folder, models)
    if name not in models:
        raise UserError(
            f"{path} does not say which of its models is {folder}: give --model one of "
            f"{', '.join(models)}."
        )
    found = Found(content, name)
    if name == found.reference:
        raise UserError(f"{name} is the teacher of {path}: what is retained is said of the others.")
    _check_weights(folder, found, path)
    return found


def _name_of(folder: Path, models: Mapping[str, Any]) -> str:
    """The model whose folder it is; "" where none is, or several are."""
    fits = [name for name, source in models.items() if _is_folder(str(source), folder)]
    return fits[0] if len(fits) == 1 else ""


def _is_folder(source: str, folder: Path) -> bool:
    if SEED not in source:
        return Path(source).expanduser().resolve() == folder.resolve()
    parts = [re.escape(part) for part in str(Path(source).expanduser().resolve()).split(SEED)]
    return re.fullmatch(r"\d+".join(parts), str(folder.resolve())) is not None


def _check_weights(folder: Path, found: Found, path: Path) -> None:
    """Refuses numbers about another model than that in the folder.

    Raises:
        UserError: they are.
    """
    mark = named(found.content, "marks", found.model)
    if found.differs_by_seed:
        return  # the others' numbers are in the means, too
    if not mark:
        print(f"{path} does not say which weights it is about: it is believed to be these.")
    elif mark != model_mark(str(folder)):
        raise UserError(
            f"{folder} has changed since {path} was written: evaluate it again (`evaluate` asks "
            "only the cells that are no longer true)."
        )
