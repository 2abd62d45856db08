"""Every number that a config can name has a range, and its class keeps to it."""

from __future__ import annotations

import importlib
import inspect
import io
import logging
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from annotated_types import Interval
from configurable import CONFIGURABLE, hints_of
from jsonargparse import ArgumentParser

import callbacks
import data_modules
from lit_distill.cli.parsing.types import subclasses_of
from lit_distill.errors import UserError
from lit_distill.knobs import (
    Count,
    NotNegative,
    Share,
    Temperature,
    check_knobs,
    described,
    ranges_in,
)
from lit_distill.losses import Weight
from lit_distill.measures.probing import Fact, Judge, MaskedPronouns
from lit_distill.methods import DistiLLM, MaskedLM, MiniLM, TripleLoss
from lit_distill.models import FreshStudent, TeacherSpec
from lit_distill.schedules import Ramp
from lit_distill.tools.invocation import PLACES
from lit_distill.training.distillation import Distillation

NEEDED: dict[str, Any] = {  # what classes cannot do without, by the name of the argument
    "embedding_size": 4,
    "layers": "every_other",
    "name": "mix",
    "matrix": "hi",
    "embedded": ["en"],
    "sources": [],
    "files": "{language}.txt",
    "teacher": TeacherSpec("nowhere"),
    "start": 0.0,
    "end": 1.0,
    "updates": 100,
    "weights": {"en": 1.0},
    "words": {"good": "good", "bad": "bad"},
    "probe": MaskedPronouns(),
    "file": "texts.jsonl",
    "groups": ["women"],
    "positive": "toxic",
    "prompts": ["Who are you?"],
    "facts": {"maker": Fact([], ["X"])},
    "style": Judge("nowhere", "neutral"),
    "embedder": "nowhere",
    "hidden_size": 16,
    "fluency": Judge("nowhere", "fluent"),
    "tasks": {"topic": data_modules.PhrasebookTasks()},
}
STUDENTS = {"large": FreshStudent({}), "small": FreshStudent({})}
VALUES = (math.nan, math.inf, -math.inf, 0, -1, 1e38, 10**18, 0.5, 1, 1.5, "", "six", None, True)


def numbers_in(annotation: Any) -> list[type]:
    """The bare ints and floats of a type: numbers without a range."""
    if annotation in (int, float):
        return [annotation]
    origin = get_origin(annotation)
    if origin in (Annotated, Literal) or getattr(origin, "__module__", "") == "collections.abc":
        return []
    return [number for part in get_args(annotation) for number in numbers_in(part)]


def test_the_search_finds_what_users_name() -> None:
    names = {owner.__name__ for owner in CONFIGURABLE}
    assert names >= {
        *("TripleLoss", "DistiLLM", "Sampling", "SkewKL", "Ramp", "ModelUpdate", "Ensemble"),
        *("MultilingualCorpus", "Source", "Mix", "Temperature", "MaskedTokens", "Curriculum"),
        *("RunCheckpoint", "NonFiniteLoss", "train_tokenizer", "CacheOptions", "LayerCopyStudent"),
    }


@pytest.mark.parametrize("owner", CONFIGURABLE, ids=lambda owner: owner.__name__)
def test_every_number_has_a_range(owner: Any) -> None:
    bare = [name for name, hint in hints_of(owner).items() if numbers_in(hint)]
    assert not bare, f"{owner.__name__}: {', '.join(bare)}: use a type of lit_distill.knobs"


@pytest.mark.parametrize("owner", CONFIGURABLE, ids=lambda owner: owner.__name__)
def test_every_type_is_checked_while_a_config_is_read(owner: Any) -> None:
    """jsonargparse takes any value, with a line in its log, where it cannot resolve a type."""
    log, text = logging.getLogger("types"), io.StringIO()
    log.setLevel(logging.DEBUG)
    log.handlers, log.propagate = [logging.StreamHandler(text)], False
    parser = ArgumentParser(logger=log)
    add = parser.add_class_arguments if isinstance(owner, type) else parser.add_function_arguments
    add(owner, "its", fail_untyped=False)
    assert "fully validated" not in text.getvalue()


@dataclass(frozen=True)
class Knob:
    """A number of a class: `make` builds the class with the number in its place."""

    owner: Any
    name: str
    annotation: Any

    @property
    def kinds(self) -> set[Any]:
        return {get_origin(part) or part for part in (self.annotation, *get_args(self.annotation))}

    def make(self, value: Any) -> Any:
        if list in self.kinds:
            value = [value]
        elif dict in self.kinds:
            value = {"en": value}
        owner = CONCRETE.get(self.owner.__name__, self.owner)
        parameters = inspect.signature(owner).parameters.values()
        named = [one.name for one in parameters if one.kind != one.VAR_KEYWORD]
        given = {name: NEEDED[name] for name in named if name in NEEDED}
        if issubclass(owner, Distillation):
            several = owner.takes_several
            alone = {} if owner.by_task else {"teacher": NEEDED["teacher"]}
            given |= {**alone, **({"students": STUDENTS} if several else {})}
        return owner(**{**given, self.name: value})

    def takes(self, value: Any) -> bool:
        """Whether the declared range has the value."""
        if value is None:
            return type(None) in get_args(self.annotation)
        if isinstance(value, str | bool):
            return False
        spans = list(ranges_in(self.annotation))
        return any(inside(value, kind, span) for kind, span in spans)


def inside(value: Any, kind: type, span: Interval) -> bool:
    """Whether a number is in a range, said again in other words than the code's."""
    if kind is int and not isinstance(value, int):
        return False
    if math.isnan(value) or (math.isinf(value) and span.le != math.inf):
        return False
    return not (
        (span.gt is not None and not value > span.gt)
        or (span.ge is not None and not value >= span.ge)
        or (span.lt is not None and not value < span.lt)
        or (span.le is not None and not value <= span.le)
    )


CONCRETE = {  # by whom the numbers of abstract classes are tried
    "Distillation": MaskedLM,
    "Corpus": data_modules.MultilingualCorpus,
    "OnPolicy": DistiLLM,
    "GenerationReport": callbacks.SampleText,
    "ScoreReport": callbacks.TeacherAgreement,
}
KNOBS = [
    Knob(owner, name, hint)
    for owner in CONFIGURABLE
    if isinstance(owner, type) and (owner.__name__ in CONCRETE or not inspect.isabstract(owner))
    for name, hint in hints_of(owner).items()
    if any(ranges_in(hint))
]


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: f"{knob.owner.__name__}.{knob.name}")
def test_a_knob_takes_its_range_and_nothing_else(knob: Knob) -> None:
    for value in VALUES:
        try:
            knob.make(value)
        except UserError as error:
            refused = str(error)
            if not knob.takes(value):
                assert knob.name in refused, f"{value!r}: the message names another: {refused}"
            elif f"{knob.name} is {value}: use" in refused:
                raise AssertionError(f"{value!r} is in the range and refused: {refused}") from error
        else:
            assert knob.takes(value), f"{value!r} is outside of the range and taken"


@pytest.mark.parametrize("owner", CONFIGURABLE, ids=lambda owner: owner.__name__)
def test_no_class_is_left_out(owner: Any) -> None:
    """Abstract classes are tried by one that is not."""
    if isinstance(owner, type) and any(any(ranges_in(hint)) for hint in hints_of(owner).values()):
        concrete = [child for child in subclasses_of(owner) if not inspect.isabstract(child)]
        inherits = "__dataclass_fields__" in vars(owner) and concrete
        assert any(knob.owner is owner for knob in KNOBS) or inherits


@pytest.mark.parametrize(
    ("tool", "wrong"),
    [
        ("train_tokenizer", {"output": "", "vocab_size": -100}),
        ("train_tokenizer", {"output": "", "max_characters": 0}),
        ("train_tokenizer", {"output": "", "alphabet": 0}),
        ("preview", {"data": None, "examples": 0}),
        ("pseudo_label", {"output": "", "data": None, "teacher": None, "seed": -1}),
    ],
)
def test_tools_refuse_before_they_read(tool: str, wrong: dict[str, Any]) -> None:
    function = vars(importlib.import_module(f"lit_distill.tools.{PLACES[tool.replace('_', '-')]}"))[
        tool
    ]
    name, value = list(wrong.items())[-1]
    with pytest.raises(UserError, match=rf"{tool}\.{name} is {value}: use a whole number"):
        function(**wrong)


def test_messages_say_what_to_use_and_why() -> None:
    ours: Any = {"teacher": TeacherSpec("nowhere")}
    for make, message in (
        (
            lambda: DistiLLM(threshold=math.nan, **ours),
            "DistiLLM.threshold is nan: use a number",
        ),
        (lambda: TripleLoss(temperature=0, **ours), "TripleLoss.temperature is 0: use a number in"),
        (lambda: TripleLoss(alpha_kd=1e38, **ours), "use a number of at least 0 and at most 1e+09"),
        (lambda: Ramp(0.0, math.inf), "Ramp.end is inf: use a number of at least 0"),
    ):
        with pytest.raises(UserError) as refused:
            make()
        assert message in str(refused.value)
    assert described(int, get_args(Count)[1]) == "a whole number of at least 1"


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        (TripleLoss, dict.fromkeys(("alpha_kd", "alpha_mlm", "alpha_cos", "alpha_mse"), 0.0)),
        (MiniLM, {"alpha_attention": 0, "alpha_value": 0}),
        (DistiLLM, {"alpha_kd": 0}),
    ],
)
def test_a_method_without_any_weight_is_refused(method: Any, weights: dict[str, float]) -> None:
    with pytest.raises(UserError, match="0, so nothing is learnt"):
        method(teacher=TeacherSpec("nowhere"), **weights)
    first = next(iter(weights))
    method(teacher=TeacherSpec("nowhere"), **{**weights, first: Ramp(0.0, 1.0)})


class Nested:
    """Numbers in lists, mappings and unions."""

    def __init__(
        self,
        counts: list[Count] | Literal["all"] = "all",
        shares: dict[str, Share] | None = None,
        weight: Weight = 1.0,
        warmth: Temperature | NotNegative = 0.0,
    ) -> None:
        check_knobs(Nested, locals())


def test_numbers_are_found_in_lists_mappings_and_unions() -> None:
    Nested([1, 2], {"en": 0.5}, Ramp(0.0, 1.0), 0.0)
    for wrong, message in (
        ({"counts": [1, 0]}, "counts is 0"),
        ({"counts": "some"}, "counts is 'some'"),
        ({"shares": {"en": 0.5, "de": 2.0}}, "shares.de is 2.0"),
        ({"weight": -1.0}, "weight is -1.0"),
        ({"weight": None}, "weight is None"),
    ):
        with pytest.raises(UserError, match=message.replace("[", r"\[")):
            Nested(**wrong)
