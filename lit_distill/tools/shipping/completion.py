"""What makes a shell complete commands, their options, and configs by name."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Literal, get_args

from lit_distill.cli.parsing import options
from lit_distill.errors import UserError
from lit_distill.files.shipped_configs import shipped

Shell = Literal["bash", "zsh", "tcsh"]
PROGRAM = "lit-distill"


def completion(shell: Shell) -> None:
    """Prints what makes a shell complete `lit-distill`: `eval "$(lit-distill completion bash)"`.

    Args:
        shell: bash, zsh or tcsh. Names of configs are those of the installed package.

    Raises:
        UserError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise UserError(
            "completion needs shtab, which is not installed: pip install lit-distill[completion]."
        ) from error
    parser = argparse.ArgumentParser(PROGRAM)
    commands = parser.add_subparsers(dest="command")
    for command, purpose in options.COMMANDS.items():
        own = commands.add_parser(command, help=purpose, description=purpose)
        for name, text in _options_of(command).items():
            names = ("-c", name) if name == "--config" else (name,)
            option = own.add_argument(*names, help=text.replace("%", "%%"))
            if name == "--config":
                option.complete = _CONFIGS  # type: ignore[attr-defined]
        if command in ("run", "copy-config"):
            own.add_argument("config").complete = _CONFIGS  # type: ignore[attr-defined]
        if command == "completion":
            own.add_argument("shell", choices=get_args(Shell))
    print(shtab.complete(parser, shell, preamble=_preamble()))


_CONFIGS = {
    "bash": "_lit_distill_configs",
    "zsh": "_lit_distill_configs",
    "tcsh": "f",
}


def _preamble() -> dict[str, str]:
    """A function of each shell that gives files, and the configs of the package."""
    names = " ".join(shipped())
    return {
        "bash": f"""
_lit_distill_configs() {{
  compgen -f -X '!*.y*ml' -- "$1"
  compgen -d -S / -- "$1"
  compgen -W "{names}" -- "$1"
}}
""",
        "zsh": f"""
_lit_distill_configs() {{
  _alternative 'files:file:_files -g "*.y(a|)ml"' 'configs:config:({names})'
}}
""",
    }


def _options_of(command: str) -> dict[str, str]:
    """The options of a command with a line on each."""
    from lit_distill.tools.invocation import PLACES

    if command in PLACES:
        module = import_module(f"lit_distill.tools.{PLACES[command]}")
        function: Any = vars(module)[command.replace("-", "_")]
        names: Iterable[str] = list(inspect.signature(function).parameters)
        if command not in ("completion", "configs", "copy-config"):
            names = [*names, "config"]
        return {f"--{name}": "" for name in names}
    own = {name: str(option["help"]) for name, option in options.OWN.items()}
    trainer = {f"--trainer.{name}": text for name, text in options.TRAINER.items()}
    classes = {name.split()[0]: text for name, text in options.SECTIONS.items()}
    looked_up = {"--model.help": "", "--data.help": "", options.HELP_ALL: ""}
    more = {options.CACHE: options.OF_CACHE, options.CHECK: options.OF_CHECK}.get(command, {})
    beside = {name.split()[0]: text for name, text in more.items() if "OPTION" not in name}
    return {"--config": options.CONFIG, **beside, **classes, **own, **trainer, **looked_up}
