"""Text that a model writes itself: many prompts at once, its keys and values cached.

Transformers runs the model and keeps the cache; the loop is ours for what `generate` there cannot
do: a text is a function of (seed, its number) whatever is written beside it, and a row that has
ended leaves the batch.

Shapes: B prompts, P their padded length, N new tokens, R rows that have not ended, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, NotNegative, PositiveShare, check_knobs
from lit_distill.models.body.captures import uncompiled
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.sharding import gathered
from lit_distill.models.generation.text_ends import ending_ids
from lit_distill.models.generation.token_draws import choose, uniforms

SamplingTemperature = Annotated[NotNegative, "0 takes the likeliest token every time"]
"""What logits are divided by before a token is drawn."""


@dataclass(frozen=True)
class Sampling:
    """How text is drawn from a model. Its temperature is not that of any loss.

    Attributes:
        max_new_tokens: longest continuation, EOS included.
        temperature: divides the logits; 0 takes the likeliest token every time.
        top_p: draws from the fewest likeliest tokens that together have this probability; 1: all.
        top_k: draws from so many likeliest tokens; 0: all.
        rows_at_once: prompts that are continued together, the longest first; memory of the cache
            grows with them.

    Raises:
        UserError: a number cannot work.
    """

    max_new_tokens: Count = 128
    temperature: SamplingTemperature = 1.0
    top_p: PositiveShare = 1.0
    top_k: CountOrNone = 0
    rows_at_once: Count = 64

    def __post_init__(self) -> None:
        check_knobs(Sampling, vars(self))


@dataclass(frozen=True)
class Generated:
    """Continuations as token ids; nothing of them is tokenised again.

    Attributes:
        tokens: (B, N) int64, padded on the right with 0, N that of the longest; EOS included.
        lengths: (B,) int64, EOS included, at least 1.
        ended: (B,) bool: whether the last token is an EOS; False where `max_new_tokens` cut.
    """

    tokens: Tensor
    lengths: Tensor
    ended: Tensor


def generate(
    model: LanguageModel,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    sampling: Sampling,
    seed: int = 0,
    sample_ids: Tensor | None = None,
    eos: Sequence[int] | None = None,
    starts: Tensor | None = None,
) -> Generated:
    """Continues prompts, in eval mode and outside of any graph; the model is left as it was.

    Args:
        model: a decoder or an encoder-decoder, on the device of the prompts.
        prompt_ids: (B, P) int64, padded on the left; sources of an encoder-decoder: on the right.
        prompt_mask: (B, P) int64, 1 at the prompts' tokens, of which each has at least one.
        sampling: how tokens are drawn.
        seed: of all draws.
        sample_ids: (B,) numbers of the texts; the draws of a text are a function of the seed and
            its number. None: their places in the batch.
        eos: ids that end a text; None: those that `ending_ids` finds.
        starts: (B, K) what an encoder-decoder has written before each; None: its start token.

    Raises:
        UserError: the model is an encoder, or the text may outgrow its position table.
    """
    check_room(model, prompt_ids.shape[1], sampling, begun=1 if starts is None else len(starts.T))
    endings = torch.tensor(eos or ending_ids(model), device=prompt_ids.device)
    numbers = torch.arange(len(prompt_ids)) if sample_ids is None else sample_ids
    draws = uniforms(seed, numbers, sampling.max_new_tokens).to(prompt_ids.device)
    tokens = torch.zeros_like(draws, dtype=torch.int64)
    lengths = prompt_mask.new_zeros(len(prompt_ids))
    ended = torch.zeros_like(lengths, dtype=torch.bool)
    order = prompt_mask.sum(1).argsort(descending=True, stable=True)
    with _writing(model):
        for rows in torch.split(order, sampling.rows_at_once) if len(order) else ():
            own = None if starts is None else starts[rows]
            text = _begin(model, prompt_ids[rows], prompt_mask[rows], own)
            tokens[rows], lengths[rows], ended[rows] = _write(text, draws[rows], sampling, endings)
    return Generated(tokens[:, : longest(lengths)], lengths, ended)


def longest(lengths: Tensor) -> int:
    """The largest of (B,) lengths, 0 of none."""
    return int(lengths.max()) if len(lengths) else 0


def check_room(
    model: LanguageModel, prompt: int, sampling: Sampling, name: str = "model", begun: int = 1
) -> None:
    """Checks that a model can write, and that prompts of `prompt` tokens leave room for it.

    Args:
        model: who writes.
        prompt: tokens of the longest prompt.
        sampling: how much.
        name: of the model, for the message.
        begun: tokens with which an encoder-decoder begins.

    Raises:
        UserError: it cannot, or they do not.
    """
    if not model.anatomy.causal:
        raise UserError(
            f"The {name} is a {type(model.model).__name__}, which fills in masked tokens and "
            "cannot write a text: use a decoder or an encoder-decoder."
        )
    whole = sampling.max_new_tokens + (begun - 1 if model.reads_pairs else prompt)
    if max(whole, prompt) > model.max_length:
        raise UserError(
            f"Prompts of {prompt} tokens and {sampling.max_new_tokens} new ones make {whole}, "
            f"and the {name}'s position table holds {model.max_length}: lower "
            "model.sampling.max_new_tokens, or the data's longest prompt."
        )


def _write(
    text: _Decoded | _Translated, draws: Tensor, sampling: Sampling, endings: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (B, max_new_tokens), lengths (B,) and ends (B,) of the rows of one cache."""
    tokens = torch.zeros_like(draws, dtype=torch.int64)
    lengths = torch.zeros(len(draws), dtype=torch.int64, device=draws.device)
    ended = torch.zeros_like(lengths, dtype=torch.bool)
    alive = torch.arange(len(draws), device=draws.device)
    for column in range(sampling.max_new_tokens):
        logits = text.model.logits(text.states())[:, : text.model.tokens]
        token = choose(
            logits, draws[alive, column], sampling.temperature, sampling.top_k, sampling.top_p
        )
        tokens[alive, column] = token
        lengths[alive] += 1
        ends = torch.isin(token, endings)
        ended[alive] = ends
        going = (~ends).nonzero().squeeze(1)
        if len(going) == 0:
            break
        if len(going) < len(alive):
            alive, token = alive[going], token[going]
            text.keep(going)
        text.append(token)
    return tokens, lengths, ended


def _begin(
    model: LanguageModel, ids: Tensor, mask: Tensor, starts: Tensor | None
) -> _Decoded | _Translated:
    """Prompts without the columns that pad all of them."""
    used = mask.any(0).nonzero().squeeze(1)
    columns = slice(int(used[0]), int(used[-1]) + 1)
    ids, mask = ids[:, columns], mask[:, columns]
    if not model.reads_pairs:
        return _Decoded(model, ids, mask)
    return _Translated(model, ids, mask, first_tokens(model, ids, starts))


class _Decoded:
    """Rows that a decoder continues, and the cache of what it has read."""

    def __init__(self, model: LanguageModel, ids: Tensor, mask: Tensor) -> None:
        self.model, self.ids, self.mask = model, ids, mask
        self.places = (mask.cumsum(1) - 1).clamp(min=0)
        self.cache = DynamicCache(config=model.config)

    def states(self) -> Tensor:
        """Reads what is new; the hidden states (R, D) that predict the next tokens."""
        inputs: dict[str, Any] = {
            self.model.anatomy.inputs[0]: self.ids,
            "attention_mask": self.mask,
            "position_ids": self.places,
            "past_key_values": self.cache,
            "use_cache": True,
        }
        hidden, _ = self.model.run_body(inputs)
        return hidden[:, -1]

    def append(self, tokens: Tensor) -> None:
        """Tokens (R,) to be read next."""
        self.ids, self.places = tokens.unsqueeze(1), self.places[:, -1:] + 1
        self.mask = torch.cat([self.mask, torch.ones_like(self.ids)], 1)

    def keep(self, rows: Tensor) -> None:
        """Drops all other rows."""
        self.mask, self.places = self.mask[rows], self.places[rows]
        self.cache.batch_select_indices(rows)


class _Translated:
    """Rows that an encoder-decoder writes from sources, and the cache of its decoder."""

    def __init__(self, model: LanguageModel, ids: Tensor, mask: Tensor, starts: Tensor) -> None:
        self.model, self.mask = model, mask
        self.source = model.run_encoder({model.anatomy.inputs[0]: ids, "attention_mask": mask})
        self.ids = starts
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def states(self) -> Tensor:
        """Reads what is new; the hidden states (R, D) that predict the next tokens."""
        inputs: dict[str, Any] = {
            "encoder_outputs": (self.source,),
            "attention_mask": self.mask,
            "decoder_input_ids": self.ids,
            "past_key_values": self.cache,
            "use_cache": True,
        }
        hidden, _ = self.model.run_body(inputs)
        return hidden[:, -1]

    def append(self, tokens: Tensor) -> None:
        """Tokens (R,) to be read next."""
        self.ids = tokens.unsqueeze(1)

    def keep(self, rows: Tensor) -> None:
        """Drops all other rows."""
        self.mask, self.source = self.mask[rows], self.source[rows]
        self.cache.batch_select_indices(rows)


def first_tokens(model: LanguageModel, prompt_ids: Tensor, starts: Tensor | None) -> Tensor:
    """What the decoder of an encoder-decoder reads first (B, K): `starts`, else its start token.

    Raises:
        UserError: its config does not say.
    """
    if starts is not None:
        return starts
    return prompt_ids.new_full((len(prompt_ids), 1), start_id(model))


def start_id(model: LanguageModel) -> int:
    """What the decoder of an encoder-decoder reads first.

    Raises:
        UserError: its config does not say.
    """
    start = getattr(model.config, "decoder_start_token_id", None)  # absent from some configs
    if start is None:
        raise UserError(
            f"The config of the {type(model.model).__name__} names no decoder_start_token_id, so "
            "it cannot begin a text: set it in the model's config.json."
        )
    return int(start)


@contextmanager
def _writing(model: LanguageModel) -> Iterator[None]:
    """Eval mode, no graph, layers as they are and whole: caches work, dropout does not.

    Gradient checkpointing drops caches in training mode only. Weights that autocast has cast
    outside of a graph are forgotten: some versions of torch would take them for the forward pass of
    training, in which they would get no gradient.
    """
    training = [module for module in model.modules() if module.training]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.callback(torch.clear_autocast_cache)
        for layer in (*model.anatomy.encoder_layers(model.model), *model.layers):
            stack.enter_context(uncompiled(layer))
        stack.enter_context(gathered(model))
        model.eval()
        try:
            yield
        finally:
            for module in training:  # alone: `train` would reach what is in it too
                module.training = True
