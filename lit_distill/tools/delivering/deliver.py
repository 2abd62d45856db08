"""From a Hugging Face folder to one with an ONNX file, which a gate lets through or not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import check_output, mark
from lit_distill.files.scratch import in_scratch
from lit_distill.models import tokenizer_files, write_tokenizer_files
from lit_distill.tools.delivering.card import Findings, card, held, latency_table, parity_table
from lit_distill.tools.delivering.deliverables.choices import Int8Spec, Request
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable, open_deliverable
from lit_distill.tools.delivering.gate.examples import EDGES, Example, edges, held_texts, read
from lit_distill.tools.delivering.gate.latency import latencies
from lit_distill.tools.delivering.gate.parity import Parity, parities
from lit_distill.tools.delivering.gate.running import OnnxRunner, TorchRunner
from lit_distill.tools.delivering.gate.scores import labelled_texts, scores
from lit_distill.tools.delivering.gate.verdict import FLOAT32, INT8, faults
from lit_distill.tools.delivering.making.int8 import write_int8
from lit_distill.tools.delivering.making.onnx_export import check_installed, write_onnx

KIND = "ONNX export"
_FILE = "model.onnx"


def deliver(folder: Path, output: Path, request: Request, called: str) -> Findings:
    """Writes an ONNX file with tokenizer, config and card, if it is as its model.

    Prints the table of differences in any case.

    Args:
        folder: a Hugging Face folder.
        output: an earlier ONNX export there is replaced, and nothing else.
        request: what is asked.
        called: how messages call the model.

    Returns:
        What was measured.

    Raises:
        UserError: a library is missing, something cannot be read or exported, or the gate refuses;
            nothing is written then.
    """
    check_installed()
    check_output(output, kind=KIND)
    texts = held_texts(request.texts, request.gate.texts)

    def opened() -> Deliverable:
        return open_deliverable(folder, request.onnx, called)

    first = opened()
    labelled_texts(first, request.labelled)
    with replacing(output) as beside:
        beside.mkdir()

        def made(scratch: Path) -> Findings:
            paths = _files(first, beside, scratch, request.int8)
            what = opened()  # anew: nothing that exporting changed
            findings = measured(what, paths, request, texts)
            _write_beside(what, beside, request, findings)
            return findings

        findings = in_scratch(made)
    print(f"{called}: {_FILE} written to {output}")
    return findings


def _files(
    what: Deliverable, beside: Path, scratch: Path, int8: Int8Spec | None
) -> dict[str, Path]:
    """Makes the files by name; the last of them lies in the folder that is delivered."""
    if int8 is None:
        write_onnx(what, beside / _FILE)
        return {FLOAT32: beside / _FILE}
    write_onnx(what, scratch / _FILE)
    write_int8(scratch / _FILE, beside / _FILE, int8)
    return {FLOAT32: scratch / _FILE, INT8: beside / _FILE}


def _write_beside(what: Deliverable, beside: Path, request: Request, findings: Findings) -> None:
    """Writes what belongs to a file that the gate let through."""
    write_tokenizer_files(beside, tokenizer_files(what.tokenizer))
    what.model.config.save_pretrained(beside)
    for name in ("generation_config.json", "config.yaml"):  # the latter is the run's
        if (what.folder / name).is_file():
            shutil.copyfile(what.folder / name, beside / name)
    (beside / "README.md").write_text(card(what, request, findings), "utf-8")
    numbers = strict_json.dumps(asdict(findings) | {"text": held(request)}, indent=1)
    (beside / "parity.json").write_text(numbers + "\n", "utf-8")
    mark(beside, KIND)


def measured(
    what: Deliverable,
    paths: Mapping[str, Path],
    request: Request,
    texts: Mapping[str, Sequence[str]],
) -> Findings:
    """What the gate finds; what it lets through is timed.

    Args:
        what: the model, opened after its files were made.
        paths: of the files, by name.
        request: with bounds and labelled texts.
        texts: by language.

    Raises:
        UserError: a file is not as its model.
    """
    model = TorchRunner(what)
    files = {name: OnnxRunner(what, path) for name, path in paths.items()}
    examples = {language: read(what, some) for language, some in texts.items()}
    found: dict[str, dict[str, Parity]] = {name: {} for name in files}
    for language, some in examples.items():
        for name, parity in parities(what, model, files, some).items():
            found[name][language] = parity
    extremes = edges(what, [text for some in texts.values() for text in some])
    for name, parity in parities(what, model, files, extremes, together=1).items():
        found[name][EDGES] = parity
    scored = scores(what, model, files, labelled_texts(what, request.labelled))
    findings = Findings(found, scored)
    print(f"On {held(request)}:\n\n{parity_table(findings)}\n")
    if beyond := faults(found, scored, request.gate):
        more = f" and {len(beyond) - 3} more" if len(beyond) > 3 else ""
        raise UserError(
            f"The export of {what.called} is refused, and nothing was written: "
            f"{'; '.join(beyond[:3])}{more}. {_instead(request, beyond)}"
        )
    times = latencies(what, model, files, _mixed(examples))
    findings = Findings(found, scored, times, _megabytes(what, paths))
    print(f"{latency_table(findings)}\n")
    return findings


def _instead(request: Request, beyond: Sequence[str]) -> str:
    if request.int8 is not None and all(one.startswith(INT8) for one in beyond):
        finer = "" if request.int8.blocks else "scales for smaller parts (--int8.blocks 32), "
        floats = "embeddings in float (--int8.embeddings false), " * request.int8.embeddings
        return (
            f"Float32 would pass: take --format onnx, {finer}{floats}or set other bounds (--gate)."
        )
    return "The file does not compute what the model does: take --format hf, and report this."


def _mixed(examples: Mapping[str, Sequence[Example]]) -> list[Example]:
    """Examples of all languages, one of each in turn, so that no part is of one language."""
    most = max(map(len, examples.values()))
    return [some[n] for n in range(most) for some in examples.values() if n < len(some)]


def _megabytes(what: Deliverable, paths: Mapping[str, Path]) -> dict[str, float]:
    """Sizes of the files, weights beside them included, and of the model's weights."""
    weights = {id(one): one.numel() * one.element_size() for one in what.model.parameters()}
    sizes = {
        name: sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))
        for name, path in paths.items()
    }
    return {name: size / 1e6 for name, size in {"torch": sum(weights.values()), **sizes}.items()}
