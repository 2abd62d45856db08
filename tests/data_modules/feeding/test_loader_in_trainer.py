"""Resuming under the real Trainer: every update, the end of an epoch, accumulation, workers."""

from __future__ import annotations

from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from data_modules.feeding.collation import Collator
from data_modules.feeding.loader import WindowLoader
from data_modules.feeding.plan import Plan
from data_modules.objectives.objectives import NextToken

few_processors = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@dataclass
class Numbered:
    """A corpus whose tokens are the number of their window."""

    lengths: np.ndarray
    language: np.ndarray

    tag_names = ()

    def gather(self, windows):
        return np.repeat(windows, self.lengths[windows]).astype(np.int32)


def loader(workers=0):
    lengths = np.random.default_rng(0).integers(3, 20, 60).astype(np.int32)
    corpus = Numbered(lengths, np.zeros(60, dtype=np.int64))
    collate = Collator(corpus, NextToken().bind(None, np.ones(60), 0), pad_id=0)
    plan = Plan(lengths, corpus.language, np.ones(1), budget=80, pool_size=25)
    return WindowLoader(plan, collate, updates_per_epoch=4, accumulation=2, num_workers=workers)


def ids(batch):
    return tuple(batch["sample_id"].tolist())


class Witness(pl.LightningModule):
    """Writes down what it is fed."""

    def __init__(self):
        super().__init__()
        self.layer, self.fed = nn.Linear(1, 1), []

    def training_step(self, batch, batch_idx):
        self.fed.append(ids(batch))
        return self.layer(torch.ones(1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Feed(pl.LightningDataModule):
    """Keeps the loader's state itself, as every data module here has to."""

    def __init__(self, workers):
        super().__init__()
        self.feed, self.workers = None, workers
        self.saved = None

    def train_dataloader(self):
        self.feed = loader(self.workers)
        if self.saved is not None:
            self.feed.load_state_dict(self.saved)
        return self.feed

    def state_dict(self):
        return {"train": self.feed.state_dict()}

    def load_state_dict(self, state):
        self.saved = state["train"]


class Saver(pl.Callback):
    """Saves after every update, and once more at the end of every epoch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            trainer.save_checkpoint(self.folder / f"step={trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer, module):
        trainer.save_checkpoint(self.folder / f"epoch={trainer.current_epoch}.ckpt")


def fit(folder, workers=0, ckpt_path=None, **settings):
    module = Witness()
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        accumulate_grad_batches=2,
        logger=False,
        callbacks=[] if ckpt_path else [Saver(folder)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(module, Feed(workers), ckpt_path=ckpt_path, weights_only=True)
    return module.fed


few_workers = pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")


@few_workers
@few_processors
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("limit", ["max_steps", "max_epochs"])
def test_lightning_resumes_exactly(tmp_path, workers, limit):
    end = {"max_steps": 12} if limit == "max_steps" else {"max_epochs": 3}
    feed, whole = loader(), fit(tmp_path, workers, **end)
    assert whole == [ids(batch) for _ in range(3) for batch in feed]
    for step in (1, 3, 4, 5, 8, 11) if workers == 0 else (3, 4):
        resumed = fit(tmp_path, workers, tmp_path / f"step={step}.ckpt", **end)
        assert resumed == whole[2 * step :]


@few_workers
def test_lightning_resumes_at_the_end_of_an_epoch(tmp_path):
    whole = fit(tmp_path, max_epochs=3)
    for epoch in (0, 1):
        resumed = fit(tmp_path, 0, tmp_path / f"epoch={epoch}.ckpt", max_epochs=3)
        assert resumed == whole[8 * (epoch + 1) :]
