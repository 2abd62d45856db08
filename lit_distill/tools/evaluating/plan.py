"""Which cells an evaluation has, and how to tell that one has been asked before."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from transformers import PretrainedConfig

from data_modules import Corpus, LabelledCorpus
from lit_distill.errors import UserError
from lit_distill.files.file_names import check_file_name
from lit_distill.knobs import Seed, check_knobs
from lit_distill.models.loading.pretrained import locate, reading
from lit_distill.tools.evaluating.cells.mode import Mode
from lit_distill.tools.evaluating.cells.records import Place
from lit_distill.tools.evaluating.modes import BagOfWords, Majority
from lit_distill.tools.models_by_seed import SEED, named

FORMAT = 1
"""Part of every identity: rises when the same settings give other predictions."""
BASELINES: dict[str, Mode] = {"majority": Majority(), "bag of words": BagOfWords()}
"""Models of every task with labels."""
_NOT_CONTENT = {"trainer", "report", "cache_dir", "num_workers"}
"""Attributes of data modules that decide on nothing that is read."""


@dataclass(frozen=True)
class Task:
    """What models are asked about, and how.

    Attributes:
        data: the data module; its test split is asked. It needs no tokenizer: each model reads by
            its own.
        mode: how a model is asked.
        metrics: names of what is computed, the leading one first; by default those of its kind.
        baselines: whether the commonest label and a bag of words are asked as well, where there
            are labels. Without them nobody knows whether a task can be measured.
    """

    data: LightningDataModule
    mode: Mode
    metrics: list[str] = field(default_factory=list)
    baselines: bool = True


@dataclass(frozen=True)
class Only:
    """A part of an evaluation: cells of other names are left as they are.

    Attributes:
        models: names, those of baselines included; None: all.
        tasks: names; None: all.
        seeds: numbers; None: all.
    """

    models: list[str] | None = None
    tasks: list[str] | None = None
    seeds: list[Seed] | None = None

    def __post_init__(self) -> None:
        check_knobs(Only, vars(self))

    def check(self, models: Sequence[str], tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Refuses what is not there.

        Raises:
            UserError: a name or a seed is none of the evaluation.
        """
        known: dict[str, Sequence[Any]] = {"models": models, "tasks": tasks, "seeds": seeds}
        for what, names in known.items():
            for name in vars(self)[what] or ():
                if name not in names:
                    raise UserError(
                        f"only.{what}: {name!r} is none of the evaluation's: "
                        f"{', '.join(map(str, names))}."
                    )

    def has(self, place: Place) -> bool:
        """Whether a cell is in it."""
        wanted = self.tasks is None or place.task in self.tasks
        return wanted and self.asks(place.model, place.seed)

    def asks(self, model: str, seed: int) -> bool:
        """Whether a cell of a model under a seed may be in it."""
        pairs = (model, self.models), (seed, self.seeds)
        return all(names is None or name in names for name, names in pairs)


EVERYTHING = Only()
"""The whole evaluation."""


@dataclass(frozen=True)
class Cell:
    """One cell, before it is asked.

    Attributes:
        place: whose it is, and where it is kept.
        source: folder or hub name of the model; of a baseline, of the first model.
        data: of the task.
        mode: how the model is asked.
        identity: of all that decides on the predictions.
    """

    place: Place
    source: str
    data: LightningDataModule
    mode: Mode
    identity: str

    @property
    def name(self) -> str:
        """Model, task and seed, for messages."""
        return f"{self.place.model}, {self.place.task}, seed {self.place.seed}"


def plan(
    models: Mapping[str, str],
    tasks: Mapping[str, Task],
    seeds: Sequence[int],
    output: Path,
    identified: bool = True,
    only: Only = EVERYTHING,
) -> list[Cell]:
    """All cells: task by task, seed by seed, baselines before models.

    Modes that are not random are asked once, under the first seed, unless models differ by seed.
    Models that are not there yet have no cells, where `only` asks for nothing of theirs.

    Args:
        models: folders or hub names, by name; `{seed}` in one is the seed.
        tasks: by name.
        seeds: of everything random.
        output: folder of the evaluation.
        identified: look at models and data, so that cells have identities.
        only: the part that will be asked.

    Raises:
        UserError: a name is none of a folder, or a model that is asked, or a file of a task cannot
            be found.
    """
    check_names(models, tasks)
    sources = {seed: named(models, seed) for seed in seeds}
    differ = any(SEED in source for source in models.values())
    asked = {own[name] for seed, own in sources.items() for name in own if only.asks(name, seed)}
    every = {source for own in sources.values() for source in own.values()}
    marks = _marks(every, asked) if identified else dict.fromkeys(every, "")
    cells = []
    for task, own in tasks.items():
        of_data = data_mark(own.data) if identified else ""
        for seed in seeds:
            there = {name: one for name, one in sources[seed].items() if one in marks}
            first = next(iter(there.values()), "")  # by whose tokenizer baselines look at the data
            baselines = _baselines(own) if there else {}
            whose = [(name, first, "", mode) for name, mode in baselines.items()]
            whose += [(name, one, marks[one], own.mode) for name, one in there.items()]
            for name, source, mark, mode in whose:
                if mode.random or differ or seed == seeds[0]:
                    place = Place(output, name, task, seed)
                    identity = digest([FORMAT, mark, of_data, repr(mode), seed])
                    cells.append(Cell(place, source, own.data, mode, identity))
    return cells


def check_names(models: Mapping[str, str], tasks: Mapping[str, Task]) -> None:
    """Refuses names that cannot be those of folders, or are those of baselines.

    Raises:
        UserError: there is such a name.
    """
    for kind, names in (("models", models), ("tasks", tasks)):
        for name in names:
            try:
                check_file_name(name, kind)
            except UserError as error:
                raise UserError(
                    f"{kind}: {name!r} is to be the name of a folder: use letters, digits, spaces, "
                    "- and _."
                ) from error
    if taken := sorted({*models} & {*BASELINES}):
        raise UserError(f"models: {taken[0]!r} is the name of a baseline: call the model another.")


def model_mark(source: str) -> str:
    """A hash of a model's files; of a hub name, of its commit.

    Raises:
        UserError: there is no such model.
    """
    found = locate(source)
    folder = Path(found.name).expanduser()
    with reading("config", found):
        config, _ = PretrainedConfig.get_config_dict(found.name, **found.options)
    if not folder.is_dir():
        return digest([source, config.get("_commit_hash")])
    content = blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja"):
            content.update(path.name.encode())
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    content.update(part)
    return content.hexdigest()


def _marks(sources: Set[str], needed: Set[str]) -> dict[str, str]:
    """The hashes of models, without those that are not there and need not be."""
    found = {}
    for source in sorted(sources):
        try:
            found[source] = model_mark(source)
        except UserError:
            if source in needed:
                raise
    if not found:
        model_mark(min(sources))  # which says what is missing
    return found


def data_mark(data: LightningDataModule) -> str:
    """A hash of a data module's settings, and of the stamps of the files that it reads."""
    declared = {name: value for own in type(data).__mro__ for name, value in vars(own).items()}
    settings = {
        name: re.sub(r" at 0x[0-9a-f]+", "", repr(value))
        for name, value in sorted(vars(data).items())
        if name not in _NOT_CONTENT and not isinstance(declared.get(name), cached_property)
    }
    files: list[Any] = []
    if isinstance(data, Corpus):
        settings["settings"] = repr(data.settings)
        for own in data.texts():
            readers = [*own.train, None, *own.validation, None, *own.test]
            files.append([own.language, *(reader and reader.stamp for reader in readers)])
    return digest([type(data).__qualname__, settings, files])


def _baselines(task: Task) -> dict[str, Mode]:
    wanted = task.baselines and task.mode.labels and isinstance(task.data, LabelledCorpus)
    return BASELINES if wanted else {}


def digest(content: Any) -> str:
    """A hash of plain values."""
    return blake2b(json.dumps(content).encode("utf-8"), digest_size=16).hexdigest()
