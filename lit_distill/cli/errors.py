"""Parse errors in one line: where, what was found, and what was probably meant."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jsonargparse import Namespace

from lit_distill.cli.explaining import Explainer
from lit_distill.cli.parsing.configs import Config, ConfigFile
from lit_distill.cli.parsing.places import Places
from lit_distill.cli.parsing.types import classes_in, imported, takes_null, type_of
from lit_distill.cli.parsing.values import InnerValues
from lit_distill.errors import UserError


class OneLineErrors(InnerValues):
    """A parser with `--config` that names file, line, key path and the likely remedy; exit code 2.

    Attributes:
        configs: the files read so far, in order.
        sections: the classes that can stand under top-level keys.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, print_config=None, **kwargs)
        self.configs: list[Config] = []
        self.sections: Mapping[str, type] = {}
        if self.exit_on_error:  # the outer one
            self.add_argument(
                "-c", "--config", action=ConfigFile, help="YAML file; several are merged in order."
            )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Writes one line and exits; inner parsers report to the outer one."""
        if not self.exit_on_error:
            super().error(message, ex)
        sys.stderr.write(f"error: {' '.join(self.explain(str(message)).split())}\n")
        raise SystemExit(2)

    def explain(self, message: str) -> str:
        """The message in one line."""
        options = list(self.get_defaults(skip_validation=True).keys())
        return Explainer(self._places, self.sections, options).explain(message)

    def check_nulls(self, value: Any, keys: tuple[str, ...] = (), owner: Any = None) -> None:
        """Refuses `null` for options that take none; jsonargparse takes it for "not given".

        Args:
            value: a parsed config, or a part of it.
            keys: the path to that part.
            owner: whose options it has, where it does not say so itself.

        Raises:
            UserError: there is one, or the text "None" where null may stand.
        """
        if isinstance(value, list):
            for item in value:
                self.check_nulls(item, keys, owner)
        if not isinstance(value, Namespace):
            return
        owner = imported(str(value.get("class_path", ""))) or owner
        for key, inner in vars(value.get("init_args") or value).items():
            kind, path = type_of(owner, key), (*keys, key)
            if inner is None and not takes_null(kind):
                said = f"null is no value of {owner.__name__}'s option {key!r}."
                raise UserError(f"{self.where(path)}{said}")
            if inner == "None" and kind is not None and takes_null(kind):
                said = "'None' is a text: write null where there is nothing."
                raise UserError(f"{self.where(path)}{said}")
            self.check_nulls(inner, path, next(iter(classes_in(kind)), None))

    def where(self, keys: Sequence[str], found: str = "") -> str:
        """Where a key stands, for the beginning of a message: see `Places.where`."""
        return self._places.where(keys, found)

    @property
    def _places(self) -> Places:
        return Places(self.args or (), self.configs)
