"""The memory of a run: what there is, what it takes per rank, and what would fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lit_distill.cli.preflight.findings import Finding, Level, in_bytes

FEWEST = 8
"""Updates from which growth can be told."""
FILLED = 500
"""Updates after which little is new: the caches of libraries are of a fixed number of entries."""
ROOM = 0.9
"""Share of the memory that may be planned with: allocators and other programs take the rest."""


@dataclass(frozen=True)
class Memory:
    """Bytes that one rank of a run takes.

    Attributes:
        program: what the process has before there are models: libraries, data.
        weights: of all models.
        gradients: of one update.
        states: of the optimizer.
        rest: activations, and what single operations take, beside the above.
        kept: what libraries and the allocator keep beside tensors, as measured; on a CPU.
        copies: what the strategy adds: DDP's buckets, the layer that FSDP2 has gathered.
    """

    program: int
    weights: int
    gradients: int
    states: int
    rest: int
    kept: int = 0
    copies: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(vars(self).values())

    def on_ranks(self, strategy: str, ranks: int, largest_layer: int) -> Memory:
        """What each of several ranks takes, of what one alone does.

        Args:
            strategy: name of the strategy's class.
            ranks: how many there are.
            largest_layer: bytes of the largest layer's weights.
        """
        if ranks == 1:
            return self
        whole = vars(self)
        if strategy == "ModelParallelStrategy":  # FSDP2: everything in pieces, a layer gathered
            parts = {key: whole[key] // ranks for key in ("weights", "gradients", "states")}
            return Memory(**{**whole, **parts, "copies": 2 * largest_layer})
        if strategy == "DeepSpeedStrategy":  # ZeRO-2: weights are whole
            parts = {key: whole[key] // ranks for key in ("gradients", "states")}
            return Memory(**{**whole, **parts, "copies": self.gradients})
        return Memory(**{**whole, "copies": self.gradients})  # DDP's buckets

    def table(self) -> dict[str, str]:
        """Its parts in words."""
        names = {
            "program": "program, libraries and data",
            "weights": "weights of all models",
            "gradients": "gradients",
            "states": "states of the optimizer",
            "rest": "activations and operations",
            "kept": "kept by libraries and the allocator",
            "copies": "of the strategy",
        }
        found = {names[key]: in_bytes(size) for key, size in vars(self).items() if size}
        return {**found, "in all, per rank": in_bytes(self.total)}


@dataclass(frozen=True)
class Batches:
    """What an update reads at once.

    Attributes:
        tokens: most positions of a batch.
        longest: tokens of the longest text, which a batch has to hold.
        accumulated: batches of an update.
    """

    tokens: int
    longest: int
    accumulated: int


def still_to_grow(residents: Sequence[int], updates: int) -> int:
    """Bytes that the libraries of a CPU will keep beyond those of a rehearsal.

    They keep compiled operations for every shape that they meet, and the allocator the holes of
    earlier ones. What comes falls with the number of updates, so that each doubling adds as much.

    Args:
        residents: largest resident set until the end of each update of the rehearsal.
        updates: of the run.
    """
    seen = len(residents)
    if seen < FEWEST or updates <= seen:
        return 0
    doubling = residents[-1] - residents[seen // 2 - 1]
    return int(doubling * math.log2(min(updates, FILLED) / seen))


def too_much(memory: Memory, room: int, batch: Batches | None) -> list[Finding]:
    """What to say where a run takes more than there is, or nearly.

    Args:
        memory: of a rank.
        room: bytes that there are.
        batch: what `rest` grows with; None: nobody knows.
    """
    if memory.total <= ROOM * room:
        return []
    fixed, ways = memory.total - memory.rest, list[str]()
    if batch is not None and memory.rest:
        fits = int(batch.tokens * (ROOM * room - fixed) / memory.rest) // 64 * 64
        if fits >= batch.longest:
            times = batch.accumulated * -(-batch.tokens // fits)
            ways.append(
                f"--data.batch_tokens {fits} with --trainer.accumulate_grad_batches {times} would "
                "fit, in updates of at least the size"
            )
    if memory.rest > memory.total / 3:
        ways.append("--model.execution.gradient_checkpointing true keeps one layer's activations")
    ways.append(
        "a smaller student or teacher, a teacher in bfloat16 (--model.teacher.dtype bfloat16), "
        "frozen embeddings (--model.student.freeze), or FSDP over several devices "
        "(configs/trainer/fsdp.yaml) take less"
    )
    text = f"The run takes about {in_bytes(memory.total)} a rank, and there are {in_bytes(room)}."
    level: Level = "error" if memory.total > room else "warning"
    return [Finding(level, "memory", text, f"{'; '.join(ways)}.")]
