"""Training batches of prompts and what was written after them.

Shapes: B texts, P padded length of prompts, N of what was written, T of both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from lit_distill.batch import IGNORED, Batch, PromptBatch, read_ids
from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.generation.generation import (
    Generated,
    Sampling,
    first_tokens,
    generate,
    longest,
)


def write(
    model: LanguageModel,
    batches: Sequence[PromptBatch],
    sampling: Sampling,
    seed: int,
    eos: Sequence[int],
) -> list[Generated]:
    """Continues the prompts of several batches at once.

    Args:
        model: who writes.
        batches: of which `prompt_ids`, `prompt_mask`, `sample_id` and, if there are any,
            `target_starts` are read.
        sampling: how.
        seed: of all draws; a text is a function of it and of its `sample_id`.
        eos: ids that end a text.

    Returns:
        What was written, by batch.

    Raises:
        UserError: a batch has no prompts.
    """
    if any("prompt_ids" not in batch for batch in batches):
        raise UserError(
            "This method lets a model continue prompts, and the data has none: use a data module "
            "of prompts (PromptCorpus)."
        )
    width = max(batch["prompt_ids"].shape[1] for batch in batches)
    ids, mask = (
        torch.cat([_widened(each, width, model.reads_pairs) for each in tensors])
        for tensors in (
            [batch["prompt_ids"] for batch in batches],
            [batch["prompt_mask"] for batch in batches],
        )
    )
    numbers = torch.cat([batch["sample_id"] for batch in batches])
    starts = [batch["target_starts"] for batch in batches if "target_starts" in batch]
    begun = torch.cat(starts) if starts else None
    whole = generate(model, ids, mask, sampling, seed, numbers, eos, begun)
    sizes = [len(batch["prompt_ids"]) for batch in batches]
    parts = (torch.split(each, sizes) for each in (whole.tokens, whole.lengths, whole.ended))
    return [
        Generated(tokens[:, : longest(lengths)], lengths, ended)
        for tokens, lengths, ended in zip(*parts, strict=True)
    ]


def _widened(tensor: Tensor, width: int, right: bool) -> Tensor:
    more = width - tensor.shape[1]
    return pad(tensor, (0, more) if right else (more, 0))


def with_written_responses(
    batch: PromptBatch, written: Generated, model: LanguageModel, kept: Tensor | None = None
) -> PromptBatch:
    """The batch that trains on what was written after the prompts, and on nothing else.

    The first row is the last token of a prompt; the last one predicts the last token that was
    written, an EOS where there is one. Nothing of a response of the data is left.

    Args:
        batch: with `prompt_ids` and `prompt_mask`.
        written: after its prompts.
        model: any that will read it; all are decoders or all encoder-decoders with one start.
        kept: (B,) bool; texts without it have no rows. None: all have.
    """
    text = _target(batch, written, model) if model.reads_pairs else _whole(batch, written)
    chosen = text.predicting if kept is None else text.predicting & kept.unsqueeze(1)
    rows, tokens = (each.flatten().nonzero().squeeze(1) for each in (chosen, text.real))
    return PromptBatch(
        **text.inputs,
        **starts_of(batch),
        language=batch["language"],
        sample_id=batch["sample_id"],
        prompt_ids=batch["prompt_ids"],
        prompt_mask=batch["prompt_mask"],
        labelled=torch.ones_like(batch["sample_id"]),
        rows=rows,
        targets=text.following.flatten().index_select(0, rows),
        tokens=tokens,
        counts={
            **dict.fromkeys(batch["counts"], 0),
            "tokens": len(tokens),
            "sequences": len(written.lengths),
            "rows": len(rows),
            "written": len(written.lengths),
            "written_tokens": int(written.lengths.sum()),
            "ended": int(written.ended.sum()),
        },
    )


def prompts_without_response(batch: PromptBatch) -> PromptBatch:
    """The prompts (U of B) that have no response, as `write` takes them."""
    chosen = (batch["labelled"] == 0).nonzero().squeeze(1)
    return PromptBatch(
        prompt_ids=batch["prompt_ids"][chosen],
        prompt_mask=batch["prompt_mask"][chosen],
        sample_id=batch["sample_id"][chosen],
        **starts_of(batch, chosen),
    )


def starts_of(batch: PromptBatch, chosen: Tensor | slice = slice(None)) -> PromptBatch:
    """The `target_starts` of texts of a batch; nothing where it has none."""
    if "target_starts" not in batch:
        return PromptBatch()
    return PromptBatch(target_starts=batch["target_starts"][chosen])


def with_missing_responses(
    batch: PromptBatch,
    written: Generated,
    model: LanguageModel,
    kept: Tensor | None = None,
    right: bool = True,
) -> PromptBatch:
    """The batch with the data's responses, and with what was written where there are none.

    Args:
        batch: of the data.
        written: after its `prompts_without_response` prompts (U texts).
        model: as of `with_written_responses`.
        kept: (U,) bool; written texts without it have no rows. None: all have.
        right: whether written tokens are targets too; else theirs are `IGNORED`.
    """
    own, chosen = _responses(batch), (batch["labelled"] == 0).nonzero().squeeze(1)
    width = max(own.tokens.shape[1], written.tokens.shape[1])
    tokens = pad(own.tokens, (0, width - own.tokens.shape[1]))
    tokens[chosen] = pad(written.tokens, (0, width - written.tokens.shape[1]))
    own.lengths[chosen], own.ended[chosen] = written.lengths, written.ended
    learnt = torch.ones_like(own.ended)
    if kept is not None:
        learnt[chosen] = kept
    made = with_written_responses(batch, Generated(tokens, own.lengths, own.ended), model, learnt)
    made["labelled"] = batch["labelled"]
    made["counts"] |= {"written": len(chosen), "written_tokens": int(written.lengths.sum())}
    if not right:
        text = made["rows"] // read_ids(made).shape[1]
        made["targets"] = made["targets"].where(batch["labelled"][text] == 1, IGNORED)
    return made


def _responses(batch: PromptBatch) -> Generated:
    """The data's, as if they had been written; of length 0 where there is none. None has ended."""
    text = batch["rows"] // read_ids(batch).shape[1]
    lengths = torch.bincount(text, minlength=len(batch["labelled"]))
    place = torch.arange(len(text), device=text.device) - (lengths.cumsum(0) - lengths)[text]
    tokens = lengths.new_zeros(len(lengths), longest(lengths))
    tokens[text, place] = batch["targets"]
    return Generated(tokens, lengths, torch.zeros_like(lengths, dtype=torch.bool))


class _Text(NamedTuple):
    """What a model reads, and which of its positions (B, T) are real and predict what."""

    inputs: Batch
    real: Tensor
    predicting: Tensor
    following: Tensor


def _whole(batch: PromptBatch, written: Generated) -> _Text:
    """Prompt and continuation as one text, padded on the right."""
    prompts, width = batch["prompt_mask"].sum(1), batch["prompt_ids"].shape[1]
    ends = prompts + written.lengths
    place = torch.arange(int(ends.max()), device=ends.device).unsqueeze(0)
    real = place < ends.unsqueeze(1)
    both = pad(torch.cat([batch["prompt_ids"], written.tokens], 1), (0, 1))
    # a prompt of p tokens begins at column width - p; no column past the end is real
    column = (place + (width - prompts).unsqueeze(1)).clamp(max=both.shape[1] - 2)
    predicting = (place >= prompts.unsqueeze(1) - 1) & (place < ends.unsqueeze(1) - 1)
    ids, following = both.gather(1, column) * real, both.gather(1, column + 1)
    inputs = Batch(input_ids=ids, attention_mask=real.long())
    return _Text(inputs, real, predicting, following)


def _target(batch: PromptBatch, written: Generated, model: LanguageModel) -> _Text:
    """The continuation as an encoder-decoder's target: one token behind, from its start on."""
    starts = first_tokens(model, batch["prompt_ids"], batch.get("target_starts"))
    first = starts.shape[1] - 1  # the column that predicts the first token
    place = torch.arange(first + written.tokens.shape[1], device=written.tokens.device)
    real = place < first + written.lengths.unsqueeze(1)
    ids = torch.cat([starts, written.tokens[:, :-1]], 1)[:, : len(place)] * real
    inputs = Batch(
        input_ids=batch["prompt_ids"],
        attention_mask=batch["prompt_mask"],
        decoder_input_ids=ids,
        decoder_attention_mask=real.long(),
    )
    return _Text(inputs, real, real & (place >= first), pad(written.tokens, (first, 0)))
