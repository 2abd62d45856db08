"""Tiny language models over a vocabulary that a test spells out, and slow ways to ask them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from lit_distill.measures.probing import Asked
from lit_distill.measures.probing.asked import plain_engine
from lit_distill.models import LanguageModel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."]


def tokenizer_of(words: Sequence[str], causal: bool = False) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of exactly these pieces, and of special tokens and a full stop."""
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys([*SPECIAL, *words]))}
    engine = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    engine.pre_tokenizer = BertPreTokenizer()
    roles = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    if causal:
        roles |= {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    else:
        roles |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
        engine.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=engine, **roles)


def model_of(tokenizer: PreTrainedTokenizerFast, kind: type, seed: int = 0, **more: object):
    """A random one of width 16, far enough from uniform that a wrong number shows."""
    torch.manual_seed(seed)
    if kind is GPT2LMHeadModel:
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=2, n_head=2,
            bos_token_id=2, eos_token_id=3,
        )  # fmt: skip
    else:
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=32, **more,
        )  # fmt: skip
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def asked_of(words: Sequence[str], causal: bool = False, seed: int = 0) -> Asked:
    tokenizer = tokenizer_of(words, causal)
    model = model_of(tokenizer, GPT2LMHeadModel if causal else BertForMaskedLM, seed)
    return Asked("tiny", LanguageModel(model), tokenizer, plain_engine(tokenizer))


def saved(asked: Asked, folder: Path) -> str:
    asked.model.model.save_pretrained(folder)
    asked.tokenizer.save_pretrained(folder)
    return str(folder)


def classifier_of(words: Sequence[str], labels: Sequence[str], seed: int = 0) -> Asked:
    tokenizer = tokenizer_of(words)
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    model = model_of(tokenizer, BertForSequenceClassification, seed, **names)
    return Asked("classifier", LanguageModel(model), tokenizer, plain_engine(tokenizer))


@torch.no_grad()
def log_p(asked: Asked, ids: Sequence[int], place: int, target: int) -> float:
    """One log-probability, by the model's own forward on one text."""
    logits = asked.model.model(input_ids=torch.tensor([list(ids)])).logits[0, place].double()
    return float(logits.log_softmax(-1)[target])


def ids_of(asked: Asked, *pieces: str) -> list[int]:
    return [asked.tokenizer.convert_tokens_to_ids(piece) for piece in pieces]
