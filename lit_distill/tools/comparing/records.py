"""What the run of a model has written down about itself, as far as a comparison asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from callbacks.watching.training_record import TRAINING
from lit_distill.tools.reporting.parts import finite
from lit_distill.tools.reporting.plain_files import class_name, inside, json_of, leaves, yaml_of
from lit_distill.tools.reporting.runs import CONFIG, FACTS, REPORT, is_run

_ELSEWHERE = {"data_dir", "cache_dir", "num_workers", "tokenizer", "report", "trainer"}
"""Settings of data that say where texts lie and how fast they are read, not which they are."""
_NO_PIPELINE = ("name", "revision", "seed", "tokenizer", "cache")
"""Parts of settings of a method that say which model is meant, and not what is done with it."""


@dataclass(frozen=True)
class Record:
    """What is known of the training behind a model; None or nothing where nobody wrote it down.

    Attributes:
        run: its folder.
        student: name of the model in it.
        updates: that were made.
        exported_after: updates before the weights that are compared.
        tokens: that were read, over all ranks.
        seconds: of training, without validations.
        identity: what has to be the same in a fair comparison, by what it is of.
        order: hashes of the texts' order, by micro-batches.
        pipeline: what was done, by dotted name.
        problems: sentences about what could not be read.
        earlier: of the run whose student this one went on with, and so on back.
    """

    run: Path
    student: str
    updates: int | None
    exported_after: int | None
    tokens: int | None
    seconds: float | None
    identity: Mapping[str, str] = field(default_factory=dict)
    order: Mapping[str, str] = field(default_factory=dict)
    pipeline: Mapping[str, str | float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    earlier: tuple[Record, ...] = ()

    @property
    def is_start(self) -> bool:
        """Whether nothing was trained: a truncation."""
        return self.updates == 0


def record_of(source: str) -> Record | None:
    """Reads what the run of a model has written; None: the model is in no run folder.

    Args:
        source: folder of the model, `RUN/student`, or of one of several, `RUN/student/NAME`.
    """
    return _record_of(source, ())


def _record_of(source: str, later: tuple[Path, ...]) -> Record | None:
    """A record with those of the runs before it; a run that has been read is not read again."""
    folder = Path(source).expanduser()
    kinds = ("student", "student-last")
    if folder.name in kinds:
        run, name = folder.parent, None
    elif folder.parent.name in kinds:
        run, name = folder.parent.parent, folder.name
    else:
        return None
    if not is_run(run) or run.resolve() in later:
        return None
    kind = folder.name if name is None else folder.parent.name
    return _read(folder, run, kind, name, (*later, run.resolve()))


def _read(folder: Path, run: Path, kind: str, name: str | None, later: tuple[Path, ...]) -> Record:
    problems = list[str]()
    config = yaml_of(run / CONFIG, problems)
    facts, report = json_of(run / FACTS, problems), json_of(run / REPORT, problems)
    training = json_of(run / TRAINING, problems)
    known = [*inside(training, "starts"), *inside(facts, "students"), "student"]
    student = name or known[0]
    updates = _whole(report.get("updates"))
    best = inside(report, "best" if kind == "student" else "last", "students", student)
    tokens, ranks = _whole(training.get("tokens")), _whole(training.get("processes")) or 1
    began = inside(config, "model", "init_args", "student", "init_args").get("name")
    before = _record_of(began, later) if isinstance(began, str) else None
    return Record(
        run,
        student,
        updates,
        _whole(best.get("updates")) if kind == "student" and best else updates,
        None if tokens is None else tokens * ranks,
        finite(training.get("seconds")),
        _identity(folder, student, config, facts, training),
        {str(count): str(own) for count, own in inside(training, "order").items()},
        pipeline_of(config, facts, student, updates),
        tuple(f"{run}: {one}" for one in problems),
        () if before is None else (before, *before.earlier),
    )


def pipeline_of(
    config: Mapping[str, Any], facts: Mapping[str, Any], student: str, updates: int | None
) -> dict[str, str | float]:
    """What was done to get a student: method, settings, layers kept, updates; numbers as numbers.

    Settings that name models, and seeds, are left out: they are no choice of a method.
    """
    found: dict[str, str | float] = {"method": class_name(inside(config, "model")) or "?"}
    for path, value in leaves(inside(config, "model")):
        parts = path.split(".")
        if path != "class_path" and not any(part in _NO_PIPELINE for part in parts):
            text = value.rpartition(".")[2] if parts[-1] == "class_path" else value
            found[f"model.{path}"] = _plain(text)
    layers = _whole(inside(facts, "students", student).get("layers"))
    found |= {} if layers is None else {"layers": float(layers)}
    return found | ({} if updates is None else {"updates": float(updates)})


def _identity(
    folder: Path,
    student: str,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    training: Mapping[str, Any],
) -> dict[str, str]:
    """What has to be the same, by item; hashes where there are some, else what the config says."""
    found = {}
    weights, start = inside(training, "starts").get(student), inside(facts, "students", student)
    if isinstance(weights, str):
        found["start"] = weights
    if start:
        found["start as said"] = json.dumps(inside(start, "start"), sort_keys=True)
    if isinstance(training.get("texts"), str):
        found["data"] = training["texts"]
    data = {name: v for name, v in inside(config, "data", "init_args").items() if v is not None}
    settings = {name: value for name, value in data.items() if name not in _ELSEWHERE | {"seed"}}
    found["data as said"] = _short(settings)
    found["order as said"] = f"seed {data.get('seed')}"
    teachers = [inside(one).get("fingerprint") for one in inside(facts, "teachers").values()]
    if teachers and all(isinstance(one, str) for one in teachers):
        found["teacher"] = " ".join(map(str, teachers))
    if (tokenizer := _tokenizer(folder)) is not None:
        found["tokenizer"] = tokenizer
    return found


def _tokenizer(folder: Path) -> str | None:
    """A hash of how a tokenizer cuts; what it pads and truncates to is each run's own."""
    about = json_of(folder / "tokenizer.json", [])
    return _short({**about, "padding": None, "truncation": None}) if about else None


def _short(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _plain(text: str) -> str | float:
    try:
        return value if (value := finite(float(text))) is not None else text
    except ValueError:
        return text


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
