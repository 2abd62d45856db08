"""Set-ups that are sound: a teacher that knows its text, and what `check` says of options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checking import Check
from conftest import sentences

from lit_distill.__main__ import main


def informed(folder: Path, kind: str) -> None:
    """Makes a random language model say how often its tokens are, so that it knows something."""
    import transformers

    model = getattr(transformers, kind).from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    counts = np.ones(len(tokenizer))
    for language in ("en", "de"):
        for line in sentences(language, 300):
            np.add.at(counts, tokenizer(line, add_special_tokens=False)["input_ids"], 10)
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.tensor(np.log(counts / counts.sum())))
    model.save_pretrained(folder)


@pytest.fixture(scope="session")
def teacher(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT that knows how often tokens are."""
    folder = tmp_path_factory.mktemp("informed") / "bert"
    shutil.copytree(tiny_bert, folder)
    informed(folder, "BertForMaskedLM")
    return folder


@pytest.fixture
def check(
    teacher: Path, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Check:
    """What `check` says about half of that teacher on the corpus, with options over it."""

    def asked(*args: str) -> dict[str, Any]:
        own = "methods/fine_tune" in args
        parts = ["trainer/cpu", "methods/fine_tune" if own else "methods/triple_loss"]
        if not own:
            parts += ["models/half", "data/multilingual_folder", str(tiny_corpus)]
        parts.append("optimizers/small_model")
        usual = [arg for part in parts for arg in ("-c", part)]
        usual += [] if own else ["--model.teacher.name", str(teacher)]
        usual += ["--trainer.max_steps", "40", "--trainer.val_check_interval", "20"]
        usual += ["--check.updates", "6", "--run_dir", str(tmp_path / "run")]
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["check", *usual, *args, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert found["code"] == end.value.code
        assert not (tmp_path / "run").exists()
        return found

    return asked
