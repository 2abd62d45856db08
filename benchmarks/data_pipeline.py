"""Padding share and collation time on log-normal lengths (mean 40, sigma 0.8, at most 512 tokens).

    OMP_NUM_THREADS=1 python benchmarks/data_pipeline.py

One thread; process time, so that other work on the machine hardly counts. Lengths are those of the
peers' comparison (HF length grouping pads 10.8 %, random batches 70 %; HF collators take 2.1-3.8
microseconds per real token).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from data_modules.feeding.collation import Collator
from data_modules.feeding.loader import WindowLoader
from data_modules.feeding.plan import POOL_SIZE, Plan
from data_modules.objectives.objectives import MaskedTokens, NextToken, NoTargets, Objective

TEXTS, MEAN, SIGMA, LONGEST, BUDGET, VOCABULARY = 20_000, 40, 0.8, 512, 4096, 30_522
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass
class Corpus:
    """Random tokens in memory."""

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    language: NDArray[np.int64]

    tag_names = ()

    def gather(self, windows: NDArray[np.int64]) -> NDArray[np.int32]:
        lengths = self.lengths[windows].astype(np.int64)
        shift = self.starts[windows] - (np.cumsum(lengths) - lengths)
        return self.tokens[np.repeat(shift, lengths) + np.arange(lengths.sum())]


def corpus() -> Corpus:
    draw = np.random.default_rng(0)
    mu = np.log(MEAN) - SIGMA**2 / 2
    lengths = np.clip(draw.lognormal(mu, SIGMA, TEXTS).round(), 3, LONGEST).astype(np.int32)
    starts = np.cumsum(lengths) - lengths
    tokens = draw.integers(len(SPECIALS), VOCABULARY, lengths.sum(), dtype=np.int32)
    tokens[starts], tokens[starts + lengths - 1] = 2, 3
    return Corpus(tokens, starts.astype(np.int64), lengths, np.zeros(TEXTS, dtype=np.int64))


def tokenizer() -> PreTrainedTokenizerFast:
    names = [*SPECIALS, *(f"{'##' if i % 3 else ''}t{i}" for i in range(5, VOCABULARY))]
    model = models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    roles = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIALS, strict=True))
    named = {f"{role}_token": token for role, token in roles.items()}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **named)


def measure(objective: Objective, texts: Corpus, plan: Plan, batches: int) -> float:
    """Microseconds of process time per real token."""
    counts = np.bincount(texts.tokens, minlength=VOCABULARY).astype(np.float64)
    collate = Collator(texts, objective.bind(tokenizer(), counts, seed=0), pad_id=0)
    requests = [plan.batch(position) for position in range(batches)]
    best = float("inf")
    for _ in range(5):
        start, tokens = time.process_time(), 0
        for request in requests:
            tokens += collate(*request)["counts"]["tokens"]
        best = min(best, (time.process_time() - start) / tokens * 1e6)
    return best


def feed(texts: Corpus, plan: Plan, workers: int, batches: int) -> float:
    """Microseconds of the main process per real token, from the loader's first batch on."""
    counts = np.ones(VOCABULARY)
    collate = Collator(texts, MaskedTokens().bind(tokenizer(), counts, seed=0), pad_id=0)
    fed = iter(WindowLoader(plan, collate, batches + 1, num_workers=workers))
    next(fed)
    start = time.process_time()
    tokens = sum(batch["counts"]["tokens"] for batch in fed)
    return (time.process_time() - start) / tokens * 1e6


def main() -> None:
    texts = corpus()
    print(f"{TEXTS} texts, mean {texts.lengths.mean():.1f} tokens; {BUDGET=} {POOL_SIZE=}")
    plan = Plan(texts.lengths, texts.language, np.ones(1), BUDGET)
    real = padded = batches = 0
    start = time.process_time()
    while real < 10 * texts.lengths.sum():  # ten passes
        lengths = texts.lengths[plan.batch(batches)[0]]
        real, padded, batches = (
            real + lengths.sum(),
            padded + len(lengths) * lengths.max(),
            batches + 1,
        )
    seconds = time.process_time() - start
    print(f"padding {1 - real / padded:.2%} of the positions over {batches} batches")
    print(f"plan {seconds / real * 1e6:.4f} us per real token")
    for objective in (
        NoTargets(),
        NextToken(),
        MaskedTokens(),
        MaskedTokens(smoothing=0.7),
        MaskedTokens(scope="batch", smoothing=0.7),
        MaskedTokens(whole_word=True),
    ):
        print(f"{measure(objective, texts, plan, 200):.4f} us per real token: {objective}")
    for workers in (0, 1):
        microseconds = feed(texts, plan, workers, 500)
        print(f"{microseconds:.4f} us per real token in the main process: {workers} workers")


if __name__ == "__main__":
    main()
