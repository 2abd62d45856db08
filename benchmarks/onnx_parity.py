"""ONNX and int8 of a small random model of each family, beside the model: differences and times.

    python benchmarks/onnx_parity.py            # a minute or two a family on an idle core

The tokenizer is trained on the phrasebook, on whose held-out sentences the gate compares, in ten
languages and mixes. Weights are drawn wide, so that the logits differ as trained ones do.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast
from transformers.utils import logging

from data_modules.phrasebook import phrasebook
from data_modules.phrasebook_text.sentences import SPOKEN
from lit_distill.tools.delivering.card import Findings
from lit_distill.tools.delivering.deliver import deliver
from lit_distill.tools.delivering.deliverables.choices import Gate, Int8Spec, OnnxSpec, Request
from lit_distill.tools.delivering.gate.examples import EDGES

TEXTS = 8
WIDE = 0.12  # standard deviation of weights; models begin at 0.02
ENCODER = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 130,
    "pad_token_id": 0,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "BERT": ("BertForMaskedLM", ENCODER),
    "BERT, 12 labels of texts": ("BertForSequenceClassification", {**ENCODER, "num_labels": 12}),
    "DistilBERT": (
        "DistilBertForMaskedLM",
        {"dim": 128, "n_layers": 2, "n_heads": 4, "hidden_dim": 512},
    ),
    "XLM-R": ("XLMRobertaForMaskedLM", ENCODER),
    "ModernBERT": (
        "ModernBertForMaskedLM",
        {**ENCODER, **dict.fromkeys(("bos_token_id", "cls_token_id"), 2), "eos_token_id": 3},
    ),
    "GPT-2": ("GPT2LMHeadModel", {"n_embd": 128, "n_layer": 2, "n_head": 4, "pad_token_id": 0}),
    "GPT-2 with keys and values": (
        "GPT2LMHeadModel",
        {"n_embd": 128, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
    ),
    "Llama": ("LlamaForCausalLM", {**ENCODER, "num_key_value_heads": 2}),
    "T5": (
        "T5ForConditionalGeneration",
        {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 2, "num_heads": 4}
        | {"decoder_start_token_id": 0},
    ),
    "BERT embedder, mean": ("BertModel", ENCODER),
}


def main() -> None:
    """Prints one line for each family that is named, or for all."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    head = "file, worst language: largest difference | agreement | KL | similarity"
    print(f"| model | {head} | ms a text, 8 together: torch, float32, int8 | MB, likewise |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer()
        for name in sys.argv[1:] or MODELS:
            place = Path(folder) / "model"
            _save(name, tokenizer, place)
            spec = OnnxSpec("mean" if "embedder" in name else None, None, "keys" in name)
            loose = Gate(TEXTS, 1e-3, 0.999, 0, 0, 99, 99, 0)  # int8 is told, not judged
            request = Request(Int8Spec(), onnx=spec, gate=loose)
            with redirect_stdout(sys.stderr):
                findings = deliver(place, Path(folder) / "out", request, name)
            for line in _lines(name, findings):
                print(line, flush=True)


def _tokenizer() -> BertTokenizerFast:
    lines = [s.text for one in SPOKEN for s in phrasebook(0).sentences(one, "train", 500)]
    trainer = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    trainer.train_from_iterator(lines, vocab_size=2000, show_progress=False)
    return BertTokenizerFast(tokenizer_object=trainer._tokenizer)


def _save(name: str, tokenizer: BertTokenizerFast, place: Path) -> None:
    architecture, shape = MODELS[name]
    model_class = getattr(transformers, architecture)
    torch.manual_seed(0)
    model = model_class(model_class.config_class(vocab_size=len(tokenizer), **shape))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, WIDE)
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)


def _lines(name: str, findings: Findings) -> list[str]:
    """A line for each file, with the worst of its languages in each column."""
    lines = []
    for file, rows in findings.parities.items():
        known = [row for language, row in rows.items() if language != EDGES]
        cells = [
            f"{max(row.difference for row in known):.1e}",
            _worst(min, [row.agreement for row in known]),
            _worst(max, [row.kl for row in known]),
            _worst(min, [row.similarity for row in known]),
        ]
        lines.append(f"| {name}, {file} | {' | '.join(cells)} | {_of(findings)} |")
    return lines


def _of(findings: Findings) -> str:
    times = ", ".join(f"{one.together:.2f}" for one in findings.latencies.values())
    sizes: Mapping[str, float] = findings.megabytes
    return f"{times} | {', '.join(f'{size:.1f}' for size in sizes.values())}"


def _worst(which: Any, values: list[float | None]) -> str:
    found = [value for value in values if value is not None]
    return "-" if not found else f"{which(found):.2g}" if which is max else f"{which(found):.4f}"


if __name__ == "__main__":
    main()
