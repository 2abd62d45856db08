"""Where a key stands: on the command line, or in which line of which file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lit_distill.cli.parsing.configs import Config


@dataclass(frozen=True)
class Places:
    """What was typed and what was read, to name the place of a key in a message.

    Attributes:
        args: the options of a command.
        configs: the files read so far, in order.
    """

    args: Sequence[str]
    configs: Sequence[Config]

    def where(self, keys: Sequence[str], found: str = "") -> str:
        """The beginning of a message about a key: `file:line: key.path: ` or `--key.path: `.

        Args:
            keys: the path of the key, without `init_args`.
            found: its value, if that is known; several places may have the key.
        """
        path = ".".join(keys)
        typed = dict(_typed(self.args))
        for name, value in typed.items():
            if f"{name}.".startswith(f"{path}.") and (not found or value in ("", found)):
                return f"--{name}: "
        for value in dict.fromkeys((found, "")) if keys else ():
            if place := self._line(keys, value):
                return f"{place}: {path}: "
        inside = [name for name in typed if path.startswith(f"{name}.")]
        return f"--{inside[-1]}: " if inside else f"{path}: " if path else ""

    def where_class(self, keys: Sequence[str], name: str) -> str:
        """Where the class that an option names was given; a `class_path` is part of the path."""
        beside = [*keys, "class_path"]
        place = self._line(beside, name)
        typed = self.where(keys, name)
        return typed if typed.startswith("--") or not place else f"{place}: {'.'.join(beside)}: "

    def _line(self, keys: Sequence[str], value: str) -> str:
        """File and line of a key in the file that was read last; empty if it is in none."""
        for config in reversed(self.configs):
            line = config.find(keys, value or None)
            if line is not None:
                return f"{config.path}:{line}"
        return ""


def _typed(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options on the command line as (key path, value)."""
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        if arg.startswith("--") and len(arg) > 2:
            name, equals, value = arg[2:].partition("=")
            parts = [part for part in name.rstrip("+").split(".") if part != "init_args"]
            path = parts[:-1] if parts[-1] == "class_path" else parts
            yield ".".join(path), value if equals else following
