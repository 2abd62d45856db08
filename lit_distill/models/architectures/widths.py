"""Which axis of which weight is which width of a model: what a narrower copy has to know.

Widths are named by a letter: S the residual stream (hidden size), H all heads of queries side by
side, G those of keys and values, F the feed-forward block; "." is an axis that stays. A letter is
repeated where a module makes several of that width side by side, such as queries, keys and values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy


@dataclass(frozen=True)
class Widths:
    """The widths of one family's weights.

    Attributes:
        modules: patterns of module names, and the axes of their `weight`.
        writes: inside a layer, the module through which the feed-forward block writes.
        reads: inside a layer, each norm before a block, and the modules that read it; empty where
            norms come after the blocks, whose sum then has gains that no map can take over.
        final: the norm that only the head reads.
        transposed: patterns of modules whose weight is (in, out), as GPT-2's.
        free_heads: whether the heads need not be as wide, together, as the stream.
    """

    modules: Mapping[str, str]
    writes: str
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    final: str | None = None
    transposed: str = r"$^"
    free_heads: bool = False

    def axes(self, name: str) -> tuple[str, ...]:
        """The widths of a parameter's axes, such as ("H", "S").

        Args:
            name: of the parameter.

        Raises:
            UserError: nothing is known of it.
        """
        module, _, leaf = name.rpartition(".")
        for pattern, axes in self._compiled:
            if pattern.search(module):
                found = tuple(axes.split())
                if leaf == "weight":
                    return found
                return found[-1:] if self._columns.search(module) else found[:1]
        raise UserError(
            f"NarrowCopyStudent does not know the widths of {name}: use LayerCopyStudent, which "
            "keeps all widths, or FreshStudent."
        )

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], str]]:
        ends = (rf"(^|\.)({pattern})$" for pattern in self.modules)
        return [
            (re.compile(end), axes) for end, axes in zip(ends, self.modules.values(), strict=True)
        ]

    @cached_property
    def _columns(self) -> re.Pattern[str]:
        return re.compile(rf"(^|\.)({self.transposed})$")


_BERT = Widths(
    {
        r"\w+_embeddings": ". S",
        r"LayerNorm|layer_norm": "S",
        r"attention\.self\.(query|key|value)": "H S",
        r"attention\.output\.dense": "S H",
        r"intermediate\.dense": "F S",
        r"layer\.\d+\.output\.dense": "S F",
        r"(transform|pooler|lm_head|classifier)\.dense": "S S",
        r"predictions|decoder|lm_head|classifier|out_proj|qa_outputs": ". S",
    },
    writes="output.dense",
)
_DISTILBERT = Widths(
    {
        r"\w+_embeddings": ". S",
        r"LayerNorm|\w+_layer_norm": "S",
        r"attention\.[qkv]_lin": "H S",
        r"attention\.out_lin": "S H",
        r"ffn\.lin1": "F S",
        r"ffn\.lin2": "S F",
        r"vocab_transform|pre_classifier": "S S",
        r"vocab_projector|classifier|qa_outputs": ". S",
    },
    writes="ffn.lin2",
)
_MODERNBERT = Widths(
    {
        r"tok_embeddings": ". S",
        r"\w*norm": "S",
        r"attn\.Wqkv": "HHH S",
        r"attn\.Wo": "S H",
        r"mlp\.Wi": "FF S",
        r"mlp\.Wo": "S F",
        r"head\.dense": "S S",
        r"decoder|classifier|qa_outputs": ". S",
    },
    writes="mlp.Wo",
)
_GPT2 = Widths(
    {
        r"wte|wpe": ". S",
        r"ln_\w": "S",
        r"attn\.c_attn": "S HHH",
        r"attn\.c_proj": "H S",
        r"mlp\.c_fc": "S F",
        r"mlp\.c_proj": "F S",
        r"lm_head|score": ". S",
    },
    writes="mlp.c_proj",
    reads={"ln_1": ("attn.c_attn",), "ln_2": ("mlp.c_fc",)},
    final="ln_f",
    transposed=r"c_\w+",
)
_LLAMA = Widths(
    {
        r"embed_tokens": ". S",
        r"\w+_layernorm|norm": "S",
        r"self_attn\.q_proj": "H S",
        r"self_attn\.[kv]_proj": "G S",
        r"self_attn\.o_proj": "S H",
        r"self_attn\.[qk]_norm": ".",
        r"mlp\.(gate|up)_proj": "F S",
        r"mlp\.down_proj": "S F",
        r"lm_head|score": ". S",
    },
    writes="mlp.down_proj",
    reads={
        "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
    },
    final="norm",
    free_heads=True,
)

WIDTHS: dict[str, Widths] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), _BERT),
    "distilbert": _DISTILBERT,
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "granite"), _LLAMA),
}
"""By config.model_type. Gemma multiplies its embeddings by the root of the hidden size."""


def widths_of(anatomy: Anatomy) -> Widths:
    """The widths of an architecture's weights.

    Raises:
        UserError: they are not known; the message names the types whose are.
    """
    if anatomy.model_type not in WIDTHS:
        raise UserError(
            f"NarrowCopyStudent cannot narrow a {anatomy.architecture}: it knows the widths of "
            f"{', '.join(WIDTHS)}. Encoder-decoders have two streams, ELECTRA and ALBERT have "
            "embeddings of another width, and Gemma multiplies embeddings by the root of its "
            "width. Use LayerCopyStudent, which keeps all widths, or FreshStudent with "
            "embeddings=svd."
        )
    return WIDTHS[anatomy.model_type]
