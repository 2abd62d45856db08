"""What models write behind prompts that belong to no corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lit_distill.batch import PromptBatch
from lit_distill.errors import UserError
from lit_distill.knobs import Seed, check_knobs
from lit_distill.measures.probing.asked import Asked
from lit_distill.models import Sampling, check_room, ending_ids, write

GREEDY = Sampling(max_new_tokens=64, temperature=0.0)


@dataclass(frozen=True)
class Writing:
    """How models are let write.

    Attributes:
        sampling: how tokens are drawn; by default the likeliest, 64 of them.
        chat: whether a tokenizer with a chat template puts it around prompts, as of a user.
        seed: of the draws.
    """

    sampling: Sampling = GREEDY
    chat: bool = True
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_knobs(Writing, vars(self))


GREEDILY = Writing()


def written(asked: Asked, prompts: Sequence[str], how: Writing) -> list[str]:
    """A text for every prompt, without special tokens and outer spaces.

    Args:
        asked: a decoder or an encoder-decoder.
        prompts: at least one.
        how: see `Writing`.

    Raises:
        UserError: the model writes no text, or a prompt is empty or leaves no room.
    """
    tokenizer = asked.tokenizer
    ids = [_prompt(asked, prompt, how.chat) for prompt in prompts]
    width = max(map(len, ids))
    check_room(asked.model, width, how.sampling, asked.name)
    batch = PromptBatch(
        prompt_ids=torch.zeros(len(ids), width, dtype=torch.int64),
        prompt_mask=torch.zeros(len(ids), width, dtype=torch.int64),
        sample_id=torch.arange(len(ids)),
    )
    for row, own in enumerate(ids):
        first = 0 if asked.model.reads_pairs else width - len(own)
        batch["prompt_ids"][row, first : first + len(own)] = torch.tensor(own)
        batch["prompt_mask"][row, first : first + len(own)] = 1
    for name in ("prompt_ids", "prompt_mask", "sample_id"):
        batch[name] = batch[name].to(asked.device)
    endings = ending_ids(asked.model, tokenizer)
    (made,) = write(asked.model, [batch], how.sampling, how.seed, endings)
    return [
        str(tokenizer.decode(tokens[:length].tolist(), skip_special_tokens=True)).strip()
        for tokens, length in zip(made.tokens, made.lengths.tolist(), strict=True)
    ]


def _prompt(asked: Asked, prompt: str, chat: bool) -> list[int]:
    """The tokens behind which an answer begins.

    Raises:
        UserError: there are none.
    """
    if not prompt.strip():
        raise UserError("A prompt is empty: leave it out.")
    if chat and asked.tokenizer.chat_template:
        turns = [{"role": "user", "content": prompt}]
        text = asked.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = asked.engine.encode(text, add_special_tokens=False).ids
        return ids
    return asked.framed(asked.encoded([prompt])[0].ids)
