"""Which of Lightning's strategies are known to train what they are asked to."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)

from lit_distill.errors import UserError


def check_strategy(strategy: Strategy) -> None:
    """Refuses what would fail late or train something else; has FSDP2 read folders safely.

    Raises:
        UserError: FSDP of the first kind, or DeepSpeed with parameters in pieces.
    """
    if isinstance(strategy, FSDPStrategy):
        raise UserError("FSDPStrategy is not supported: use configs/trainer/fsdp.yaml (FSDP2).")
    if isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3:
        raise UserError(
            "DeepSpeed stage 3 is not supported (heads are read outside the modules that it "
            "gathers): use stage 2, or configs/trainer/fsdp.yaml, which splits parameters too."
        )
    if isinstance(strategy, ModelParallelStrategy):
        vars(strategy)["load_checkpoint"] = partial(_load_checkpoint, strategy)


def _load_checkpoint(
    strategy: ModelParallelStrategy, path: str | Path, weights_only: bool | None = None
) -> dict[str, Any]:
    """Loads as the strategy does, but runs nothing that a checkpoint folder holds."""
    del weights_only
    folder = Path(strategy.broadcast(path))  # that of rank 0
    if not folder.is_dir():
        return ModelParallelStrategy.load_checkpoint(strategy, folder, weights_only=True)
    # torch's checkpoint folders take a second to import
    from lit_distill.files.sharded_checkpoint import load_sharded

    return load_sharded(strategy, folder)
