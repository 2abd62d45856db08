"""The dictionary that travels from the data modules to the methods.

Shapes: B sequences, T padded length, M real positions, N selected positions. Flat indices point
into the (B*T) flattened positions, so that selecting rows needs no boolean mask (on a GPU a boolean
mask is a host synchronisation). Counts are Python integers for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TypedDict

import torch
from torch import Tensor

IGNORED = -100
"""Target of a row that has none (Hugging Face's convention)."""


class Reading(Enum):
    """What a model reads of a text, and what of it has targets; named as the data's objectives."""

    PLAIN = "NoTargets"
    """The text as it is, without targets."""
    NEXT = "NextToken"
    """The text as it is; every token is the target of the one before it."""
    MASKED = "MaskedTokens"
    """Some tokens are hidden, and are the targets."""
    NOISED = "Noised"
    """Some tokens are hidden or replaced; there are no targets."""
    RESPONSES = "Responses"
    """Prompts with and without responses, whose tokens are the targets."""
    LABELS = "Labels"
    """Texts, or pairs of texts, whose labels are the targets."""


class Batch(TypedDict, total=False):
    """One micro-batch: what models read and where they predict, whatever the texts are.

    Keys are Hugging Face's where such keys exist. What only some data has stands in the kinds
    below, and a method's signature names the kind whose keys it reads.
    """

    input_ids: Tensor
    """(B, T) int64, padded on the right."""
    attention_mask: Tensor
    """(B, T) int64, 1 at real positions (special tokens included)."""
    decoder_input_ids: Tensor
    """(B, T) int64; only for encoder-decoders, which read a source and a target. Flat indices then
    point into the target."""
    decoder_attention_mask: Tensor
    """(B, T) int64, as `attention_mask`, of the target."""
    position_ids: Tensor
    """(B, T) int64; only where positions are not simply 0..T-1."""
    token_type_ids: Tensor
    """(B, T) int64; only where an encoder tells kinds of text apart, such as a pair's sentences."""
    segments: Tensor
    """(B, T) int64; only for packed rows: which text a position belongs to, 0 for padding."""
    language: Tensor
    """(B,) int64; an index into the data module's `languages`."""
    sample_id: Tensor
    """(B,) int64; a window's number in its corpus, the same in every epoch."""
    tokens: Tensor
    """(M,) int64, ascending flat indices of all real positions."""
    rows: Tensor
    """(N,) int64, ascending flat indices of the selected positions (masked, completion, ...)."""
    targets: Tensor
    """(N,) int64, the token to predict at each selected position."""
    counts: dict[str, int]
    """How many units of each kind this micro-batch holds: tokens, sequences, rows, masked, ..."""
    window: list[Batch]
    """All micro-batches of the accumulation window; only on the first of several."""


class TextBatch(Batch, total=False):
    """One micro-batch of a corpus of texts, with what is known about their words and passes."""

    variant: Tensor
    """(B,) int64; which drawing of its masks a window has, where only so many are ever drawn."""
    token_language: Tensor
    """(B, T) int64; only of corpora whose words have language tags: an index from 1 on into the
    data module's `token_languages`, 0 where a token's word has none."""
    target_languages: Tensor
    """(N,) int64; with `token_language`: that of every target."""
    target_switched: Tensor
    """(N,) int64; with `token_language`: 1 where the target's word has another language than the
    tagged word before it, 0 elsewhere, -1 where it has no language."""
    mixing: Tensor
    """(B,) int64; with `token_language`: the code-mixing index (0 to 100) of each text, -1 where
    its words have no tags."""
    teacher_ids: Tensor
    """(P, k) int32; only in training from a teacher cache: the likeliest tokens at the positions
    that it holds, which are `rows` or `tokens`."""
    teacher_log_probabilities: Tensor
    """(P, k) of these, rounded."""
    teacher_log_mass: Tensor
    """(P,) log of the probability that these k have together."""
    teacher_states: Tensor
    """(P, D) last hidden states, where the cache holds them."""


class PairBatch(TextBatch, total=False):
    """One micro-batch of pairs of texts that say the same (`data_modules.ParallelCorpus`).

    Each text is a view: its keys have the prefix `src_` or `tgt_`, and its counts too. Without a
    prefix stands the target's view, for methods of one text; `language` is then the pair's.
    """

    src_input_ids: Tensor
    """(B, S) int64, the sources, padded on the right."""
    src_attention_mask: Tensor
    """(B, S) int64, 1 at real positions of the sources."""
    src_language: Tensor
    """(B,) int64; an index into the data module's `text_languages`."""
    src_sample_id: Tensor
    """(B,) int64; the source's number in its corpus."""
    src_tokens: Tensor
    """(M',) int64, ascending flat indices of the sources' real positions."""
    src_rows: Tensor
    """(N',) int64, ascending flat indices of the sources' selected positions."""
    src_targets: Tensor
    """(N',) int64, the token to predict at each of them."""
    tgt_input_ids: Tensor
    """(B, T) int64, the targets, padded on the right."""
    tgt_attention_mask: Tensor
    """(B, T) int64, 1 at real positions of the targets."""
    tgt_language: Tensor
    """(B,) int64; an index into the data module's `text_languages`."""
    tgt_sample_id: Tensor
    """(B,) int64; the target's number in its corpus."""
    tgt_tokens: Tensor
    """(M,) int64, ascending flat indices of the targets' real positions."""
    tgt_rows: Tensor
    """(N,) int64, ascending flat indices of the targets' selected positions."""
    tgt_targets: Tensor
    """(N,) int64, the token to predict at each of them."""


class PromptBatch(Batch, total=False):
    """One micro-batch of prompts with and without responses (`data_modules.PromptCorpus`)."""

    prompt_ids: Tensor
    """(B, P) int64; what a model continues, padded on the LEFT: continuations start in one column.
    For an encoder-decoder: its source, padded on the right as encoders are trained."""
    prompt_mask: Tensor
    """(B, P) int64, 1 at the tokens of a prompt, which no token id can tell (pad may be EOS)."""
    target_starts: Tensor
    """(B, K) int64, if texts differ in it: what an encoder-decoder begins to write with."""
    labelled: Tensor
    """(B,) int64; 1: a response follows, whose tokens and EOS are `targets`; 0: without `rows`."""


class LabelledBatch(Batch, total=False):
    """One micro-batch of labelled texts: a `Batch` whose targets are no tokens.

    `rows` are the first positions of the texts (B,), which classifiers of texts read, or those of
    the labelled tokens (N,); `targets` are numbers in the `id2label` of the model. `token_type_ids`
    are there only where a tokenizer tells the texts of a pair apart.

    What is decided about is a decision: of D = N rows, which of the V outputs is right; or with
    `options`, which of C outputs of any rows. `counts["decisions"]` is D. What the teacher reads
    instead of the texts is a view with the prefix `teacher_`: `teach(batch, view="teacher_")`.

    Of a mixture of tasks every batch is of one, which its counts name; see `of_task`.
    """

    values: Tensor
    """(N,) float32, the right number for each text, of regression; `targets` are then IGNORED."""
    options: Tensor
    """(D, C) int64; only where a decision is not among the outputs of one row: flat indices into
    the logits (N, V), -1 at its end where it has fewer than C, of which one is there at least.
    `targets` (D,) are then columns of this. Together the options name outputs of all rows."""
    teacher_input_ids: Tensor
    """(B, S) int64: the texts as the teacher reads them, padded on the right."""
    teacher_attention_mask: Tensor
    """(B, S) int64, 1 at real positions of these."""
    teacher_token_type_ids: Tensor
    """(B, S) int64, as `token_type_ids`."""
    teacher_rows: Tensor
    """(N,) int64, flat indices into these: where the teacher answers to each of `rows`."""


class RetrievalBatch(Batch, total=False):
    """One micro-batch of queries with a list of passages each (`data_modules.RetrievalCorpus`).

    Q rows of lists, P different passages, n places of a list. Queries and passages are views: their
    keys have the prefix `query_` or `passage_` (`..._input_ids`, `..._attention_mask`,
    `..._language`, `..._sample_id`, `..._tokens` as in `Batch`), and their counts too. Without a
    prefix stands the queries' view. A passage is there once, in how many lists it may be; another
    language of it is another one of the P, with the same `passage_sample_id`.
    """

    query_input_ids: Tensor
    """(Q, S) int64, the query of every row."""
    query_attention_mask: Tensor
    """(Q, S) int64, 1 at real positions."""
    query_language: Tensor
    """(Q,) int64; an index into the data module's `languages`."""
    passage_input_ids: Tensor
    """(P, T) int64, padded on the right."""
    passage_attention_mask: Tensor
    """(P, T) int64, 1 at real positions."""
    passage_language: Tensor
    """(P,) int64; an index into the data module's `languages`."""
    lists: Tensor
    """(Q, n) int64, rows of the passages' view; -1 at the end of a list of fewer than n."""
    relevant: Tensor
    """(Q, n) int64, grades of relevance: 0 where none is known, and where `lists` is -1."""
    scores: Tensor
    """(Q, n) float32 of a teacher, 0 where `lists` is -1; only where the lists have scores."""
    group: Tensor
    """(Q,) int64, ascending from 0: rows of one number are one list in several languages."""


def batch_of_labels(
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
    language: Sequence[int],
    next_token: bool = False,
) -> TextBatch:
    """The batch that a collator of Transformers means, for data modules of one's own.

    Args:
        input_ids: (B, T) int64, padded on the right.
        attention_mask: (B, T), 1 at real positions.
        labels: (B, T), the token to predict at each position, `IGNORED` where there is none.
        language: (B,) numbers that count the data module's `languages` from 0.
        next_token: labels are those of decoders: each position has its own token, and the position
            before predicts it.
    """
    labels = torch.where(attention_mask > 0, labels, IGNORED)
    if next_token:
        labels = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], IGNORED)], dim=1)
    tokens = attention_mask.flatten().nonzero().squeeze(1)
    rows = (labels.flatten() != IGNORED).nonzero().squeeze(1)
    return TextBatch(
        input_ids=input_ids.long(),
        attention_mask=attention_mask.long(),
        language=torch.tensor(language, dtype=torch.int64),
        tokens=tokens,
        rows=rows,
        targets=labels.flatten()[rows].long(),
        counts={
            "tokens": len(tokens),
            "sequences": len(input_ids),
            "rows": len(rows),
            "masked": 0 if next_token else len(rows),
        },
    )


def read_ids(batch: Batch) -> Tensor:
    """The ids (B, T) that flat indices point into: the target's where there is a source as well."""
    return batch["decoder_input_ids"] if "decoder_input_ids" in batch else batch["input_ids"]


def row_targets(batch: Batch, rows: Tensor) -> Tensor:
    """Targets at any flat `rows` (R,): the batch's own where it has one, else `IGNORED`."""
    flat = torch.full((read_ids(batch).numel(),), IGNORED, device=rows.device)
    return flat.index_copy(0, batch["rows"], batch["targets"]).index_select(0, rows)


def row_languages(batch: Batch) -> Tensor:
    """The language (N,) of every selected position."""
    return batch["language"].index_select(0, batch["rows"] // read_ids(batch).shape[1])


def decision_languages(batch: LabelledBatch) -> Tensor:
    """The language (D,) of every decision: that of the row of its first option."""
    return decision_groups(row_languages(batch), batch)


def decision_groups(rows: Tensor, batch: LabelledBatch) -> Tensor:
    """The group (D,) of every decision, of the groups (N,) of rows: that of its first option."""
    if "options" not in batch:
        return rows
    options = batch["options"]
    if not len(options):
        return rows[:0]
    # V, without waiting for the device: options reach into the last row.
    outputs = options.max().div(len(rows), rounding_mode="floor") + 1
    return rows.index_select(0, options[:, 0] // outputs)


def as_written(batch: Batch) -> Batch:
    """The batch with its hidden tokens (of `Reading.MASKED`) in their places."""
    if not batch["counts"].get("masked"):
        return batch
    ids = batch["input_ids"].flatten().index_copy(0, batch["rows"], batch["targets"])
    return Batch(**{**batch, "input_ids": ids.view_as(batch["input_ids"])})
