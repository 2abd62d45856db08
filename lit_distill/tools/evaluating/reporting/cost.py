"""What models cost: parameters, disk, memory, operations, time.

Counted and timed is the body, from token ids to the last hidden states: the same work for an
encoder, a decoder and a classifier, whose head reads one row of it. Random tokens, no padding.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lit_distill.errors import UserError
from lit_distill.knobs import Count, Positive, check_knobs
from lit_distill.models import LanguageModel, TeacherSpec
from lit_distill.models.body.captures import eager_attention

_log = getLogger(__name__)
_ROUNDS = 5  # at least so often is each model timed


@dataclass(frozen=True)
class CostSpec:
    """How costs are measured.

    Attributes:
        lengths: tokens per text; those beyond a model's longest are left out.
        batches: texts at once.
        seconds: of timing, for each length and batch, all models together.
        device: by default a GPU where there is one.
    """

    lengths: tuple[Count, ...] = (32, 128)
    batches: tuple[Count, ...] = (1, 32)
    seconds: Positive = 3.0
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))
        if not self.lengths or not self.batches:
            raise UserError("CostSpec: lengths and batches are empty: give at least one of each.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError("CostSpec.device is cuda, and torch sees no GPU here: use cpu or auto.")

    @property
    def place(self) -> str:
        """The device that is meant."""
        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.device


@dataclass(frozen=True)
class Timing:
    """How long one forward of the body takes.

    Attributes:
        batch: texts at once.
        length: tokens of each.
        low: lower quartile, in milliseconds.
        median: in milliseconds.
        high: upper quartile, in milliseconds.
        tokens_per_second: at the median.
        rounds: how often it was timed, in turns with the other models.
    """

    batch: int
    length: int
    low: float
    median: float
    high: float
    tokens_per_second: float
    rounds: int


@dataclass(frozen=True)
class Cost:
    """What one model costs.

    Attributes:
        parameters: of all that its folder holds, tied weights once.
        without_embeddings: of those, without tables that are looked up (tokens, positions) and
            without an output matrix over the vocabulary.
        disk: bytes of its weight files; None of a hub name.
        peak_memory: bytes that a fresh process needs at most, beyond what the libraries need, to
            load it and to run the largest batch; None where that process did not live.
        peak_gpu_memory: bytes on the GPU of the same; None without one.
        flops_per_token: floating-point operations (a multiplication and an addition are two) of a
            text of the longest length, divided by its tokens.
        timings: by batch and length.
    """

    parameters: int
    without_embeddings: int
    disk: int | None
    peak_memory: int | None
    peak_gpu_memory: int | None
    flops_per_token: float
    timings: tuple[Timing, ...]

    def timing(self, batch: int, length: int) -> Timing | None:
        """That of a batch and a length, if it was taken."""
        fitting = (own for own in self.timings if (own.batch, own.length) == (batch, length))
        return next(fitting, None)


def measure_costs(models: Mapping[str, str], spec: CostSpec | None = None) -> dict[str, Cost]:
    """Costs of models, timed in turns in this process so that a slow moment hits all.

    Args:
        models: folders or hub names by name; encoders, decoders, classifiers, bodies alone.
        spec: how.

    Raises:
        UserError: one cannot be opened, or reads no tokens.
    """
    spec = spec or CostSpec()
    memory = {name: peak_memory(folder, spec) for name, folder in models.items()}
    opened = {
        name: TeacherSpec(folder).build(needs_head=False).to(spec.place)
        for name, folder in models.items()
    }
    timings = _timings(opened, spec)
    costs = {}
    for name, model in opened.items():
        peak, gpu_peak = memory[name]
        costs[name] = Cost(
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            without_embeddings=without_embeddings(model),
            disk=disk_of(Path(models[name])),
            peak_memory=peak,
            peak_gpu_memory=gpu_peak,
            flops_per_token=flops_per_token(model, max(_lengths(model, spec))),
            timings=tuple(timings[name]),
        )
    return costs


def flops_per_token(model: LanguageModel, length: int) -> float:
    """Operations of one text's forward through the body, divided by its tokens.

    Attention runs by its formula for this: the counter does not know a CPU's fused kernels.
    """
    counter = FlopCounterMode(display=False)
    with eager_attention(model.model), counter, torch.no_grad():
        model.run_body(inputs_of(model, 1, length))
    return counter.get_total_flops() / length


def inputs_of(model: LanguageModel, batch: int, length: int) -> dict[str, Any]:
    """Random tokens as the body reads them, on the device of the model.

    Raises:
        UserError: the model reads something else than tokens.
    """
    names = model.anatomy.inputs
    if "input_ids" not in names:
        raise UserError(
            f"A {model.anatomy.architecture} reads {names[0]} and no tokens: its costs are not "
            "measured; leave it out of `models`, or `cost` out of the evaluation."
        )
    generator = torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    inputs: dict[str, Any] = {}
    for name in names:
        if name.endswith("input_ids"):
            ids = torch.randint(model.vocab_size, (batch, length), generator=generator)
            inputs[name] = ids.to(device)
        elif name.endswith("attention_mask"):
            inputs[name] = torch.ones(batch, length, dtype=torch.int64, device=device)
    if model.anatomy.causal:
        inputs["use_cache"] = False
    return inputs


def peak_memory(folder: str, spec: CostSpec) -> tuple[int | None, int | None]:
    """Bytes that loading a model and running its largest batch need: of the process, of the GPU.

    In a process of its own: here, what earlier models needed would hide it.
    """
    wanted = json.dumps({"folder": folder, **asdict(spec), "device": spec.place})
    module = "lit_distill.tools.evaluating.reporting.peak_memory"
    done = subprocess.run(
        [sys.executable, "-m", module, wanted],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        _log.warning("The peak memory of %s is not known: %s", folder, said[-1])
        return None, None
    peak, gpu_peak = json.loads(done.stdout.strip().splitlines()[-1])
    return peak, gpu_peak


def _lengths(model: LanguageModel, spec: CostSpec) -> list[int]:
    """Those that the model can read; its longest if it can read none."""
    fitting = [length for length in spec.lengths if length <= model.max_length]
    return fitting or [model.max_length]


def largest(model: LanguageModel, spec: CostSpec) -> tuple[int, int]:
    """The largest batch and length."""
    return max(spec.batches), max(_lengths(model, spec))


def _timings(models: Mapping[str, LanguageModel], spec: CostSpec) -> dict[str, list[Timing]]:
    found: dict[str, list[Timing]] = {name: [] for name in models}
    lengths = sorted({length for model in models.values() for length in _lengths(model, spec)})
    for batch in spec.batches:
        for length in lengths:
            able = {name: own for name, own in models.items() if length in _lengths(own, spec)}
            for name, seconds in _seconds(able, batch, length, spec.seconds).items():
                low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75)).tolist()
                speed = batch * length / median
                thousand = (1e3 * low, 1e3 * median, 1e3 * high)
                found[name].append(Timing(batch, length, *thousand, speed, len(seconds)))
    return found


@torch.no_grad()
def _seconds(
    models: Mapping[str, LanguageModel], batch: int, length: int, budget: float
) -> dict[str, list[float]]:
    """Seconds of single forwards, the models in another order each round."""
    inputs = {name: inputs_of(model, batch, length) for name, model in models.items()}
    for name, model in models.items():  # the first call is slower
        _one(model, inputs[name])
    found: dict[str, list[float]] = {name: [] for name in models}
    order, shuffled = list(models), random.Random(0)
    end, rounds = time.perf_counter() + budget, 0
    while rounds < _ROUNDS or time.perf_counter() < end:
        shuffled.shuffle(order)
        for name in order:
            found[name].append(_one(models[name], inputs[name]))
        rounds += 1
    return found


def _one(model: LanguageModel, inputs: Mapping[str, Tensor]) -> float:
    start = time.perf_counter()
    states, _ = model.run_body(dict(inputs))
    if states.is_cuda:
        torch.cuda.synchronize(states.device)
    return time.perf_counter() - start


def without_embeddings(model: LanguageModel) -> int:
    """Parameters but for tables that are looked up and an output matrix over the vocabulary."""
    tables = [own.weight for own in model.modules() if isinstance(own, nn.Embedding)]
    output = model.model.get_output_embeddings()
    known = {id(weight) for weight in (*tables, *([] if output is None else [output.weight]))}
    return sum(own.numel() for own in model.parameters() if id(own) not in known)


def disk_of(folder: Path) -> int | None:
    """Bytes of a model's weight files; None of a hub name."""
    files = [path for kind in ("*.safetensors", "*.bin") for path in folder.glob(kind)]
    return sum(path.stat().st_size for path in files) if folder.is_dir() else None
