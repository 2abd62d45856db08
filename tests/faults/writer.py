"""A tiny model that writes, the same in every session: a trained tokenizer's ids are not."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from conftest import WORDS, sentences
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}


def write_model(folder: Path) -> Path:
    """Saves a random 4-layer GPT-2 of width 16 and a tokenizer of whole words there."""
    words = dict.fromkeys([*SPECIAL.values(), *" ".join(WORDS.values()).split()])
    engine = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, SPECIAL["unk_token"]))
    engine.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=engine, **SPECIAL).save_pretrained(folder)
    torch.manual_seed(0)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), 2)
    config = GPT2Config(
        vocab_size=len(words), n_positions=32, n_embd=16, n_layer=4, n_head=2, **ends
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def write_prompts(folder: Path) -> None:
    """Writes `en.jsonl` and `de.jsonl` there, 200 prompts with responses each."""
    for language in WORDS:
        lines = sentences(language, 400)
        rows = [{"prompt": q, "response": a} for q, a in zip(lines[:200], lines[200:], strict=True)]
        (folder / f"{language}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
