"""Folders of tiny models with tokenizers of their kind, and texts in three languages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from architectures import random_model
from cut_vocabularies import WORDS, lines, tokenizer_of
from torch import nn
from transformers import BartForConditionalGeneration, MarianMTModel

from lit_distill.models import Anatomy
from lit_distill.models.architectures.table import anatomy_of

KIND_OF = {"bert": "wordpiece", "distilbert": "wordpiece", "gpt2": "byte-level BPE",
           "qwen2": "byte-level BPE", "modernbert": "byte-level BPE with a template",
           "llama": "BPE with bytes"}  # fmt: skip
"""Others have a Unigram."""


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of texts for each language."""
    folder = tmp_path_factory.mktemp("texts")
    for language in WORDS:
        content = "\n".join(dict.fromkeys(lines(language, 300)))
        (folder / f"{language}.txt").write_text(content + "\n", "utf-8")
    return folder


@pytest.fixture
def options(texts: Path) -> list[str]:
    """Texts of two languages of three, as options."""
    return [f"--files.{language}=[{texts / language}.txt]" for language in ("en", "hi")]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of a tiny model and its tokenizer."""

    def make(name: str, dtype: torch.dtype = torch.float32, **changes: object) -> Path:
        anatomy: Anatomy | str = anatomy_of(name) if name[0].isupper() else name
        family = anatomy.model_type if isinstance(anatomy, Anatomy) else name
        tokenizer = tokenizer_of(KIND_OF.get(family, "unigram"))
        ids = {
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.cls_token_id,
            "eos_token_id": tokenizer.sep_token_id,
        }
        if family == "modernbert":
            ids |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
        if family in ("t5", "mt5", "bart", "marian"):
            ids |= {"decoder_start_token_id": tokenizer.pad_token_id}
        if family in ("bart", "marian"):
            ids |= {"forced_eos_token_id": tokenizer.sep_token_id}
        rows = len(tokenizer) + 3
        more = {"decoder_vocab_size": rows} if family == "marian" else {}
        model = random_model(anatomy, **{"vocab_size": rows, **ids, **more, **changes})
        if isinstance(model, BartForConditionalGeneration | MarianMTModel):
            model.final_logits_bias = nn.Buffer(torch.randn_like(model.final_logits_bias))
            model.generation_config.bad_words_ids = [[tokenizer.pad_token_id]]
        folder = tmp_path / "model"
        model.to(dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
