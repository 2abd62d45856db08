"""Text that a student wrote some updates ago, kept for later ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from lit_distill.batch import PromptBatch
from lit_distill.counter_random import Purpose, key, uniform
from lit_distill.models.generation.generation import Generated


class Text(NamedTuple):
    """A prompt and what was written after it: (P,) and (N,) int64 on the CPU, unpadded.

    `start` (K,) is its row of `target_starts`, empty where there are none.
    """

    sample_id: int
    language: int
    ended: bool
    prompt: Tensor
    continuation: Tensor
    start: Tensor


class ReplayBuffer:
    """First in, first out; the same on every rank, whatever ranks wrote what.

    Args:
        capacity: most texts; the oldest go.
    """

    def __init__(self, capacity: int) -> None:
        self.texts: deque[Text] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def full(self) -> bool:
        """Whether one more text drives one out."""
        return len(self.texts) == self.texts.maxlen

    def add(self, window: Sequence[PromptBatch], written: Sequence[Generated]) -> None:
        """Adds the texts of one window, those of all ranks in the order of their sample ids."""
        own = [text for pair in zip(window, written, strict=True) for text in _texts(*pair)]
        everyones = [own]
        if torch.distributed.is_initialized():
            everyones = everyones * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(everyones, own)
        found = [text for part in everyones for text in part]
        self.texts.extend(sorted(found, key=lambda text: text.sample_id))

    def draw(
        self, batch: PromptBatch, seed: int, update: int, left: bool
    ) -> tuple[PromptBatch, Generated]:
        """As many texts as a batch holds, each at random: prompts as a batch, and what followed.

        Which one takes the place of a text of the batch is a function of the seed, the update and
        that text's `sample_id`. A text may be drawn twice.

        Args:
            batch: whose places are taken.
            seed: of all draws.
            update: number of the update.
            left: pad prompts on the left, as decoders want them.
        """
        ids = batch["sample_id"]
        shares = uniform(key(seed, Purpose.REPLAY, update, ids.cpu().numpy()))
        chosen = [self.texts[int(share * len(self.texts))] for share in shares]
        prompts = [text.prompt for text in chosen]
        tokens = pad_sequence([text.continuation for text in chosen], batch_first=True)
        side = "left" if left else "right"
        masks = [torch.ones_like(prompt) for prompt in prompts]
        asked = PromptBatch(
            prompt_ids=pad_sequence(prompts, True, padding_side=side).to(ids.device),
            prompt_mask=pad_sequence(masks, True, padding_side=side).to(ids.device),
            sample_id=ids.new_tensor([text.sample_id for text in chosen]),
            language=ids.new_tensor([text.language for text in chosen]),
            counts=batch["counts"],
        )
        starts = torch.stack([text.start for text in chosen])
        if starts.numel():
            asked["target_starts"] = starts.to(ids.device)
        lengths = ids.new_tensor([len(text.continuation) for text in chosen])
        ended = torch.tensor([text.ended for text in chosen], device=ids.device)
        return asked, Generated(tokens.to(ids.device), lengths, ended)

    def state(self) -> dict[str, Any]:
        """The texts of the buffer as numbers and tokens, oldest first."""
        texts = list(self.texts)
        return {
            "numbers": torch.tensor(
                [[t.sample_id, t.language, t.ended, *map(len, t[3:])] for t in texts],
                dtype=torch.int64,
            ).view(-1, 6),
            "tokens": torch.cat([t for text in texts for t in text[3:]] or [torch.zeros(0).long()]),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave; of more texts than it has room for, the newest."""
        self.texts.clear()
        table = state["numbers"]
        table = pad(table, (0, 6 - table.shape[1]))  # of the first release: without starts
        numbers, sizes = table.tolist(), table[:, 3:].flatten().tolist()
        parts = iter(torch.split(state["tokens"], sizes))
        for sample_id, language, ended, *_ in numbers:
            own = next(parts), next(parts), next(parts)
            self.texts.append(Text(sample_id, language, bool(ended), *own))


def _texts(batch: PromptBatch, written: Generated) -> list[Text]:
    """The rows of a batch, without padding."""
    columns = (batch["sample_id"], batch["language"], written.ended, written.lengths)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    asked, mask, tokens = (
        batch["prompt_ids"].cpu(),
        batch["prompt_mask"].cpu(),
        written.tokens.cpu(),
    )
    starts = batch.get("target_starts", tokens[:, :0]).cpu()
    return [
        Text(
            *(sample_id, language, ended),
            *(asked[row][mask[row].bool()], tokens[row, :length].clone(), starts[row].clone()),
        )
        for row, (sample_id, language, ended, length) in enumerate(numbers)
    ]
