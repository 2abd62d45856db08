"""A tokenizer with an EOS token and a chat template, and rows of prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<s>", "</s>", "<|user|>", "<|bot|>", "<|stop|>"]
CHAT = (
    "<s>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n"
    "{% elif m.role == 'user' %}<|user|>{{ m.content }}{% else %}<|bot|>{{ m.content }}<|stop|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
FORGETFUL = CHAT.replace("<|bot|>{{ m.content }}", "<|bot|>(thought){{ m.content }}").replace(
    "{% if add_generation_prompt %}<|bot|>", "{% if add_generation_prompt %}<|bot|>(think)"
)
"""With another beginning of the answer once the answer is there."""
TEXTS = ["the old river runs past seven houses", "der alte fluss", "what is 3 plus 4 times 12?"]


def tokenizer(
    folder: Path, chat: str | None = CHAT, texts: Iterable[str] = TEXTS, **roles: Any
) -> str:
    """Saves one there: bytes and some merges, `<s>` before every text; its folder's name."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        [*texts] * 5, vocab_size=300, special_tokens=SPECIAL, show_progress=False
    )
    engine = trained._tokenizer
    engine.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **roles}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=engine, **{role: name for role, name in names.items() if name}
    )
    fast.chat_template = chat
    fast.save_pretrained(folder)
    return str(folder)


def rows(count: int, offset: int = 0) -> list[dict[str, str]]:
    """Different questions with answers of 1 to 4 words."""
    numbers = range(offset, offset + count)
    return [
        {"q": f"what is {n} plus {n % 7}?", "a": " ".join([str(n + n % 7)] * (n % 4 + 1))}
        for n in numbers
    ]


def write(path: Path, lines: Iterable[dict[str, Any]]) -> str:
    """As .jsonl."""
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), "utf-8")
    return str(path)
