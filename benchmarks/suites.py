"""Which workloads are measured side by side, and with which candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import causal_step
import mutual_step
import published
import references
import relation_step
import torch
import triple_loss_step
from others import distilbert_script
from timing.side_by_side import Candidate, Limits, Suite, peer
from timing.workers import Step

from lit_distill import host_memory

SMALL: dict[str, Any] = {"vocabulary": 211, "width": 16, "sequences": 2}


def suites(device: str, dtype: torch.dtype) -> list[Suite]:
    """All that make sense on the device."""
    made = [
        *(triple(v, rows, device, dtype) for v in (30_522, 119_547) for rows in (False, True)),
        *(causal(v, device, dtype) for v in (32_000, 128_000)),
        relations(device, dtype),
        *(mutual(rows, device, dtype) for rows in (False, True)),
    ]
    return [*made, *published.suites(dtype)] if device == "cuda" else made


def in_own_process(build: Callable[[Any], Step]) -> Callable[[Any], Step]:
    """A candidate with what `python -m lit_distill` sets for its process."""

    def made(work: Any) -> Step:
        host_memory.keep_freed()
        return build(work)

    return made


def triple(vocabulary: int, all_rows: bool, device: str, dtype: torch.dtype) -> Suite:
    """DistilBERT's triple loss; on a GPU at BERT-base's size."""
    work = triple_loss_step.Workload(vocabulary, all_rows, device=device, dtype=dtype)
    if device == "cuda":
        work = replace(work, width=768, sequences=32, length=128)
    candidates = {
        "floor": Candidate(triple_loss_step.floor, other_loss=True),
        "ours": Candidate(in_own_process(triple_loss_step.in_lightning)),
        "ours, by hand": Candidate(triple_loss_step.ours),
        "plain": Candidate(
            triple_loss_step.plain, "No package: rows selected before the head, `kl_div`, autograd."
        ),
        "HF script": Candidate(
            distilbert_script.script, "Not on PyPI: the arithmetic of the script, written anew."
        ),
        "TextBrewer": peer(
            "textbrewer",
            "others.textbrewer",
            "triple_loss",
            "TextBrewer's soft loss is a cross-entropy, with the teacher's entropy in it, and has "
            "no T^2, which is put into its weight here (with 5.0 as in the paper it would be a "
            "quarter of the paper's).",
            offset=references.teacher_entropy,
        ),
        "torchdistill": peer(
            "torchdistill",
            "others.torchdistill",
            "triple_loss",
            "torchdistill's KDLoss takes the softmax over dimension 1, the positions of (B, T, V) "
            "logits: they are flattened before it here. The cosine is written for it.",
        ),
    }
    return Suite(
        name=f"triple loss, V={vocabulary}, {'all' if all_rows else 'masked'} rows",
        work=work,
        tiny=replace(work, layers=(2, 1), length=16, **SMALL),
        candidates=candidates,
        reference=references.triple_loss,
        limits=Limits(1.25 if vocabulary > 100_000 or not all_rows else 1.2, twice=True),
        sizes=f"BERT {_sizes(work)}, 15 % masked",
    )


def causal(vocabulary: int, device: str, dtype: torch.dtype) -> Suite:
    """Forward KL on given text."""
    length = 64 if vocabulary < 100_000 else 32
    work = causal_step.Workload(vocabulary, length // 8, length, length, device=device, dtype=dtype)
    if device == "cuda":
        work = replace(work, sequences=16, prompt=128, completion=128, widths=(2048, 1024))
    candidates = {
        "floor": Candidate(causal_step.floor, other_loss=True),
        "ours": Candidate(in_own_process(causal_step.in_lightning)),
        "plain": Candidate(causal_step.plain, "No package: `kl_div` and autograd."),
        "trl GKD": peer("trl", "others.trl", "gkd", "GKDTrainer, lmbda 0: prompts too."),
        "trl Distillation": peer(
            "trl",
            "others.trl",
            "distillation",
            "DistillationTrainer trains on the student's own text only: it is handed the given "
            "text where it would generate.",
        ),
        "Liger": peer(
            "liger_kernel",
            "others.liger",
            "forward_kl",
            "LigerFusedLinearJSDLoss in a hand-written loop, not compiled on a CPU.",
        ),
    }
    return Suite(
        name=f"causal KL, V={vocabulary}",
        work=work,
        tiny=replace(
            work,
            vocabulary=211,
            sequences=2,
            prompt=5,
            completion=6,
            layers=(2, 1),
            widths=(32, 16),
        ),
        candidates=candidates,
        reference=references.forward_kl,
        sizes=(
            f"Llama {work.layers[0]} x {work.widths[0]} -> {work.layers[1]} x {work.widths[1]}, "
            f"{work.sequences} x ({work.prompt} + {work.completion})"
        ),
    )


def relations(device: str, dtype: torch.dtype) -> Suite:
    """MiniLMv2's query, key and value relations."""
    work = relation_step.Workload(device=device, dtype=dtype)
    if device == "cuda":
        work = replace(work, width=768, sequences=32, length=512, heads=48)
    candidates = {
        "floor": Candidate(relation_step.floor, other_loss=True),
        "ours": Candidate(in_own_process(relation_step.in_lightning)),
        "ours, by hand": Candidate(relation_step.ours),
        "plain": Candidate(relation_step.plain, "No package: bodies whole, relations whole."),
        "TextBrewer": peer(
            "textbrewer",
            "others.textbrewer",
            "relations",
            "TextBrewer has no relation loss: its NST loss, the mean square between Gram matrices "
            "of hidden states, is the nearest, and is not MiniLMv2.",
            other_loss=True,
        ),
        "torchdistill": peer(
            "torchdistill",
            "others.torchdistill",
            "relations",
            "torchdistill has no relation loss: the plain formula on its hooks.",
        ),
    }
    return Suite(
        name="relations (MiniLMv2)",
        work=work,
        tiny=replace(work, layers=(3, 2), layer=2, heads=4, length=8, **SMALL),
        candidates=candidates,
        reference=references.relations,
        sizes=f"BERT {_sizes(work)}, teacher layer {work.layer}, {work.heads} relation heads",
    )


def mutual(all_rows: bool, device: str, dtype: torch.dtype) -> Suite:
    """Two masked LMs that learn from each other."""
    work = triple_loss_step.Workload(30_522, all_rows, device=device, dtype=dtype)
    if device == "cuda":
        work = replace(work, width=768, sequences=32, length=128)
    candidates = {
        "floor": Candidate(mutual_step.floor, other_loss=True),
        "ours": Candidate(in_own_process(mutual_step.in_lightning)),
        "ours, by hand": Candidate(mutual_step.ours),
        "joint": Candidate(mutual_step.joint, "No package has mutual learning of LMs: plain."),
    }
    return Suite(
        name=f"mutual learning, V=30522, {'all' if all_rows else 'masked'} rows",
        work=work,
        tiny=replace(work, layers=(2, 1), length=16, **SMALL),
        candidates=candidates,
        reference=references.mutual,
        sizes=f"BERT {_sizes(work)}, 15 % masked",
    )


def _sizes(work: Any) -> str:
    teacher, student = work.layers
    sequences = work.sequences or triple_loss_step.SEQUENCES[work.vocabulary]
    return f"{teacher} and {student} x {work.width}, {sequences} x {work.length}"
