"""A data module of somebody else's: the page's example runs, and what lacks something is told."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, next_tokens, samples
from jsonargparse import _common as settings
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringDataModule
from transformers import DataCollatorForLanguageModeling

from lit_distill.__main__ import main
from lit_distill.batch import Batch, batch_of_labels
from lit_distill.cli.parsing import modules
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM
from lit_distill.models import FreshStudent, load_tokenizer
from lit_distill.training.data_contract import (
    Reach,
    check_batch,
    check_data_module,
    check_lightning,
)

REACH = Reach(languages=2, vocab_size=100, outputs=100, max_length=32)
PAGE = Path(__file__).parents[3] / "docs/own_data_module.md"
OWN = """
from lightning.pytorch import LightningDataModule

class NoBase(LightningDataModule):
    def __init__(self) -> None:
        pass

class NoLoader(LightningDataModule):
    languages = ["en"]

class NoneLoader(NoLoader):
    def train_dataloader(self) -> None:
        return None
"""


@pytest.fixture(autouse=True)
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's module and others in the working directory; permissions as in a new process."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    Path("my_data.py").write_text(example)
    Path("own_data.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(modules, "permitted", [])
    before = dict(settings.parsing_settings)
    yield
    settings.parsing_settings.update(before)
    for name in ("my_data", "own_data"):
        sys.modules.pop(name, None)


def test_the_example_of_the_page_runs(text_folder: Path) -> None:
    base = Path("exp.yaml").read_text()
    Path("exp.yaml").write_text(re.sub(r"(?s)^data:.*(?=^trainer)", "", base, flags=re.MULTILINE))
    options = ["--data=MyData", f"--data.file={text_folder / 'en.txt'}", "--trainer.max_steps=3"]
    watch = ["--trainer.callbacks+=PerLanguage", "--trainer.callbacks+=ExportStudent"]
    checked = ["--trainer.num_sanity_val_steps=1", "--trainer.val_check_interval=2"]
    command = ["fit", "-c", "exp.yaml", "--allow-module=my_data", *options, *watch, *checked]
    assert main(command) == 0
    assert Path("runs/triple_loss-MyData/student/model.safetensors").exists()
    assert Path("runs/triple_loss-MyData/student/tokenizer.json").exists()


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NoBase", r"NoBase.__init__ does not call super\(\).__init__\(\)"),
        ("NoneLoader", "An invalid dataloader was returned from `NoneLoader.train_dataloader"),
        ("NoLoader", "`train_dataloader` must be implemented"),
    ],
)
def test_a_data_module_that_lightning_stumbles_over_is_one_line(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", "-c", "exp.yaml", "--allow-module=own_data", f"--data={name}"]
    try:
        code: Any = main(command)
    except SystemExit as stop:
        code = stop.code
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert re.search(said, lines[-1])
    assert lines[-1].startswith("error: ")


# -- data modules --------------------------------------------------------------------------------


def changed(**attributes: Any) -> Served:
    data = Served([[collate(samples(4, 100))]])
    for name, value in attributes.items():
        setattr(data, name, value)
    return data


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"languages": None}, "Served.languages is None"),
        ({"languages": "en"}, "Served.languages is 'en'"),
        ({"languages": []}, r"Served.languages is \[\]"),
        ({"tokenizer": "name"}, "Served.tokenizer is 'name' and no tokenizer"),
        ({"sample_prompts": min}, "no teacher_answers, eos_ids, tokenizer"),
    ],
)
def test_what_a_data_module_lacks_is_named(attributes: dict[str, Any], said: str) -> None:
    check_data_module(changed())
    with pytest.raises(UserError, match=said):
        check_data_module(changed(**attributes))


def test_hooks_have_lightnings_arguments_and_do_not_hide_the_methods() -> None:
    class Hiding(Served):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch

    class Bare(BoringDataModule):
        def setup(self) -> None:  # type: ignore[override]
            pass

    with pytest.raises(UserError, match="hook on_before_batch_transfer"):
        check_data_module(Hiding([[]]))
    check_lightning(BoringDataModule())
    with pytest.raises(UserError, match=r"def setup\(self, stage\)"):
        check_lightning(Bare())


# -- batches -------------------------------------------------------------------------------------


def without(*keys: str) -> Callable[[dict[str, Any]], Any]:
    return lambda batch: {key: value for key, value in batch.items() if key not in keys}


def having(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda batch: {**batch, **values}


def counting(**counts: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda batch: {**batch, "counts": {**batch["counts"], **counts}}


def flipped(batch: dict[str, Any]) -> Any:
    return {**batch, **{key: batch[key].flip(1) for key in ("input_ids", "attention_mask")}}


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda batch: list(batch.values()), "is a list"),
    (lambda batch: batch["input_ids"], "is a Tensor"),
    (without("rows", "counts"), "has no rows, counts"),
    (lambda b: having(labels=b["rows"])(without("rows")(b)), "no rows.*batch_of_labels"),
    (having(rows=[1, 2]), r"rows is a list and needs to be a tensor \(N,\)"),
    (having(targets=torch.zeros(3)), r"targets is \(3,\) of float32"),
    (having(language=torch.zeros(4, 1, dtype=torch.int64)), r"language is \(4, 1\) of int64"),
    (having(attention_mask=torch.ones(4, 2, dtype=torch.int64)), r"attention_mask is \(4, 2\)"),
    (flipped, "padded on the left"),
    (having(tokens=torch.arange(3)), "tokens are not the flat indices"),
    (having(rows=torch.tensor([0])), "rows are 1 and targets"),
    (lambda b: {**b, "rows": b["rows"].flip(0)}, "rows are not flat indices"),
    (lambda b: {**b, "rows": b["rows"] + 1000}, "rows are not flat indices"),
    (counting(tokens=1), "in counts, tokens is 1, and there are"),
    (counting(rows=1), "in counts, rows is 1"),
    (counting(masked=None), "no whole number for masked"),
    (having(language=torch.tensor([0, 1, 2, 0])), "numbers from 0 to 2, and the data module names"),
    (having(language=torch.tensor([0, 1])), "2 numbers for 4 texts"),
    (lambda b: {**b, "targets": b["targets"] + 100}, "targets has .* predicts 0 to 99"),
    (lambda b: {**b, "input_ids": b["input_ids"] + 100}, "input_ids has .* reads 0 to 99"),
    (lambda b: {**b, "input_ids": b["input_ids"] - 100}, "input_ids has -"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_batch_that_does_not_fit_is_refused_with_what_is_wrong(
    change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    batch = dict(collate(samples(4, 100)))
    check_batch(batch, REACH, "It")
    with pytest.raises(UserError, match=rf"^It .*{said}"):
        check_batch(change(batch), REACH, "It")


def test_texts_longer_than_the_position_table_are_refused() -> None:
    with pytest.raises(UserError, match="11 tokens and the student's position table 8"):
        check_batch(collate(samples(9, 100)), Reach(2, 100, 100, 8), "It")


@pytest.mark.parametrize("held_out", [False, True])
def test_the_first_batch_of_every_loader_is_looked_at(
    held_out: bool, tiny_bert: Path, tmp_path: Path
) -> None:
    good, bad = collate(samples(4, 100)), without("rows")(dict(collate(samples(4, 100))))
    served = [[good], [bad]] if held_out else [[bad], [good]]
    data = Served([served[0]], served[1], load_tokenizer(str(tiny_bert)))
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(UserError, match=rf"first {'held-out' if held_out else 'training'} batch"):
        trainer.fit(MaskedLM(student=FreshStudent("bert", shape)), datamodule=data)


@pytest.mark.parametrize("causal", [False, True])
def test_labels_of_transformers_become_the_same_batch(causal: bool) -> None:
    texts = samples(6, 100)
    wanted: Batch = collate(texts, causal=causal)
    read, labels = wanted["input_ids"], torch.full_like(wanted["input_ids"], -100)
    if causal:
        whole = [next_tokens(text) for text in texts]
        for row, text in enumerate(whole):
            labels[row, : len(text.ids)] = torch.tensor(text.ids)
    else:
        labels.view(-1)[wanted["rows"]] = wanted["targets"]
    mask = wanted["attention_mask"]
    made = batch_of_labels(read, mask, labels, wanted["language"].tolist(), causal)
    for key, value in made.items():
        expected = wanted[key]  # type: ignore[literal-required]
        same = (
            torch.equal(value, expected) if isinstance(value, torch.Tensor) else value == expected
        )
        assert same, key


def test_what_their_collator_gives_fits(tiny_bert: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_bert))
    texts = [tokenizer("the river runs"), tokenizer("cats sleep and children read long books")]
    for mlm in (True, False):
        read = DataCollatorForLanguageModeling(tokenizer, mlm=mlm, seed=1)(texts)
        given = (read[key] for key in ("input_ids", "attention_mask", "labels"))
        batch = batch_of_labels(*given, language=[0, 0], next_token=not mlm)
        check_batch(batch, Reach(1, len(tokenizer), len(tokenizer), 32), "It")
