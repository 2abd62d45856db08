"""The tables of an export, as they are printed and as the model card has them."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lit_distill.tools.delivering.deliverables.choices import Request
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable
from lit_distill.tools.delivering.gate.latency import TOGETHER as TIMED_TOGETHER
from lit_distill.tools.delivering.gate.latency import Latency
from lit_distill.tools.delivering.gate.parity import Parity
from lit_distill.tools.delivering.gate.scores import Score
from lit_distill.tools.delivering.gate.verdict import FLOAT32, INT8

HEADING = "## ONNX"
_NEW = "---\nlibrary_name: onnxruntime\ntags: [onnx]\n---\n\n# {name}"
_OF_THE_MODEL = (
    "Scores above, and what an evaluation found, are those of the model that became this file."
)


@dataclass(frozen=True)
class Findings:
    """All that was measured of an export.

    Attributes:
        parities: by file and language.
        scores: by language.
        latencies: by file, and of `torch`; nothing of what was refused.
        megabytes: likewise.
    """

    parities: Mapping[str, Mapping[str, Parity]]
    scores: Mapping[str, Score]
    latencies: Mapping[str, Latency] = field(default_factory=dict)
    megabytes: Mapping[str, float] = field(default_factory=dict)


def parity_table(findings: Findings) -> str:
    """The table of differences, and of accuracies where there are labels, as Markdown."""
    head = ("file", "language", "texts", "largest difference", "agreement", "KL", "similarity")
    lines = [
        [name, language, str(row.texts), f"{row.difference:.2g}", *map(_cell, _numbers(row))]
        for name, rows in findings.parities.items()
        for language, row in rows.items()
    ]
    parts = [_table(head, lines)]
    if findings.scores:
        names = list(next(iter(findings.scores.values())).files)
        scored = [
            [language, str(one.texts), _cell(one.model), *(_cell(one.files[n]) for n in names)]
            for language, one in findings.scores.items()
        ]
        parts.append(_table(("accuracy", "texts", "torch", *names), scored))
    return "\n\n".join(parts)


def latency_table(findings: Findings) -> str:
    """Sizes and times of the model and of its files, as Markdown."""
    head = ("", "MB", "ms a text, alone", f"ms a text, {TIMED_TOGETHER} together")
    lines = [
        [name, f"{findings.megabytes[name]:.1f}", f"{one.alone:.2f}", f"{one.together:.2f}"]
        for name, one in findings.latencies.items()
    ]
    return _table(head, lines)


def card(what: Deliverable, request: Request, findings: Findings) -> str:
    """The README of an export: that of its model, if it has one, and what the gate found."""
    readme = what.folder / "README.md"
    own = readme.read_text("utf-8") if readme.is_file() else _NEW.format(name=what.folder.name)
    kind = FLOAT32 if request.int8 is None else INT8
    threads = torch.get_num_threads()
    parts = [
        _without_weights(own),
        HEADING,
        f"`model.onnx` is this model in {kind}, made by torch {torch.__version__} and onnxruntime "
        f"{importlib.metadata.version('onnxruntime')}, of any batch and length. {_names(what)}",
        _use(what),
        _OF_THE_MODEL,
        f"It was compared with the model on {held(request)}. {_bounds(request)}",
        parity_table(findings),
        f"Medians on one machine ({threads} thread{'s' * (threads > 1)}), each read in turns; torch"
        " is the model in float32:",
        latency_table(findings),
    ]
    return "\n\n".join(parts) + "\n"


def _without_weights(own: str) -> str:
    """A card without what is said of a folder with weights in it, where the card is ours."""
    if "tags: [lit_distill" in own:
        own = own.replace("library_name: transformers", "library_name: onnxruntime", 1)
        own = re.sub(r"## Use\n\n```python\n.*?\n```\n", "", own, count=1, flags=re.DOTALL)
        own = re.sub(r"^- `projections/.*\n", "", own, flags=re.MULTILINE)
    return own.strip()


def held(request: Request) -> str:
    """Which texts were read, as half a sentence."""
    first = f"the first {request.gate.texts} texts of each language"
    if not request.texts:
        return f"{first} of the embedded phrasebook's validation sentences"
    files = ", ".join(f"{one}: {Path(path).name}" for one, path in request.texts.items())
    return f"{first} of files that were given ({files})"


def _bounds(request: Request) -> str:
    gate = request.gate
    float32 = (
        f"In float32, refused would be a difference above {gate.difference:g} or an agreement below"
        f" {gate.agreement:g} in any language."
    )
    if request.int8 is None:
        return float32
    return (
        f"{float32} In int8: an agreement below {gate.int8_agreement:g} (of one language: "
        f"{gate.int8_worst_agreement:g}), a KL above {gate.int8_kl:g} nats "
        f"({gate.int8_worst_kl:g}), a similarity below {gate.int8_similarity:g}. Int8 may answer "
        "otherwise on processors of another kind: compare again where it is to run."
    )


def _names(what: Deliverable) -> str:
    more = ""
    if what.cache:
        more = (
            ", `position_ids`, and keys and values `past.LAYER.key` and `past.LAYER.value` (of "
            "nothing: length 0), which it gives back longer as `present.LAYER.key` and so on"
        )
    inputs = ", ".join(f"`{name}`" for name in what.inputs)
    vectors = ""
    if what.embedding is not None:
        length = ", of length 1" if what.embedding.normalized else ""
        vectors = f" (pooling: {what.embedding.pooling}{length})"
    outputs = ", ".join(f"`{name}`" for name in what.outputs)
    return f"Inputs: {inputs}{more}. Outputs: {outputs}{vectors}."


def _use(what: Deliverable) -> str:
    if what.cache or "decoder_input_ids" in what.inputs:
        return f"Padding has the id {what.padding}, and 0 in `attention_mask`."
    return "\n".join(
        (
            "```python",
            "import onnxruntime",
            "from transformers import AutoTokenizer",
            "",
            'tokenizer, session = AutoTokenizer.from_pretrained("."), '
            'onnxruntime.InferenceSession("model.onnx")',
            'read = tokenizer(["a text"], return_tensors="np")',
            f"outputs = session.run(None, {{name: read[name] for name in {what.inputs}}})",
            "```",
        )
    )


def _numbers(row: Parity) -> tuple[float | None, ...]:
    return row.agreement, row.kl, row.similarity


def _cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if 0 < abs(value) < 1e-4 else f"{value:.4f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
