"""Hand-made prompts with responses, and batches of them as `data_modules.PromptCorpus` has them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from batches import PAD, Sample

from lit_distill.batch import Batch


@dataclass(frozen=True)
class Asked:
    """A prompt and its response, the ending token included; without one it is unlabelled."""

    number: int
    prompt: list[int]
    response: list[int] = field(default_factory=list)
    language: int = 0


def asked(count: int, vocab_size: int, eos: int, longest: int = 7, seed: int = 0) -> list[Asked]:
    """Prompts and responses of 1 to `longest` tokens."""
    draw = random.Random(seed)

    def ids() -> list[int]:
        return [draw.randrange(5, vocab_size) for _ in range(draw.randint(1, longest))]

    return [Asked(n, ids(), [*ids(), eos], n % 2) for n in range(count)]


def halved(text: Sample) -> Asked:
    """Two thirds of a text as the prompt, the rest as the response; none if it has no rows."""
    cut = max(2 * len(text.ids) // 3, 1)
    return Asked(text.number, text.ids[:cut], text.ids[cut:] if text.masked else [], text.language)


def prompt_batch(
    texts: list[Asked], extra: int = 0, start: int | None = None, pad: int = PAD
) -> Batch:
    """Pads to the longest text plus `extra`; with `start`, as an encoder-decoder reads it."""
    asking = [text.prompt for text in texts]
    if start is None:
        ids, mask = padded([t.prompt + t.response for t in texts], extra, pad)
        first = [len(prompt) - 1 for prompt in asking]
        read = Batch(input_ids=ids, attention_mask=mask)
        prompts = padded([prompt[::-1] for prompt in asking], extra, pad)
        prompts = tuple(each.flip(1) for each in prompts)
    else:
        ids, mask = padded([[start, *t.response[:-1]] for t in texts], extra, pad)
        first = [0] * len(texts)
        prompts = padded(asking, extra, pad)
        read = Batch(
            input_ids=prompts[0],
            attention_mask=prompts[1],
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
        )
    rows = [
        number * ids.shape[1] + at + place
        for number, (text, at) in enumerate(zip(texts, first, strict=True))
        for place in range(len(text.response))
    ]
    tokens = mask.flatten().nonzero().squeeze(1)
    return Batch(
        **read,
        rows=torch.tensor(rows, dtype=torch.int64),
        targets=torch.tensor([t for text in texts for t in text.response], dtype=torch.int64),
        tokens=tokens,
        prompt_ids=prompts[0],
        prompt_mask=prompts[1],
        labelled=torch.tensor([int(bool(text.response)) for text in texts]),
        language=torch.tensor([text.language for text in texts]),
        sample_id=torch.tensor([text.number for text in texts]),
        counts={
            "tokens": len(tokens),
            "sequences": len(texts),
            "rows": len(rows),
            "masked": 0,
        },
    )


def padded(texts: list[list[int]], extra: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, padded on the right."""
    width = max(len(text) for text in texts) + extra
    ids = torch.tensor([text + [pad] * (width - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    return ids, mask
