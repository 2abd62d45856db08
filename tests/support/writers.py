"""Tiny random models that write, with a tokenizer that ends texts."""

from __future__ import annotations

from pathlib import Path

import prompted
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

VOCABULARY = 300


def save(family: str, folder: Path, seed: int = 0) -> Path:
    """Saves a GPT-2, or a T5 (a BART) whose encoder has 2 layers and whose decoder has 4 (6).

    The tokenizer's `</s>` (2) ends their texts.
    """
    torch.manual_seed(seed)
    made = {
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY, n_embd=16, n_layer=4, n_head=2, n_positions=400,
                bos_token_id=1, eos_token_id=2,
            )
        ),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(
                vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=32, num_layers=2,
                num_decoder_layers=4, num_heads=2, decoder_start_token_id=0, eos_token_id=2,
                pad_token_id=0,
            )
        ),
        "bart": lambda: BartForConditionalGeneration(
            BartConfig(
                vocab_size=VOCABULARY, d_model=16, encoder_layers=2, decoder_layers=6,
                encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
                decoder_ffn_dim=32, max_position_embeddings=400, pad_token_id=0, bos_token_id=1,
                eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
            )
        ),
    }[family]()  # fmt: skip
    with torch.no_grad():  # far enough from uniform that a wrong loss shows
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    made.save_pretrained(folder)
    prompted.tokenizer(folder)
    return folder
