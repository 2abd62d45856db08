"""Tiny translators with the tokenizers of NLLB, mBART and mBART-50, which have language codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    NllbTokenizer,
)

LETTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüßáéíóúñ¿¡?!.,':0123456789"
PIECES = ["<s>", "<pad>", "</s>", "<unk>", *LETTERS]
NLLB = {"en": "eng_Latn", "de": "deu_Latn", "es": "spa_Latn"}
MBART = {"en": "en_XX", "de": "de_DE", "es": "es_XX"}
KINDS = ("nllb", "legacy nllb", "mbart", "mbart50")


def tokenizer(kind: str, language: str = "en") -> Any:
    """One that cuts texts into letters, set to read a language (of `codes`)."""
    source = codes(kind)[language]
    if "nllb" in kind:
        numbers = {piece: number for number, piece in enumerate(PIECES)}
        legacy = "legacy" in kind
        more = [*NLLB.values()]
        return NllbTokenizer(
            numbers, [], src_lang=source, extra_special_tokens=more, legacy_behaviour=legacy
        )
    made = {"mbart": MBartTokenizer, "mbart50": MBart50Tokenizer}[kind]
    return made([(piece, -1.0 * (n > 3)) for n, piece in enumerate(PIECES)], src_lang=source)


def codes(kind: str) -> dict[str, str]:
    """The codes of such a tokenizer."""
    return NLLB if "nllb" in kind else MBART


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Saves a translator of 2 layers each, with its tokenizer."""
    torch.manual_seed(seed)
    own = tokenizer(kind)
    sizes = {
        **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 24),
    }
    given = {"vocab_size": len(own), "d_model": 16, "max_position_embeddings": 160, **sizes}
    begun = {"decoder_start_token_id": 2} if kind == "mbart50" else {}
    made: Any = (
        M2M100ForConditionalGeneration(M2M100Config(**given, encoder_layerdrop=0.0))
        if "nllb" in kind
        else MBartForConditionalGeneration(MBartConfig(**given, **begun))
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    made.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder
