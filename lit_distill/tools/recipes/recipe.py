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
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from lit_distill.cli.parsing.configs import check_exists, read_config
from lit_distill.cli.parsing.yaml_nodes import read_yaml
from lit_distill.errors import UserError

TRAINING = ("fit", "validate", "test")
TOOLS = ("export", "train-tokenizer", "cache-teacher", "corpus-report", "compare", "compare-texts")
COMMANDS = (*TRAINING, *TOOLS)
_PLACE = re.compile(r"\{stages\.([\w-]+)\}((?:/[\w.-]+)*)(?![\w.{*/-])")
_REFERENCE = re.compile(r"\{(stages|variables)\.([\w-]+)\}")


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
    """

    name: str
    command: str
    folder: Path
    configs: tuple[Path, ...]
    args: tuple[str, ...]
    needs: tuple[str, ...]
    reads: tuple[Path, ...] = ()

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
            raise UserError(f"{path} has no variable {name!r}{_hint(name, known)}")
    run_dir = Path(content.get("run_dir") or Path("runs") / path.stem)
    values = {("variables", name): str(value) for name, value in {**known, **variables}.items()}
    stages = []
    for name, definition in content["stages"].items():
        stages.append(_stage(path, name, definition, run_dir / name, values))
        values["stages", name] = str(run_dir / name)
    return Recipe(run_dir, tuple(stages))


def _stage(
    path: Path, name: str, definition: Any, folder: Path, values: Mapping[tuple[str, str], str]
) -> Stage:
    where = f"{path}: stages.{name}"
    if not re.fullmatch(r"[\w-]+", name):
        raise UserError(f"{where}: a stage's name is a folder's: letters, digits, - and _.")
    if not isinstance(definition, dict):
        raise UserError(f"{where}: expected command, config and options.")
    _check(f"{where}.", definition, {"command": str, "config": (str, list), "options": dict})
    command = definition.get("command")
    if command not in COMMANDS:
        raise UserError(f"{where}.command: {command!r} is none{_hint(str(command), COMMANDS)}")
    given = definition.get("config") or []
    files = [given] if isinstance(given, str) else given
    configs = [Path(os.path.normpath(path.parent / str(file))) for file in files]
    for config in configs:
        check_exists(config, f"{where}.config")
    needs: dict[str, None] = {}

    def fill(match: re.Match[str]) -> str:
        kind, key = match.groups()
        if (kind, key) not in values:
            names = [other for group, other in values if group == kind]
            what = "earlier stage" if kind == "stages" else "variable"
            raise UserError(f"{where}: there is no {what} {key!r}{_hint(key, names)}")
        if kind == "stages":
            needs[key] = None
        return values[kind, key]

    options = dict(_flat("", definition.get("options") or {}))
    options["run_dir" if command in TRAINING else "output"] = str(folder)
    args = [f"--config={config}" for config in configs]
    args += [f"--{key}={_REFERENCE.sub(fill, value)}" for key, value in options.items()]
    places = [match for value in options.values() for match in _PLACE.finditer(value)]
    reads = (Path(values["stages", match[1]] + match[2]) for match in places)
    return Stage(name, command, folder, tuple(configs), tuple(args), tuple(needs), tuple(reads))


def _plain(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _check(where: str, given: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if key not in types:
            raise UserError(f"{where}{key}: there is no such key{_hint(str(key), types)}")
        if value is not None and not isinstance(value, types[key]):
            kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
            words = {str: "a text", list: "a list", dict: "keys with values"}
            expected = " or ".join(words[kind] for kind in kinds)
            raise UserError(f"{where}{key}: expected {expected}, found {value!r}.")


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Options as (dotted name, text as on the command line)."""
    if isinstance(value, dict) and (value or not prefix):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}".strip("."), inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _hint(wrong: str, known: Any) -> str:
    close = get_close_matches(wrong, list(known), 1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(known)}." if known else "."
