"""How models are run, apart from what they compute: memory against time."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import torch

from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel


@dataclass(frozen=True)
class Execution:
    """How students and teachers are run.

    Attributes:
        gradient_checkpointing: students keep only what enters each layer and run it again in the
            backward pass: activations of one layer instead of all, for about a third more time.
        compile: backend of `torch.compile` for the layers of students and teachers ("inductor");
            None runs them as they are. Compiled once for all lengths; takes about a minute.
        attention: how students and teachers attend, as Transformers names it ("sdpa", "eager",
            "flash_attention_2"); None leaves each model its own. On a CPU "eager" (plain products)
            is twice as fast in bf16-mixed at short lengths: torch's kernel has a slow backward
            pass there (2.13).

    Raises:
        UserError: there is no such backend.
    """

    gradient_checkpointing: bool = False
    compile: str | None = None
    attention: str | None = None

    def __post_init__(self) -> None:
        if self.compile is None:
            return
        backends = torch.compiler.list_backends(exclude_tags=())
        if self.compile not in backends:
            close = get_close_matches(self.compile, backends, 1) or ["inductor"]
            raise UserError(
                f"torch.compile has no backend {self.compile!r} here; did you mean {close[0]!r}? "
                f"It has {', '.join(backends)}."
            )

    def apply(self, model: LanguageModel) -> None:
        """Changes how `model` runs, in place; last, after it is sharded.

        Args:
            model: a student, or a teacher whose weights need no gradients.

        Raises:
            UserError: its class cannot run layers again, or attend in this way here.
        """
        if self.attention is not None:
            try:
                model.model.set_attn_implementation(self.attention)
            except (ImportError, ValueError) as error:
                raise UserError(
                    f"{type(model.model).__name__} cannot attend by {self.attention!r} here: "
                    f"{' '.join(str(error).split())} Set model.execution.attention to null, sdpa "
                    "or eager."
                ) from error
        if self.gradient_checkpointing and any(p.requires_grad for p in model.parameters()):
            if not model.model.supports_gradient_checkpointing:
                raise UserError(
                    f"{type(model.model).__name__} has no gradient checkpointing: set "
                    "model.execution.gradient_checkpointing to false."
                )
            # Reentrant checkpointing would run captured layers without a graph.
            model.model.activation_checkpointing_enable({"use_reentrant": False})
        if self.compile is not None:
            model.compile_layers(self.compile)
