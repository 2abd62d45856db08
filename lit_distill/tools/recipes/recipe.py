"""A recipe: what its stages are, what each needs, and how to tell that one has changed.

run_dir: runs/quickstart            # each stage has a folder in it; default runs/<recipe's name>
variables: {updates: 500}           # `{variables.updates}` below; --variables.updates=9 changes it
stages:
  teacher:
    command: fit                    # any command but `run`
    config: [teacher.yaml]          # relative to the recipe, as `include` is
    options:                        # as on the command line; paths as there, from the working
      trainer.max_steps: "{variables.updates}"                                    # directory
  distil:
    command: fit
    config: [distil.yaml]
    options:
      model.teacher.name: "{stages.teacher}/student"      # the folder of an earlier stage
    for: {seed: [1, 2, 3]}          # three stages, distil-seed=1, ...; see `grid` and `filling`
    controls: [no_teacher]          # and distil-no_teacher-seed=1, ...: the same without a teacher
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lit_distill.cli.parsing.configs import check_exists, read_config
from lit_distill.cli.parsing.yaml_nodes import read_yaml
from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import beside
from lit_distill.tools.recipes.filling import Filling
from lit_distill.tools.recipes.grid import Cell, as_text, cells_of, hint, suffix

TRAINING = ("fit", "validate", "test")
TOOLS = (
    *("export", "train-tokenizer", "trim-vocabulary", "grow-vocabulary"),
    *("cache-teacher", "corpus-report", "compare", "compare-texts", "evaluate", "recommend"),
)
COMMANDS = (*TRAINING, *TOOLS)
CONTROLS = {"truncation": "before", "no_teacher": "after"}
"""What `fit --control` makes of a stage; the cheap one that may be refused runs first."""


@dataclass(frozen=True)
class Stage:
    """One command of a recipe, with everything filled in.

    Attributes:
        name: of the stage, and of its folder.
        command: what runs.
        folder: what it writes: the run folder of a training command, the output of a tool.
        configs: its config files.
        args: all its options, as on the command line.
        needs: the stages whose folders it reads.
        reads: the places in them that its options name.
        definition: the stage of the recipe file of which this is a cell or a control.
    """

    name: str
    command: str
    folder: Path
    configs: tuple[Path, ...]
    args: tuple[str, ...]
    needs: tuple[str, ...]
    reads: tuple[Path, ...] = ()
    definition: str = ""

    def digest(self, needed: Mapping[str, str]) -> str:
        """Changes with the stage, with its config files, and with the stages it needs.

        Args:
            needed: an identity of the finished run of each stage.
        """
        content = [self.command, *self.args]
        content += [config.text for path in self.configs for config in read_config(path)]
        content += [needed[name] for name in self.needs]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def command_line(self, *more: str) -> str:
        """What to type to run the stage by hand."""
        return shlex.join(["python", "-m", "lit_distill", self.command, *self.args, *more])


@dataclass(frozen=True)
class Recipe:
    """All stages, in order, and the folder in which theirs are."""

    run_dir: Path
    stages: tuple[Stage, ...]


def read_recipe(path: Path, variables: Mapping[str, str]) -> Recipe:
    """Reads and checks a recipe.

    Args:
        path: of the file.
        variables: replace those in the file.

    Raises:
        UserError: something in it cannot work; the message names the place.
    """
    check_exists(path, "run")
    content = _plain(read_yaml(path))
    _check(f"{path}: ", content, {"run_dir": str, "variables": dict, "stages": dict})
    if not content.get("stages"):
        raise UserError(f"{path}: a recipe needs `stages`.")
    known = content.get("variables") or {}
    for name in variables:
        if name not in known:
            raise UserError(f"{path} has no variable {name!r}{hint(name, known)}")
    run_dir = Path(content.get("run_dir") or Path("runs") / path.stem)
    values = {name: as_text(value) for name, value in {**known, **variables}.items()}
    reading = _Reading(path, run_dir, values)
    for name, definition in content["stages"].items():
        reading.add(name, definition)
    return Recipe(run_dir, tuple(reading.stages))


@dataclass
class _Reading:
    """What has been read of a recipe: its stages, and their cells with their folders by name."""

    path: Path
    run_dir: Path
    variables: Mapping[str, str]
    stages: list[Stage] = field(default_factory=list)
    cells: dict[str, list[tuple[Cell, Path]]] = field(default_factory=dict)

    def add(self, name: str, definition: Any) -> None:
        """Adds a stage with its controls, each with all of its cells."""
        where = f"{self.path}: stages.{name}"
        _check_definition(where, name, definition)
        outside = Filling(where, self.variables, {}, {})
        cells = cells_of(f"{where}.for", definition.get("for"), outside.text)
        wanted = definition.get("controls") or []
        order = [*(one for one in wanted if CONTROLS[one] == "before"), None]
        order += [one for one in wanted if CONTROLS[one] == "after"]
        found = {f"{name}-{one}" if one else name: one for one in order}
        if twice := found.keys() & self.cells.keys():
            raise UserError(f"{where}: another stage is called {min(twice)} already.")
        for full, control in found.items():
            own = [self._stage(where, full, definition, cell, control) for cell in cells]
            self.stages += own
            self.cells |= {full: [(cell, one.folder) for cell, one in zip(cells, own, strict=True)]}

    def _stage(
        self, where: str, name: str, definition: Any, cell: Cell, control: str | None
    ) -> Stage:
        folder, command = self.run_dir / (name + suffix(cell)), definition["command"]
        filling = Filling(where, self.variables, self.cells, cell)
        given = definition.get("config") or []
        files = [given] if isinstance(given, str) else given
        filled = (beside(self.path, filling.text(str(file))) for file in files)
        configs = [Path(os.path.normpath(path)) for path in filled]
        for config in configs:
            check_exists(config, f"{where}.config")
        options = filling.options(definition.get("options") or {})
        options |= {"control": control} if control else {}
        options["run_dir" if command in TRAINING else "output"] = str(folder)
        args = [f"--config={config}" for config in configs]
        args += [f"--{key}={value}" for key, value in options.items()]
        found = tuple(filling.needs), tuple(filling.reads)
        return Stage(folder.name, command, folder, tuple(configs), tuple(args), *found, name)


def _check_definition(where: str, name: str, definition: Any) -> None:
    if not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"{where}: a stage's name is a folder's: letters, digits, - and _.")
    if not isinstance(definition, dict):
        raise UserError(f"{where}: expected command, config and options.")
    known = {"command": str, "config": (str, list), "options": dict, "for": (dict, list)}
    _check(f"{where}.", definition, {**known, "controls": list})
    command = definition.get("command")
    if command not in COMMANDS:
        raise UserError(f"{where}.command: {command!r} is none{hint(str(command), COMMANDS)}")
    for control in definition.get("controls") or []:
        if control not in CONTROLS:
            raise UserError(f"{where}.controls: {control!r} is none{hint(str(control), CONTROLS)}")
        if command != "fit":
            raise UserError(f"{where}.controls: {command} trains nothing; controls are of a fit.")


def _plain(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _check(where: str, given: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if key not in types:
            raise UserError(f"{where}{key}: there is no such key{hint(str(key), types)}")
        if value is not None and not isinstance(value, types[key]):
            kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
            words = {str: "a text", list: "a list", dict: "keys with values"}
            expected = " or ".join(words[kind] for kind in kinds)
            raise UserError(f"{where}{key}: expected {expected}, found {value!r}.")
