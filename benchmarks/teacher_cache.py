"""An epoch from a teacher cache over the same epoch with the live teacher, on CPU.

    python benchmarks/teacher_cache.py --rounds 9

Both are `TripleLoss` without the cosine (alpha_cos 0) inside Lightning with the shipped optimizer,
callbacks and TensorBoard logger, on the same batches of a corpus of random words. The cache is
written by `cache-teacher` (k 64, one drawing of masks) and read from the disk in every step. Random
weights, dropout 0, float32; teacher BERT 12 x 256, student 6 x 256, V 30,522, windows of 64 tokens,
15 % masked.

Ratios are of process CPU time (all threads; one by default, for machines with other work) of an
epoch of a few batches; steps of both alternate in random order. Medians and quartiles of rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads must not count as CPU time
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from lightning.pytorch import Trainer
from timing.lightning_steps import (
    LightningSteps,
    in_memory,
    shipped_callbacks,
    shipped_optimizer,
    unseen_bar,
)
from timing.rounds import milliseconds
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from triple_loss_step import bert

from data_modules import MultilingualCorpus, Source
from lit_distill.batch import Batch
from lit_distill.methods import TripleLoss
from lit_distill.models import TeacherCache, TeacherSpec
from lit_distill.tools.caching.cache_teacher import CacheOptions, cache_teacher

VOCABULARY, LENGTH, TEMPERATURE = 30_522, 64, 2.0
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save_teacher(folder: Path, layers: int) -> None:
    """A random BERT and a tokenizer of numbered words."""
    words = [*SPECIAL, *(f"w{number}" for number in range(len(SPECIAL), VOCABULARY))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=core, **dict(zip(roles, SPECIAL, strict=True))
    ).save_pretrained(folder)
    bert(VOCABULARY, layers, 256, seed=0).save_pretrained(folder)


def corpus(folder: Path, teacher: Path, sequences: int, batches: int) -> MultilingualCorpus:
    """Random words, in windows of the full length."""
    draw = random.Random(0)
    lines = [
        " ".join(f"w{draw.randrange(len(SPECIAL), VOCABULARY)}" for _ in range(LENGTH - 2))
        for _ in range(2 * sequences * batches)
    ]
    (folder / "xx.txt").write_text("\n".join(lines), "utf-8")
    return MultilingualCorpus(
        [Source(files=["{language}.txt"])],
        data_dir=str(folder),
        tokenizer=str(teacher),
        max_length=LENGTH,
        batch_tokens=sequences * LENGTH,
        holdout=8,
        mask_variants=1,
        cache_dir=str(folder / "tokens"),
    )


def steps(
    teacher: Path, all_rows: bool, cache: TeacherCache | None, batch: Batch
) -> LightningSteps:
    """One of the two candidates."""
    method = TripleLoss(
        teacher=TeacherSpec(str(teacher)),
        temperature=TEMPERATURE,
        alpha_cos=0.0,
        restrict_kd_to_mask=not all_rows,
        optimizer=shipped_optimizer("distilbert"),
    )
    student = bert(VOCABULARY, 6, 256, seed=1).train()
    module = in_memory(method, TeacherSpec(str(teacher)).build().model, student)
    module.cache = cache
    if cache is not None:
        del module.teachers["teacher"]
    return LightningSteps(module, batch, [*shipped_callbacks(), unseen_bar()], 50)


def measure(folder: Path, all_rows: bool, options: argparse.Namespace) -> None:
    """Prints one line for each candidate."""
    teacher, data = (
        folder / "teacher",
        corpus(folder, folder / "teacher", options.sequences, options.batches),
    )
    positions = "tokens" if all_rows else "rows"
    chosen = CacheOptions(64, TEMPERATURE, positions=positions, measured_windows=8)
    start = time.process_time()
    cache_teacher(str(folder / positions), TeacherSpec(str(teacher)), data, chosen)
    seconds, tokens = time.process_time() - start, int(data.train.lengths.sum())
    size = sum(path.stat().st_size for path in (folder / positions).glob("shard-*"))
    cache = TeacherCache(folder / positions)
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    loader = iter(data.train_dataloader())
    batches = [next(loader) for _ in range(options.batches)]
    candidates = {
        "live": steps(teacher, all_rows, None, batches[0]),
        "cache": steps(teacher, all_rows, cache, batches[0]),
    }
    order, times = random.Random(0), {name: [] for name in candidates}
    for number in range(options.rounds + 1):
        epoch = dict.fromkeys(candidates, 0.0)
        for batch in batches:
            for name in order.sample(list(candidates), 2):
                candidates[name].feed(batch)
                epoch[name] += milliseconds(candidates[name])
        for name, elapsed in epoch.items() if number else ():
            times[name].append(elapsed)
    ratios = [a / b for a, b in zip(times["cache"], times["live"], strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    print(
        f"V={VOCABULARY} {'all' if all_rows else 'masked'} rows, {options.batches} batches of "
        f"{options.sequences} x {LENGTH}: live {statistics.median(times['live']):.0f} CPU ms, "
        f"cache {statistics.median(times['cache']):.0f} CPU ms, {median:.2f} x [{low:.2f}, "
        f"{high:.2f}]; written in {seconds:.0f} CPU s for {tokens} tokens, {size / 2**20:.1f} MiB",
        flush=True,
    )
    for candidate in candidates.values():
        candidate.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--rows", nargs="*", default=["masked", "all"], choices=["masked", "all"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        save_teacher(Path(name) / "teacher", layers=12)
        for rows in options.rows:
            measure(Path(name), rows == "all", options)


if __name__ == "__main__":
    main()
