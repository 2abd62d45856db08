"""Tiny models of the families that relations are read in, and their projections by name."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from batches import Sample, collate
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod
from lit_distill.models import LanguageModel

V = 12
SHAPE = {"vocab_size": V, "max_position_embeddings": 16, "intermediate_size": 8}
NO_ENDS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)
FAMILIES = ("bert", "xlm-roberta", "modernbert", "llama", "gpt2")
TEXTS = [Sample(0, [5, 4, 7, 8], [], [], 0), Sample(1, [9, 10, 6], [], [], 1)]

QUERIES = {
    "bert": "bert.encoder.layer.{}.attention.self.{}",
    "xlm-roberta": "roberta.encoder.layer.{}.attention.self.{}",
    "modernbert": "model.layers.{}.attn.Wqkv",
    "llama": "model.layers.{}.self_attn.{}_proj",
    "gpt2": "transformer.h.{}.attn.c_attn",
}


def model(family: str, width: int, layers: int, heads: int = 2, seed: int = 0) -> LanguageModel:
    """Random, float64, eval mode; a Llama's heads share keys and values in pairs."""
    shape = {**SHAPE, "hidden_size": width, "num_attention_heads": heads}
    shape["num_hidden_layers"] = layers
    torch.manual_seed(seed)
    if family == "bert":
        made = transformers.BertForMaskedLM(transformers.BertConfig(**shape))
    elif family == "xlm-roberta":
        made = transformers.XLMRobertaForMaskedLM(transformers.XLMRobertaConfig(**shape))
    elif family == "modernbert":
        config = transformers.ModernBertConfig(
            **shape, **NO_ENDS, pad_token_id=0, local_attention=2
        )
        made = transformers.ModernBertForMaskedLM(config)
    elif family == "llama":
        config = transformers.LlamaConfig(**shape, num_key_value_heads=max(heads // 2, 1))
        made = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(
            vocab_size=V, n_positions=16, n_embd=width, n_layer=layers, n_head=heads,
            bos_token_id=2, eos_token_id=2,
        )  # fmt: skip
        made = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return LanguageModel(made.double().eval())


def padded() -> Batch:
    return collate(TEXTS, extra=1)


def packed() -> Batch:
    """Both texts in one row."""
    ids = [token for text in TEXTS for token in text.ids]
    lengths = [len(text.ids) for text in TEXTS]
    return Batch(
        input_ids=torch.tensor([[*ids, 0]]),
        attention_mask=torch.tensor([[1] * len(ids) + [0]]),
        position_ids=torch.tensor([[*(p for n in lengths for p in range(n)), 0]]),
        segments=torch.tensor([[1] * lengths[0] + [2] * lengths[1] + [0]]),
        tokens=torch.arange(len(ids)),
        counts={"tokens": len(ids), "sequences": 2, "rows": 0, "masked": 0},
    )


def ready(method: HiddenStateMethod, teacher: LanguageModel, student: LanguageModel) -> Any:
    """The method with these models, as if a run had built them."""
    method.teachers["teacher"] = teacher.requires_grad_(False)
    method.students["student"] = student
    method.on_models_built()
    return method


def terms_of(method: HiddenStateMethod, batch: Batch) -> dict[str, Term]:
    """The method's terms on a batch."""
    return method.losses(batch, AccumulationWindow.single(batch))


def loss_of(batch: Batch, terms: dict[str, Term]) -> Tensor:
    """Their weighted sum, half-way through a run."""
    return AccumulationWindow.single(batch, progress=0.5).total_loss(terms)


def read_by_name(language_model: LanguageModel, batch: Batch, layer: int) -> dict[str, Tensor]:
    """q, k and v of a layer in the model's own forward, by hooks; not through our anatomy."""
    family, seen = language_model.config.model_type, dict[str, Tensor]()
    modules = dict(language_model.model.named_modules())
    handles, words = [], {k: k[0] if family == "llama" else k for k in ("query", "key", "value")}

    def keep(kind: str) -> Any:
        return lambda module, args, output: seen.__setitem__(kind, output)

    for kind, word in words.items():
        path = QUERIES[family].format(layer, word)
        handles.append(modules[path].register_forward_hook(keep(kind)))
    language_model.encode(batch)
    for handle in handles:
        handle.remove()
    if family in ("modernbert", "gpt2"):
        width = language_model.hidden_size
        seen = {k: v[..., i * width : (i + 1) * width] for i, (k, v) in enumerate(seen.items())}
    return seen


def nested(values: list[Any], shape: torch.Size) -> list[Any]:
    """A flat list as nested lists (complex numbers do not go through a tensor of floats)."""
    _, T, W = shape
    rows = [values[i : i + W] for i in range(0, len(values), W)]
    return [rows[i : i + T] for i in range(0, len(rows), T)]


def distance(ours: list[Any], theirs: list[Any]) -> float:
    """||g - g'|| / ||g'|| over all parameters; where one has no gradient, the other has none."""
    assert [g is None for g in ours] == [g is None for g in theirs]
    one, other = (torch.cat([g.flatten() for g in gs if g is not None]) for gs in (ours, theirs))
    return float((one - other).norm() / other.norm())
