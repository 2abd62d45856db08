"""TextBrewer's `GeneralDistiller.train` on our batches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import relation_step
import torch
from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig
from timing.loops import STEPS, LoopSteps, Requests
from torch import Tensor, nn
from triple_loss_step import ALPHA_CE, ALPHA_COS, ALPHA_MLM, TEMPERATURE, Workload

from lit_distill.batch import IGNORED, Batch, row_targets

Adaptor = Callable[[Any, Any], dict[str, Any]]


class Recording(GeneralDistiller):  # type: ignore[misc]
    """Keeps the loss of the latest step, which TextBrewer only logs."""

    latest: Tensor

    def train_on_batch(self, batch: Any, args: Any) -> Any:
        total, parts = super().train_on_batch(batch, args)
        self.latest = total.detach().clone()
        return total, parts


def triple_loss(work: Workload) -> LoopSteps[Any]:
    """Its DistilBERT losses: soft cross-entropy, the model's own masked-LM loss, cosine.

    The soft loss has no T^2: it is in the weight. The teacher gets no labels, so that it computes
    no loss of its own. Masks are given as batches with padding need them.
    """
    batch = work.batch
    attended = batch["attention_mask"]
    labels = row_targets(batch, batch["tokens"]).view_as(batch["input_ids"])

    def adaptor(_: Any, output: Any) -> dict[str, Any]:
        features = {
            "logits": output.logits,
            "logits_mask": attended if work.all_rows else labels != IGNORED,
            "hidden": output.hidden_states[-1:],
            "inputs_mask": attended,
        }
        if output.loss is not None:
            features["losses"] = output.loss
        return features

    config = DistillationConfig(
        temperature=TEMPERATURE,
        kd_loss_type="ce",
        kd_loss_weight=ALPHA_CE * TEMPERATURE**2,
        hard_label_weight=ALPHA_MLM,
        intermediate_matches=[_match("cos", 0, ALPHA_COS)],
    )
    return _steps(config, work.models(), adaptor, batch, {"labels": labels})


def relations(work: relation_step.Workload) -> LoopSteps[Any]:
    """The nearest that it has: the mean square between Gram matrices of hidden states (NST)."""

    def adaptor(_: Any, output: Any) -> dict[str, Any]:
        return {"hidden": output.hidden_states, "inputs_mask": work.batch["attention_mask"]}

    match = _match("nst", [work.layer, work.layer], 1.0)
    match["layer_S"] = [work.layers[1], work.layers[1]]
    config = DistillationConfig(hard_label_weight=0, intermediate_matches=[match])
    return _steps(config, work.models(), adaptor, work.batch, {})


def _match(loss: str, layer: int | list[int], weight: float) -> dict[str, Any]:
    return {
        "layer_T": layer,
        "layer_S": layer,
        "feature": "hidden",
        "loss": loss,
        "weight": weight,
    }


def _steps(
    config: Any,
    models: tuple[nn.Module, nn.Module],
    adaptor: Adaptor,
    batch: Batch,
    labels: Mapping[str, Tensor],
) -> LoopSteps[Any]:
    teacher, student = models
    folder = tempfile.mkdtemp()
    training = TrainingConfig(
        device=str(batch["input_ids"].device), output_dir=folder, ckpt_steps=STEPS
    )
    distiller = Recording(training, config, teacher, student, adaptor, adaptor)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    requests = Requests({"teacher": inputs, "student": {**inputs, **labels}})

    def run() -> None:
        with distiller:
            distiller.train(
                optimizer, requests, num_steps=STEPS, max_grad_norm=5.0, output_hidden_states=True
            )

    return LoopSteps(requests, run, lambda: distiller.latest.item())
