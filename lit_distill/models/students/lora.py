"""LoRA: low-rank products beside frozen matrices (Hu et al., 2021), in the format of `peft`."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from lit_distill.errors import UserError
from lit_distill.knobs import Count, ShareBelowOne, check_knobs
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.adapters import WEIGHTS, merge_layers, peft_library
from lit_distill.models.students.surgery import Surgery

FOLDER = "adapter"
"""Where in an export the adapter lies."""
_TASKS = {"AutoModelForCausalLM": "CAUSAL_LM", "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM"}


@dataclass(frozen=True)
class LoRA(Surgery):
    """A trained product B A beside each chosen matrix W, and everything else frozen.

        y = W x + (alpha / rank) B A x      A (rank, in) random, B (out, rank) zero at first

    An export holds W + (alpha / rank) B A in the plain architecture, and beside it, in `adapter/`,
    A and B alone as `peft.PeftModel.from_pretrained` loads them onto the model that the student
    started from. Checkpoints hold the frozen weights too, so that a run goes on, and is exported,
    without that model.

    Attributes:
        rank: columns of B; the paper uses 1 to 64.
        alpha: the scale before the division by the rank.
        dropout: probability for x on its way to A, in training; `model.dropout`, where it is set,
            replaces this one too.
        targets: names of the linear modules to change, or their ends ("query", "mlp.c_fc"); None:
            those that make queries, keys and values.
        rslora: divide by the square root of the rank instead (Kalajdzievski, 2023).

    Raises:
        UserError: a number is out of range, or a target is no name.

    Source: https://arxiv.org/abs/2106.09685; layers and format: https://github.com/huggingface/peft
    """

    rank: Count = 8
    alpha: Count = 16
    dropout: ShareBelowOne = 0.0
    targets: list[str] | None = None
    rslora: bool = False

    def __post_init__(self) -> None:
        check_knobs(LoRA, vars(self))
        if self.targets is not None and not (self.targets and all(map(str.strip, self.targets))):
            raise UserError(
                "LoRA.targets is empty: name linear modules, or leave it out for those of queries, "
                "keys and values."
            )

    def add(self, model: LanguageModel) -> None:
        """See `Surgery.add`: puts LoRA layers in the place of the targets, and freezes the rest."""
        peft = peft_library()
        targets = self._targets(model)
        linear = [model.model.get_submodule(name) for name in _linear_names(model)]
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets,
            use_rslora=self.rslora,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in linear),
            task_type=_TASKS.get(model.anatomy.auto_class),
        )
        training = model.model.training
        peft.inject_adapter_in_model(config, model.model)
        model.model.train(training)  # new layers start in training mode

    def merge(self, model: LanguageModel) -> None:
        """See `Surgery.merge`."""
        merge_layers(model.model)

    def write(self, model: LanguageModel, folder: Path) -> None:
        """Writes the adapter alone, in float32, as `peft` does."""
        peft, place, whole = peft_library(), folder / FOLDER, model.model
        weights = peft.get_peft_model_state_dict(whole, save_embedding_layers=False)
        config = whole.peft_config["default"]
        config.base_model_name_or_path = whole.config.name_or_path or None
        config.inference_mode = True
        config.auto_mapping = {
            "base_model_class": type(whole).__name__,
            "parent_library": type(whole).__module__,
        }
        place.mkdir(parents=True)
        config.save_pretrained(str(place))
        named = {f"base_model.model.{name}": value for name, value in weights.items()}
        save_file(named, place / WEIGHTS, metadata={"format": "pt"})

    def _targets(self, model: LanguageModel) -> list[str]:
        """Ends of the names of the matrices that are changed.

        Raises:
            UserError: one is the end of no linear module's name.
        """
        if self.targets is None:
            return list(dict.fromkeys(model.anatomy.projection_paths.values()))
        names = _linear_names(model)
        for target in self.targets:
            if not any(f".{name}".endswith(f".{target}") for name in names):
                leaves = sorted({name.rpartition(".")[2] for name in names})
                close = get_close_matches(target.rpartition(".")[2], leaves, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(leaves)}."
                raise UserError(
                    f"LoRA.targets: {type(model.model).__name__} has no linear module {target!r} "
                    f"in its body: {hint}"
                )
        return list(self.targets)


def _linear_names(model: LanguageModel) -> list[str]:
    """Names of the linear modules that can be changed: not of the head's map to the vocabulary."""
    head: Any = model.anatomy.lm_head_path
    return [
        name
        for name, module in model.model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and name != head
    ]
