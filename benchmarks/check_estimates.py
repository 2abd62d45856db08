"""What `check` says beside what a run then takes: memory of eight set-ups, and the time of some.

    python benchmarks/check_estimates.py [--only WORDS ...] [--updates 200] [--tokens 4096]

Models of 6 layers x 384 are made at random, their text is the embedded phrasebook. Memory is the
largest resident set of a `fit` of four updates with a validation (wait4), time the wall clock of
the updates and validations of a `fit` of `--updates`, from its own log of events.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SHAPE = {"hidden": 384, "layers": 6, "heads": 12, "wide": 1536}
TEXT = ["-c", "quickstart/corpus"]
BF16 = ["--trainer.precision", "bf16-mixed"]
CHECKPOINTING = ["--model.execution.gradient_checkpointing", "true"]
ACCUMULATION = ["--trainer.accumulate_grad_batches", "4"]
SETUPS = {
    "encoder, float32": ("bert", []),
    "encoder, bfloat16": ("bert", BF16),
    "encoder, accumulation 4": ("bert", ACCUMULATION),
    "encoder, checkpointing": ("bert", CHECKPOINTING),
    "decoder, float32": ("gpt2", []),
    "decoder, bfloat16": ("gpt2", BF16),
    "decoder, checkpointing": ("gpt2", CHECKPOINTING),
    "decoder, bfloat16, accumulation 4, checkpointing": (
        "gpt2",
        [*BF16, *ACCUMULATION, *CHECKPOINTING],
    ),
}


def lit_distill(*args: str) -> list[str]:
    return [sys.executable, "-m", "lit_distill", *args]


def make_models(folder: Path) -> None:
    """A random BERT and GPT-2 with a tokenizer of the phrasebook."""
    import torch
    import transformers

    command = lit_distill("train-tokenizer", "-c", "quickstart/corpus", "--vocab_size", "8000")
    subprocess.run([*command, "--max_length", "128", "--output", str(folder / "t")], check=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "t")
    torch.manual_seed(0)
    bert = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=SHAPE["hidden"],
        num_hidden_layers=SHAPE["layers"],
        num_attention_heads=SHAPE["heads"],
        intermediate_size=SHAPE["wide"],
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
    )
    gpt2 = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=128,
        n_embd=SHAPE["hidden"],
        n_layer=SHAPE["layers"],
        n_head=SHAPE["heads"],
        bos_token_id=tokenizer.sep_token_id,
        eos_token_id=tokenizer.sep_token_id,
    )
    models = {
        "bert": transformers.BertForMaskedLM(bert),
        "gpt2": transformers.GPT2LMHeadModel(gpt2),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def options(folder: Path, family: str, more: Sequence[str], updates: int, every: int) -> list[str]:
    """Half of a teacher by the triple loss."""
    parts = ("trainer/cpu", "methods/triple_loss", "models/half", "optimizers/small_model")
    return [
        *(arg for part in parts for arg in ("-c", part)),
        *TEXT,
        *(["--data.objective", "NextToken"] if family == "gpt2" else []),
        *("--model.teacher.name", str(folder / family), "--trainer.max_steps", str(updates)),
        *("--trainer.val_check_interval", str(every), "--trainer.num_sanity_val_steps", "0"),
        *more,
    ]


def run(args: list[str], folder: Path) -> tuple[int, float]:
    """Largest resident set in bytes, and seconds, of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen(args, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(args)}: {said[-2000:]}")
    return used.ru_maxrss * 1024, time.perf_counter() - begun


def checked(args: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """The numbers of `check`."""
    command = lit_distill("check", *args, "--json")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "memory" not in done.stdout:
        raise SystemExit(f"{' '.join(command)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--tokens", type=int, default=4096, help="of a batch")
    parser.add_argument("--updates", type=int, default=0, help="of runs that are timed; 0: none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_models(folder)
        print(
            "| set-up | memory: check, MiB | fit, MiB | of it | time: check, s | fit, s | of it |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|")
        for number, (name, (family, more)) in enumerate(SETUPS.items()):
            if not any(words in name for words in asked.only):
                continue
            updates = asked.updates or 4
            accumulate = 4 if ACCUMULATION[0] in more else 1
            size = ["--data.batch_tokens", str(asked.tokens), *more]
            args = options(folder, family, size, updates, max(updates // 2, 1) * accumulate)
            said = checked([*args, "--run_dir", f"check{number}"], folder)
            largest, _ = run(lit_distill("fit", *args, "--run_dir", f"fit{number}"), folder)
            row = [f"{said['memory']['total'] / 2**20:,.0f}", f"{largest / 2**20:,.0f}"]
            row.append(f"{said['memory']['total'] / largest:.2f}")
            if asked.updates:
                taken = logged_seconds(folder / f"fit{number}")
                row += [f"{said['time']['run']:.0f}", f"{taken:.0f}"]
                row.append(f"{said['time']['run'] / taken:.2f}")
            else:
                row += ["", "", ""]
            print(f"| {name} | {' | '.join(row)} |", flush=True)


def logged_seconds(run_dir: Path) -> float:
    """From the writing of config.yaml at the first batch to the last checkpoint."""
    begun = (run_dir / "config.yaml").stat().st_mtime
    return (run_dir / "checkpoints/last.ckpt").stat().st_mtime - begun


if __name__ == "__main__":
    main()
