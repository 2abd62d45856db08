"""What a new method of each family begins with."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

FamilyName = Literal[
    "logits", "hidden_states", "generated_text", "peers", "labels", "embeddings", "pretraining"
]


@dataclass(frozen=True)
class Family:
    """What the files of a family's methods have of their own.

    Attributes:
        knobs: the options of its config, in YAML; empty if there are none.
        tiny: how `tests/test_every_method.py` tries it, in YAML; empty where that is as usual.
        students: of its test, with their layers.
        options: of its class, in its test.
        hears: whether its losses read a teacher.
        fixture: a folder with the model of its test.
        imports: of its test, what makes the batch.
        batch: of its test.
    """

    knobs: str = ""
    tiny: str = ""
    students: str = '{"student": 2}'
    options: str = "teacher=teacher"
    hears: bool = True
    fixture: str = "tiny_bert"
    imports: str = "from batches import collate, samples"
    batch: str = "collate(samples(4, 100), extra=2)"


FAMILIES: Mapping[FamilyName, Family] = {
    "logits": Family(knobs="temperature: 1.0"),
    "hidden_states": Family(),
    "generated_text": Family(
        knobs="sampling:\n  max_new_tokens: 128\n  temperature: 1.0\n  top_p: 1.0\n  top_k: 0\n"
        "  rows_at_once: 64\nseed: 0",
        tiny="families: [gpt2]\nknobs:\n  sampling: {max_new_tokens: 6}\n",
        fixture="tiny_gpt2",
        imports="from batches import samples\nfrom prompts import halved, prompt_batch",
        batch="prompt_batch([halved(text) for text in samples(4, 100)])",
    ),
    "peers": Family(
        knobs="temperature: 1.0\nalpha: 1.0",
        tiny="students: {one: 3, two: 2}\n",
        students='{"one": 3, "two": 2}',
        options="students=students",
        hears=False,
    ),
    "labels": Family(
        knobs="temperature: 1.0",
        tiny="families: [classifier]\n",
        fixture="tiny_classifier",
        imports="from labelled import collate, pairs",
        batch="collate(pairs(8), extra=2)",
    ),
    "embeddings": Family(
        knobs="embedder:\n  pooling: mean\n  width: null\n  normalised: false",
        tiny="has_soft_targets: false\n",
    ),
    "pretraining": Family(tiny="has_soft_targets: false\n", options="", hears=False),
}


@dataclass(frozen=True)
class Method:
    """A method to be written.

    Attributes:
        name: of its class.
        family: the folder of its file.
        paper: whose it is; empty if that was not said.
        url: of the paper; likewise.
    """

    name: str
    family: FamilyName
    paper: str = ""
    url: str = ""

    @property
    def stem(self) -> str:
        """The method's name as files are called: `soft_kl` of `SoftKL`."""
        between = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
        return re.sub(between, "_", self.name).lower()

    def text(self, template: str, class_path: str) -> str:
        """The content of one of its files.

        Args:
            template: name of a file in `templates`.
            class_path: what its config calls it.
        """
        family = FAMILIES[self.family]
        source = ", ".join(filter(None, [self.paper, self.url])) or (
            "the paper, section and equation; the authors' code with its commit"
        )
        wrapped = textwrap.fill(f"Source: {source}.", 96, break_long_words=False)
        indented = textwrap.indent(wrapped, "    ").removeprefix("    Source: ")
        values = {
            **{key: value for key, value in vars(family).items() if isinstance(value, str)},
            "name": self.name,
            "stem": self.stem,
            "class_path": class_path,
            "summary": self.paper or f"{self.name}, whose it is and of which year",
            "reference": f"{source[0].upper()}{source[1:]}",
            "source": indented,
            "hears": '    method.teachers["teacher"] = whole\n' if family.hears else "",
        }
        content = (Path(__file__).parent / f"templates/{template}.txt").read_text("utf-8")
        return Template(content).substitute(values)

    def config(self, class_path: str) -> str:
        """The method's YAML, which names every option of its own."""
        knobs = FAMILIES[self.family].knobs
        options = f"  init_args:\n{textwrap.indent(knobs, '    ')}\n" if knobs else ""
        return self.text("config", class_path) + options
