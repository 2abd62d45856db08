"""The reference: everything that a config can name is in it, and every option has a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from inspect import isabstract
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from configurable import CONFIGURABLE
from reference_catalogue import Family, families, functions
from reference_options import Option, class_path, options, prose, shown, words
from reference_pages import Reference

from data_modules import PhrasebookCorpus
from lit_distill.cli.parsing import options as cli
from lit_distill.cli.parsing.types import options_of
from lit_distill.knobs import Count, Positive, Temperature
from lit_distill.losses import ForwardKL, SkewKL, Weight
from lit_distill.methods import CoDistillation, TripleLoss
from lit_distill.models import Student
from lit_distill.training.distillation import Distillation

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return Reference().written()


@pytest.fixture(scope="module")
def catalogue() -> list[Family]:
    return families()


def on(pages: Mapping[str, str], page: str, name: str) -> str:
    """What a page says about one class or command."""
    (found,) = re.findall(
        rf"(?ms)^## `{re.escape(name)}` .*?(?=^## |\Z)", pages[f"reference/{page}.md"]
    )
    return found


def named_by_name(catalogue: list[Family]) -> dict[str, list[type]]:
    found: dict[str, list[type]] = {}
    for one in (one for page in catalogue for one in page.classes):
        found.setdefault(one.__name__, []).append(one)
    return found


def is_base(one: type) -> bool:
    """Whether a class only stands over others: nothing names it, and options have its heirs."""
    heirs = [
        other for other in CONFIGURABLE if isinstance(other, type) and one in other.__mro__[1:]
    ]
    return isabstract(one) or bool(heirs)


def test_every_public_class_that_a_config_can_name_is_on_a_page(
    pages: dict[str, str], catalogue: list[Family]
) -> None:
    """Beside another walk over all that can be named, which knows nothing of families."""
    homes = {one: page for page in catalogue for one in page.classes}
    public = [one for one in CONFIGURABLE if isinstance(one, type) and one.__name__[0] != "_"]
    assert len(public) > 100
    assert not [one for one in public if one not in homes and not is_base(one)]
    for one, page in homes.items():
        assert f"`{class_path(one)}`" in on(pages, page.page.removesuffix(".md"), one.__name__)


def test_no_option_lacks_a_description(pages: dict[str, str], catalogue: list[Family]) -> None:
    owners: list[Any] = [one for page in catalogue for one in page.classes]
    owners += functions().values()
    found = [(owner, option) for owner in owners for option in options(owner)]
    assert len(found) > 500
    assert not [f"{owner.__name__}.{one.name}" for owner, one in found if not one.text]
    for text in pages.values():
        assert not re.search(r"(?m)^: *$", text)


def test_every_option_that_a_parser_takes_is_on_the_page_of_its_class(
    pages: dict[str, str], catalogue: list[Family]
) -> None:
    for page in catalogue:
        for one in page.classes:
            said = on(pages, page.page.removesuffix(".md"), one.__name__)
            assert not [name for name in options_of(one) if f"`{name}`" not in said]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from nodes(inner)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "configs").rglob("*.yaml")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_what_shipped_configs_name_is_in_the_reference(
    path: Path, catalogue: list[Family], pages: dict[str, str]
) -> None:
    known = named_by_name(catalogue)
    for node in nodes(yaml.safe_load(path.read_text("utf-8"))):
        name = str(node.get("class_path", ""))
        if not name or name.startswith("torch.") or name.endswith(("Logger", "Strategy")):
            continue
        classes = known[name.rpartition(".")[2]]
        taken = {option.name for one in classes for option in options(one)}
        assert {*node.get("init_args", {})} <= taken
    assert (
        f"\n{path.read_text('utf-8').rstrip()}\n"
        in pages[f"reference/configs/{path.parent.name}.md"]
    )


def test_a_class_is_shown_with_type_range_default_text_and_source(pages: dict[str, str]) -> None:
    said = on(pages, "methods", "TripleLoss")
    assert (
        "`lit_distill.methods.TripleLoss`, in [lit_distill/methods/logits/triple_loss.py]" in said
    )
    assert re.search(
        r"`temperature`\{ #TripleLoss.temperature \} "
        r"\*a number in \[0.001, 1e\+06\]; `2.0` by default\*\n:   T of the first term",
        said,
    )
    assert "https://arxiv.org/abs/1910.01108" in said
    assert "\n    L = alpha_kd  T^2 KL" in said  # a formula stays a block of code
    assert "\nData: [`MaskedTokens`](data_parts.md#MaskedTokens) for encoders" in said
    assert "Args:" not in said


def test_options_of_a_base_are_described_once_and_linked(pages: dict[str, str]) -> None:
    said = on(pages, "methods", "TripleLoss")
    assert "those of [`Distillation`](#Distillation): [`student`](#Distillation.student)" in said
    assert "`student`{ #TripleLoss" not in said
    assert "`student`{ #Distillation.student }" in on(pages, "methods", "Distillation")
    assert "*list of [`LabelledSource`](data_parts.md#LabelledSource); has to be given*" in on(
        pages, "data", "LabelledCorpus"
    )


def test_a_root_names_what_stands_under_it(pages: dict[str, str]) -> None:
    said = on(pages, "losses", "Divergence")
    assert "[`ForwardKL`](#ForwardKL)" in said
    assert "[`Divergence`](#Divergence)" not in said


def test_what_a_class_makes_is_no_text_of_what_it_takes() -> None:
    """`Attributes` of the method's base are about models, `Args` about what the config says."""
    (students,) = [one for one in options(Distillation) if one.name == "students"]
    assert students.text.startswith("instead, one or several by name")
    assert students.default is None


def test_the_nearest_class_says_what_an_option_is() -> None:
    class Own(TripleLoss):
        """One of somebody.

        Args:
            temperature: another T.
            base: see `TripleLoss`.
        """

        def __init__(self, temperature: Positive = 3.0, **base: Any) -> None:
            super().__init__(temperature=temperature, **base)

    found = {one.name: one for one in options(Own)}
    assert (found["temperature"].text, found["temperature"].default) == ("another T.", 3.0)
    assert found["temperature"].owner is Own
    assert found["alpha_kd"].owner is TripleLoss
    assert found["dropout"].owner is Distillation
    assert "base" not in found


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        sizes: how large.
    """

    sizes: list[int] = field(default_factory=lambda: [1, 2])


def test_a_dataclass_is_described_by_its_attributes_and_what_factories_make() -> None:
    assert options(Part) == (Option("sizes", list[int], [1, 2], "how large.", Part),)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (int, "a whole number"),
        (str | None, "text or `null`"),
        (None | str, "text or `null`"),
        (Count, "a whole number of at least 1"),
        (Temperature | None, "a number in [0.001, 1e+06] or `null`"),
        (list[Positive], "list of numbers above 0"),
        (tuple[str, ...], "list of texts"),
        (dict[str, Student], "mapping of texts to <Student>"),
        (list[str | None], "list of (text or `null`)"),
        (Literal["a", 2], "`a` or `2`"),
        (Weight, "a number of at least 0 or <Ramp>"),
        (bool, "true or false"),
        (Any, "anything"),
        (Path, "<Path>"),
    ],
    ids=str,
)
def test_types_in_words(annotation: Any, said: str) -> None:
    assert words(annotation, lambda one: f"<{one.__name__}>") == said


@pytest.mark.parametrize(
    ("default", "said"),
    [
        (None, "`null`"),
        (False, "`false`"),
        (0.5, "`0.5`"),
        ("a b", "`a b`"),
        ("", "`''`"),
        ("a\n", r"`'a\n'`"),
        (ForwardKL(), "`ForwardKL()`"),
        (SkewKL(alpha=0.3), "`SkewKL(alpha=0.3)`"),
        ((1, 2), "`[1, 2]`"),
        (PhrasebookCorpus, "`data_modules.PhrasebookCorpus`"),
    ],
    ids=str,
)
def test_defaults(default: Any, said: str) -> None:
    assert shown(default) == said


def test_prose_is_what_stands_beside_the_sections() -> None:
    said = prose(CoDistillation)
    assert said.startswith("A large and a small model learn the same text")
    assert "Source: https://arxiv.org/abs/2311.02849" in said
    assert "temperature_large:" not in said


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_is_there_with_its_options(command: str, pages: dict[str, str]) -> None:
    said = on(pages, "commands", command)
    if command == "fit":
        for name in [*cli.OWN, *(f"--trainer.{one}" for one in cli.TRAINER), "--model", "--data"]:
            assert re.search(rf"(?m)^`[^`]*{re.escape(name)}\b[^`]*`\n:   \w", said), name
    elif command in cli.TRAINING:
        assert "[`fit`](#fit)" in said
    elif command == cli.CACHE:
        assert "[`CacheOptions`](evaluation.md#CacheOptions)" in said
    elif command == cli.CHECK:
        assert "[`CheckOptions`](evaluation.md#CheckOptions)" in said
    else:
        for option in options(functions()[command]):
            assert f"`{option.name}`{{ #{command}.{option.name} }}" in said
