"""From a checkpoint to plain Hugging Face folders, or to ONNX files; no teacher is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from callbacks import (
    facts_of,
    newest_readable_checkpoint,
    read_index,
    read_texts,
    training_of,
    write_student,
)
from callbacks.saving.student_folder import Precision
from lit_distill.errors import UserError
from lit_distill.files.checkpoint_description import description_of
from lit_distill.files.output_folders import check_output
from lit_distill.files.scratch import in_scratch
from lit_distill.tools.delivering.deliverables.choices import (
    Format,
    Gate,
    Int8Spec,
    OnnxSpec,
    Request,
)


def export(
    checkpoint: str,
    output: str | None = None,
    dtype: Precision = "float32",
    format: Format = "hf",
    texts: dict[str, str] | None = None,
    labelled: dict[str, str] | None = None,
    onnx: OnnxSpec = OnnxSpec(),  # noqa: B008 (frozen, as the others)
    int8: Int8Spec = Int8Spec(),  # noqa: B008
    gate: Gate = Gate(),  # noqa: B008
) -> dict[str, Path]:
    """Writes the students of a checkpoint as folders that `from_pretrained` loads, or as ONNX.

    Each holds weights (or an ONNX file, if it computes what the student does: docs/delivery.md),
    config, tokenizer, a model card, and the config of the run.

    Args:
        checkpoint: a .ckpt file (or folder, of weights in pieces), or a run folder: its best
            checkpoint (of several students, that of each), or else its last; for ONNX also the
            Hugging Face folder of any model.
        output: the folder; an earlier export of the kind there is replaced, and nothing else. Of
            several students, one folder each inside. By default beside what is exported.
        dtype: of the written weights; ONNX files are made of float32.
        format: safetensors, or an ONNX file in float32 or int8.
        texts: held text on which ONNX is compared, as `--texts.de FILE`; else the phrasebook.
        labelled: tables of `text` and `label` on which classifiers are, as `--labelled.de FILE`.
        onnx: what an ONNX file computes.
        int8: how int8 is made.
        gate: how far an ONNX file may be from its model; beyond it is refused.

    Returns:
        The folders, by student.

    Raises:
        UserError: there is no such checkpoint, it is broken, or not one of lit_distill; the output
            would replace what is not an export; or an ONNX file is not as its model.
    """
    if format == "hf":
        if texts or labelled:
            raise UserError("--texts and --labelled are read for ONNX alone: give --format onnx.")
        written = _write(Path(checkpoint), Path(output) if output else None, dtype)
        return {name: found[0] for name, found in written.items()}
    if dtype != "float32":
        raise UserError(
            f"--dtype {dtype} is for --format hf: an ONNX file is made of float32, and --format "
            "onnx-int8 makes it smaller."
        )
    small = int8 if format == "onnx-int8" else None
    asked = Request(small, texts or {}, labelled or {}, onnx, gate)
    return _as_onnx(Path(checkpoint), output, format, asked)


def _as_onnx(given: Path, output: str | None, suffix: str, request: Request) -> dict[str, Path]:
    """ONNX of a folder, or of the folders that the students of a checkpoint would become."""
    from lit_distill.tools.delivering.deliver import deliver  # data modules, which take a second

    if _is_folder_of_a_model(given):
        place = Path(output) if output else given.absolute().with_name(f"{given.name}-{suffix}")
        deliver(given, place, request, str(given))
        return {given.name: place}

    def all_of(scratch: Path) -> dict[str, Path]:
        students = _write(given, scratch / "student", "float32", tells=False)
        places = {
            name: _place(path, kind, output, f"-{suffix}") / one.relative_to(scratch / "student")
            for name, (one, path, kind) in students.items()
        }
        for name, place in places.items():
            deliver(students[name][0], place, request, f"{name} of {students[name][1]}")
        return places

    return in_scratch(all_of)


def _is_folder_of_a_model(path: Path) -> bool:
    """Whether a path is a Hugging Face folder, and no run's."""
    configs = ("config.json", "adapter_config.json")
    return any((path / name).is_file() for name in configs) and not (path / "checkpoints").is_dir()


def _place(checkpoint: Path, kind: str, output: str | Path | None, suffix: str = "") -> Path:
    """Where the export of a checkpoint lies; `kind` is what names it."""
    beside = checkpoint.absolute().parent.parent
    return Path(output) if output else beside / f"student-{kind}{suffix}"


def _write(
    given: Path, output: Path | None, dtype: Precision, tells: bool = True
) -> dict[str, tuple[Path, Path, str]]:
    """Hugging Face folders of students by name, each with its checkpoint and what that is called.

    Args:
        given: as of `export`, like the next two.
        output: likewise.
        dtype: likewise.
        tells: whether to print what was written.
    """
    best = sorted((given / "checkpoints").glob("best-*.ckpt"))
    written: dict[str, tuple[Path, Path, str]] = {}
    for path in best or [_file(given)]:
        content = _read(path)
        description = description_of(content, str(path))
        kind = "best" if best else path.stem
        folder = _place(path, kind, output)
        several = len(description["students"]) > 1
        names = [n for n in description["students"] if not best or path.stem == f"best-{n}"]
        places = {name: folder / name if several else folder for name in names}
        for place in places.values():
            check_output(place)
        run = path.absolute().parent.parent
        if (seen := read_texts(run)) is None and tells:
            print(
                f"Nothing in {run} tells which texts were read ({run.name}/seen_texts is not "
                "there), so that `evaluate` cannot refuse to score the export on them."
            )
        for name, place in places.items():
            with _sound(path):
                training = replace(training_of(content, name), facts=facts_of(run))
                weights = _weights(content, f"students.{name}.")
                exported = _weights(content, "exported.")
                write_student(place, name, description, weights, training, dtype, exported, seen)
            if tells:
                print(f"{path}, {training.updates} updates: {name} written to {place}")
            written[name] = place, path, kind
    return written


def _weights(content: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """The state dict of a part of the run, as of one student, in a checkpoint."""
    state = content["state_dict" if "state_dict" in content else "module"]  # DeepSpeed's name
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Says in one line that a checkpoint does not hold what it should."""
    try:
        yield
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{path} is damaged, or was not written by lit_distill ({type(error).__name__}: "
            f"{reason[:200]}): give another of the run's checkpoints/."
        ) from error


def _file(path: Path) -> Path:
    """The checkpoint meant by a file or a run folder."""
    folder = path / "checkpoints"
    if folder.is_dir():
        best = folder / "best.ckpt"
        newest = None if best.exists() else newest_readable_checkpoint(folder)[0]
        path = newest or best
    if not path.exists():
        raise UserError(
            f"There is no checkpoint {path}: give a .ckpt file, or a run folder that has "
            "checkpoints/."
        )
    if path.is_dir() and path.suffix != ".ckpt" and not (path / "meta.pt").exists():
        raise UserError(
            f"{path} is a folder, and neither a run folder (with checkpoints/) nor the checkpoint "
            "of weights in pieces (with meta.pt): give one of these, or a .ckpt file."
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_index(path)
        if isinstance(content, dict) and (path / ".metadata").exists():
            # torch's checkpoint folders take a second to import
            from lit_distill.files.sharded_checkpoint import sharded_weights

            content["state_dict"] = sharded_weights(path, "state_dict.")
    except UserError:
        raise
    except Exception as error:  # broken files fail in many ways
        raise UserError(
            f"{path} is no checkpoint, or not a whole one: give another of the run's checkpoints/."
        ) from error
    return dict(content) if isinstance(content, dict) else {}
