"""Prompts and two Llamas of random weights: what an on-policy step is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from lit_distill.batch import Batch

SIZES = {32_000: (8, 64), 128_000: (4, 32)}
"""Prompts, and tokens of a prompt and of what is written after it, by vocabulary."""


def llama(vocabulary: int, layers: int, width: int, seed: int) -> LlamaForCausalLM:
    """A Llama of random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        intermediate_size=4 * width,
        max_position_embeddings=256,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


@dataclass
class Workload:
    """One vocabulary."""

    vocabulary: int

    def __post_init__(self) -> None:
        self.texts, self.tokens = SIZES[self.vocabulary]
        torch.manual_seed(2)
        self.prompts = torch.randint(5, self.vocabulary - 1, (self.texts, self.tokens))

    @property
    def name(self) -> str:
        return f"V={self.vocabulary}"

    def models(self) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
        """A fresh teacher and student; the same weights every time."""
        teacher = llama(self.vocabulary, 8, 512, 0).eval().requires_grad_(False)
        student = llama(self.vocabulary, 4, 256, 1)
        with torch.no_grad():
            for model in (teacher, student):  # that no text ends
                model.lm_head.weight[-1] = 0
                model.generation_config.eos_token_id = None
        return teacher, student.train()

    def batch(self) -> Batch:
        """Prompts without responses."""
        mask = torch.ones_like(self.prompts)
        nothing = torch.empty(0, dtype=torch.int64)
        return Batch(
            input_ids=self.prompts,
            attention_mask=mask,
            prompt_ids=self.prompts,
            prompt_mask=mask,
            tokens=torch.arange(self.prompts.numel()),
            rows=nothing,
            targets=nothing,
            labelled=torch.zeros(self.texts, dtype=torch.int64),
            language=torch.zeros(self.texts, dtype=torch.int64),
            sample_id=torch.arange(self.texts),
            counts={
                "tokens": self.prompts.numel(),
                "sequences": self.texts,
                "rows": 0,
                "masked": 0,
            },
        )

    def write(self, student: LlamaForCausalLM) -> Tensor:
        """Prompts and continuations (texts, 2 x tokens), by transformers."""
        student.eval()
        whole = student.generate(
            self.prompts,
            attention_mask=torch.ones_like(self.prompts),
            do_sample=True,
            top_k=0,
            max_new_tokens=self.tokens,
            eos_token_id=None,
            pad_token_id=0,
        )
        student.train()
        return whole

    def rows(self, model: LlamaForCausalLM, whole: Tensor) -> Tensor:
        """Logits (texts x tokens, V) that predict the continuation."""
        hidden = model.model(whole, use_cache=False).last_hidden_state
        return model.lm_head(hidden[:, self.tokens - 1 : -1].flatten(0, 1))
