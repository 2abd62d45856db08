"""The triple loss with the arithmetic of Hugging Face's DistilBERT script, which is not on PyPI.

Written anew after huggingface/transformers-research-projects, distillation/distiller.py: logits at
all positions, chosen one by one by a mask as wide as the vocabulary, and a Python number of each
loss in every step.
"""

from __future__ import annotations

import torch
from timing.workers import Step
from torch import Tensor
from torch.nn import functional
from triple_loss_step import ALPHA_CE, ALPHA_COS, ALPHA_MLM, TEMPERATURE, Workload, optimise

from lit_distill.batch import IGNORED, row_targets


def chosen(values: Tensor, mask: Tensor) -> Tensor:
    """Rows (N, D) of values (B, T, D) where the mask (B, T) is true."""
    wide = mask.unsqueeze(-1).expand_as(values)
    return values.masked_select(wide).view(-1, values.shape[-1])


def script(work: Workload) -> Step:
    """Models as they are called there, hidden states and all."""
    teacher, student = work.models()
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-6, fused=True)
    batch = work.batch
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    labels = row_targets(batch, batch["tokens"]).view_as(batch["input_ids"])
    attended = batch["attention_mask"].bool()
    mask = attended if work.all_rows else labels != IGNORED

    def step() -> float:
        mine = student(**inputs, output_hidden_states=True)
        with torch.no_grad():
            theirs = teacher(**inputs, output_hidden_states=True)
        z, y = chosen(mine.logits, mask), chosen(theirs.logits, mask)
        log_q = functional.log_softmax(z / TEMPERATURE, -1)
        p = functional.softmax(y / TEMPERATURE, -1)
        kl = functional.kl_div(log_q, p, reduction="batchmean") * TEMPERATURE**2
        ce = functional.cross_entropy(mine.logits.flatten(0, 1), labels.flatten())
        states, its = (chosen(o.hidden_states[-1], attended) for o in (mine, theirs))
        cos = functional.cosine_embedding_loss(states, its, states.new_ones(len(states)))
        loss = ALPHA_CE * kl + ALPHA_MLM * ce + ALPHA_COS * cos
        optimise(student, loss, optimizer)
        values = [each.item() for each in (loss, kl, ce, cos)]
        return values[0]

    return step
