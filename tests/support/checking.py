"""What `check` is asked for in tests, and models that know something of their texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import prompted
import pytest
import torch
from transformers import AutoTokenizer, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from lit_distill.__main__ import main

Check = Callable[..., dict[str, Any]]
"""From options to what `check --json` prints."""
STOPS = "--data.stop_tokens=['<|stop|>']"
"""The token with which the template of `prompted` ends an answer."""


def said(args: Sequence[str], run_dir: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `check` prints with these options, which writes nothing where the run will be."""
    usual = ["--trainer.max_steps", "40", "--trainer.val_check_interval", "20"]
    usual += ["--check.updates", "6", "--run_dir", str(run_dir)]
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["check", *usual, *args, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["code"] == end.value.code
    assert not run_dir.exists()
    return found


def informed(folder: Path, lines: Iterable[str]) -> None:
    """Makes a saved BERT say how often its tokens are in some texts, so that it knows something."""
    model = BertForMaskedLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    counts = np.ones(len(tokenizer))
    for line in lines:
        np.add.at(counts, tokenizer(line, add_special_tokens=False)["input_ids"], 10)
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.tensor(np.log(counts / counts.sum())))
    model.save_pretrained(folder)


def decoder(folder: Path, **changed: Any) -> Path:
    """A folder with a tiny GPT-2 that knows how often the tokens of `prompted.rows` are.

    Args:
        folder: a new one.
        changed: of its config.
    """
    texts = [f"{row['q']} {row['a']}" for row in prompted.rows(200)]
    prompted.tokenizer(folder, texts=texts)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    shape = {"vocab_size": len(tokenizer), "n_positions": 64, "n_embd": 16, "n_layer": 4}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**{**shape, "n_head": 2, **ends, **changed}))
    counts = np.ones(model.config.vocab_size)
    for row in prompted.rows(200):
        np.add.at(counts, tokenizer(f"{row['a']}</s>", add_special_tokens=False)["input_ids"], 10)
    with torch.no_grad():  # one dimension of the states is always 1, and its column says how often
        model.transformer.wte.weight[:, 0] = torch.tensor(np.log(counts / counts.sum()))
        model.transformer.ln_f.weight[0], model.transformer.ln_f.bias[0] = 0.0, 1.0
    model.save_pretrained(folder)
    return folder


def prompts(folder: Path, tokenizer: Path, rows: int = 200) -> list[str]:
    """Options of GKD of half of a decoder on prompts in its chat template.

    Args:
        folder: where the prompts are written.
        tokenizer: the decoder's.
        rows: how many prompts there are.
    """
    prompted.write(folder / "qa.jsonl", prompted.rows(rows))
    source = '[{"files": "qa.jsonl", "language": "en", "prompt": "{q}", "response": "{a}"}]'
    parts = ("trainer/cpu", "methods/gkd", "models/half", "optimizers/small_model")
    return [
        *(arg for part in parts for arg in ("-c", part)),
        *("--data=PromptCorpus", f"--data.sources={source}", "--data.data_dir", str(folder)),
        *("--data.rendering=ChatTemplate", STOPS, "--data.cache_dir", str(folder / "cache")),
        *("--data.max_length", "48", "--data.batch_tokens", "256", "--data.holdout", "4"),
        *("--data.max_prompt_length", "40", "--model.sampling.max_new_tokens", "6"),
        *("--model.teacher.name", str(tokenizer), "--data.updates_per_epoch", "4"),
    ]
