"""Masked texts with the models' guesses, as TensorBoard shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Sample, collate
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from transformers import AutoTokenizer, BertTokenizerFast

from callbacks import MaskedSamples
from callbacks.reports.markdown import escaped, table_row
from callbacks.reports.masked_samples import Sample as Shown
from callbacks.reports.masked_samples import _rows

Fit = Callable[..., tuple[Trainer, Any]]


def written(folder: Path) -> dict[int, list[list[str]]]:
    """Cells of each row below the heading, by step."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    if "val/samples/text_summary" not in events.Tags()["tensors"]:
        return {}
    tables = {}
    for event in events.Tensors("val/samples/text_summary"):
        lines = make_ndarray(event.tensor_proto)[0].decode().splitlines()
        tables[event.step] = [line.strip("| ").split(" | ") for line in lines]
    return tables


def logger(folder: Path) -> TensorBoardLogger:
    return TensorBoardLogger(folder, name="tensorboard", version="")


def test_every_language_has_its_row_after_every_validation(fit: Fit, tmp_path: Path) -> None:
    fit(MaskedSamples(texts=2), logger=logger(tmp_path), taught=True, num_sanity_val_steps=1)
    tables = written(tmp_path)
    assert list(tables) == [8, 16]
    for table in tables.values():
        assert table[0] == ["language", "text", "student", "teacher"]
        assert sorted(row[0] for row in table[2:]) == ["xx", "xx", "yy", "yy"]
    first, last = ([row[1] for row in tables[step][2:]] for step in (8, 16))
    assert first == last  # the same texts with the same gaps


def test_guesses_are_those_of_the_model_alone_on_each_text(
    fit: Fit, tmp_path: Path, tiny_bert: Path
) -> None:
    """The table pads texts together; here each one is read by itself."""
    _, module = fit(MaskedSamples(texts=2), logger=logger(tmp_path), taught=True)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    batch = next(iter(module.data.validation))
    rows = {row[0] + row[1]: row for row in written(tmp_path)[16][2:]}
    model = module.student.model.eval()
    found = 0
    for text in range(4):
        length = int(batch["attention_mask"][text].sum())
        ids, width = batch["input_ids"][text, :length], batch["input_ids"].shape[1]
        targets = {
            int(row) % width: int(target)
            for row, target in zip(batch["rows"], batch["targets"], strict=True)
            if int(row) // width == text
        }
        best = model(input_ids=ids[None]).logits[0].argmax(-1)
        words = [
            f"**{escaped(word)}**" if int(best[place]) == target else escaped(word)
            for place, target in targets.items()
            for word in [tokenizer.decode([int(best[place])])]
        ]
        language = ["xx", "yy"][int(batch["language"][text])]
        found += any(row[0] == language and row[2] == " · ".join(words) for row in rows.values())
    assert found == 4


def test_hidden_and_right_words_are_bold(tmp_path: Path) -> None:
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the river run ##s past"
    (tmp_path / "vocab.txt").write_text("\n".join(words.split()))
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"))
    ids = tokenizer("the river runs past").input_ids
    hidden = {2: ids[2], 4: ids[4], 5: ids[5]}
    read = torch.tensor(ids)
    read[list(hidden)] = tokenizer.mask_token_id
    guess = {2: ids[2], 4: ids[1], 5: tokenizer.mask_token_id}

    def row(tokens: int) -> str:
        samples = [Shown("en", read, hidden)]
        return table_row(_rows(tokenizer, samples, {"student": [guess]}, tokens)[0])

    assert row(40) == r"| en | the **river** run**s past** | **river** · the · \[MASK\] |"
    assert row(4) == "| en | the **river** run … | **river** |"


def test_markup_in_a_text_stays_text() -> None:
    assert escaped("a|b *c*\n<i>_d_") == r"a\|b \*c\* &lt;i&gt;\_d\_"


class Numbers(Logger):
    """Takes numbers alone."""

    name, version = "numbers", "0"  # type: ignore[assignment]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        pass

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.mark.parametrize("chosen", ["none", "numbers"])
def test_where_no_logger_shows_tables_no_model_is_run(
    fit: Fit, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callbacks.reports.masked_samples._guesses", None)
    fit(MaskedSamples(), logger=Numbers() if chosen == "numbers" else False)


def test_a_corpus_that_masks_nothing_writes_nothing(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = collate([Sample(0, [5, 6, 7], [0, 1], [6, 7], 0)])
    batch["counts"]["masked"] = 0  # as with the objective NextToken
    monkeypatch.setattr("batches.Served.val_dataloader", lambda self: Fixed([batch]))
    fit(MaskedSamples(), logger=logger(tmp_path))
    assert written(tmp_path) == {}
