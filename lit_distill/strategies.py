"""Which of Lightning's strategies are known to train what they are asked to."""

from __future__ import annotations

from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, Strategy

from lit_distill.errors import UserError


def check_strategy(strategy: Strategy) -> None:
    """Refuses what would fail late or train something else.

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
