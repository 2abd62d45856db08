"""`new-method`: the files of a method, in which nothing is left to write but its formula."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.tools.scaffolding.families import FAMILIES, FamilyName, Method

ROOT = Path(__file__).parents[3]
"""The folder of the project, or of what is installed of it."""
CHECKOUT = ("README.md", "configs/methods", "docs/methods", "tests/test_every_method.py")
"""What only a checkout has."""
PUBLIC = (
    "lit_distill/methods/__init__.py",
    "lit_distill/losses/__init__.py",
    "lit_distill/models/__init__.py",
    "data_modules/__init__.py",
    "callbacks/__init__.py",
)
"""Files that name the classes which a config finds by their bare names."""
LONGEST = 30
"""Letters of a name with which no line is too long."""


def new_method(
    name: str,
    family: FamilyName = "logits",
    paper: str = "",
    url: str = "",
    own: str | None = None,
) -> list[Path]:
    """Writes the files of a new method: what is left to write is its formula.

    In a checkout of the project these are its class, config, test and page, and a line each in
    README.md and in `lit_distill/methods/__init__.py`. Elsewhere, or with `own`, they are a module
    and a config of yours (docs/own_method.md).

    Args:
        name: of the class, as SoftKL; of soft-kl it is made.
        family: what it compares, the folder of its file.
        paper: whose it is, as "Patient KD (Sun et al., 2019)".
        url: of the paper.
        own: a folder outside of the project, for a method of your own.

    Returns:
        The new files.

    Raises:
        UserError: the name is none, or somebody has it; a file is there, or cannot be written.
    """
    method = Method(_class_name(name), family, _one_line("paper", paper), _one_line("url", url))
    inside = own is None and all((ROOT / path).exists() for path in CHECKOUT)
    root = ROOT if inside else Path(own or ".")
    _check_free(method, inside)
    files = _of_the_project(method) if inside else _own(method)
    _write(root, files)
    if inside:
        _add_line(root / "lit_distill/methods/__init__.py", method, _with_import)
        _add_line(root / "README.md", method, _with_row)
    print(_said(method, [root / path for path in files], inside))
    return [root / path for path in files]


def _class_name(given: str) -> str:
    """A name in the form of classes.

    Raises:
        UserError: there is none for it.
    """
    words = [word for word in re.split(r"[-_ ]", given) if word]
    name = "".join(word[:1].upper() + word[1:] for word in words)
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name):
        raise UserError(
            f"new-method: {given!r} is no name of a class: use letters and digits, a letter first, "
            "as SoftKL."
        )
    if len(name) > LONGEST:
        raise UserError(f"new-method: {name} has {len(name)} letters: use at most {LONGEST}.")
    return name


def _one_line(option: str, text: str) -> str:
    """A text as it can stand in a docstring and in a table.

    Raises:
        UserError: it cannot.
    """
    if re.search(r'["\\|\n$]', text) or (option == "paper" and len(text) > 90):
        raise UserError(
            f'new-method: --{option} is one line of at most 90 letters without ", \\, | and $.'
        )
    return text.strip().rstrip(".")


def _check_free(method: Method, inside: bool) -> None:
    """Refuses names of classes that there are, and of modules that a new one would hide.

    Raises:
        UserError: it is one.
    """
    files = [ROOT / path for path in PUBLIC]
    texts = [path.read_text("utf-8") for path in files if path.is_file()]
    taken = {name.lower(): name for text in texts for name in re.findall(r" as (\w+)", text)}
    if there := taken.get(method.name.lower()):
        raise UserError(f"new-method: there is a class {there} already: choose another name.")
    if keyword.iskeyword(method.stem) or (not inside and find_spec(method.stem) is not None):
        raise UserError(
            f"new-method: {method.name} would be the module {method.stem!r}, and Python has one "
            "of that name: choose another."
        )


def _of_the_project(method: Method) -> dict[str, str]:
    """The files of a method that is shipped, by path."""
    stem, name, tiny = method.stem, method.name, FAMILIES[method.family].tiny
    return {
        f"lit_distill/methods/{method.family}/{stem}.py": method.text(method.family, name),
        f"configs/methods/{stem}.yaml": method.config(name),
        f"tests/lit_distill/methods/test_{stem}.py": method.text("test", name),
        **({f"tests/tiny/{stem}.yaml": tiny} if tiny else {}),
        f"docs/methods/{stem}.md": method.text("page", name),
    }


def _own(method: Method) -> dict[str, str]:
    """The files of a method of a user's own, by path."""
    path = f"{method.stem}.{method.name}"
    return {
        f"{method.stem}.py": method.text(method.family, path),
        f"{method.stem}.yaml": method.config(path),
    }


def _write(root: Path, files: Mapping[str, str]) -> None:
    """Writes new files.

    Raises:
        UserError: one is there, and nothing has been written; or the folder cannot be written to.
    """
    if there := [path for path in files if (root / path).exists()]:
        raise UserError(
            f"new-method: there is {root / there[0]} already, and nothing is written over it: "
            "choose another name, or move it away."
        )
    for path, text in files.items():
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, "utf-8")
        except OSError as error:
            raise UserError(
                f"new-method: {root / path} cannot be written: {error.strerror}."
            ) from error


def _add_line(path: Path, method: Method, added: Callable[[str, Method], str]) -> None:
    path.write_text(added(path.read_text("utf-8"), method), "utf-8")


def _with_import(text: str, method: Method) -> str:
    """The list of methods with one more, in its place by module."""
    start = text.index("from lit_distill.methods.")
    lines = re.findall(r"from \S+ import (?:\([^)]*\)|[^\n(]*)\n", text[start:])
    module = f"lit_distill.methods.{method.family}.{method.stem}"
    name = f"{method.name} as {method.name}"
    line = f"from {module} import {name}\n"
    lines.append(line if len(line) <= 101 else f"from {module} import (\n    {name},\n)\n")
    return text[:start] + "".join(sorted(lines, key=lambda one: one.split()[1]))


def _with_row(text: str, method: Method) -> str:
    """The README with a row more below the last method of its table."""
    end = [row.end() for row in re.finditer(r"(?m)^\| `.*\]\(docs/methods/.*\n", text)][-1]
    page = f"docs/methods/{method.stem}.md"
    row = f"| `{method.name}` | {method.paper or 'not yet described'} | [{page}]({page}) |\n"
    return text[:end] + row + text[end:]


def _said(method: Method, files: Sequence[Path], inside: bool) -> str:
    """What was written, and what to do next."""
    shown = "\n".join(f"  {file}" for file in files)
    if inside:
        return (
            f"New, and a line each in README.md and lit_distill/methods/__init__.py:\n{shown}\n"
            "Write losses() of the class and formula() of its test, then describe it. Until then "
            f"this fails:\n  python -m pytest -k {method.stem} tests/test_every_method.py "
            f"tests/test_house.py tests/lit_distill/methods/test_{method.stem}.py"
        )
    return (
        f"New:\n{shown}\nWrite losses() (docs/own_method.md shows how), and train with it, in that "
        f"folder:\n  python -m lit_distill fit --allow-module {method.stem} "
        f"-c {method.stem}.yaml -c ..."
    )
