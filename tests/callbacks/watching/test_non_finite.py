"""Updates whose loss is no number change nothing, are counted, and stop the run in the end."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from csv import DictReader
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples, window
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from safetensors import safe_open

from callbacks.watching.non_finite import NonFiniteLoss
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM
from lit_distill.models import FreshStudent, load_tokenizer

BATCHES = [collate(samples(4, 100, seed=seed)) for seed in range(8)]
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
OPTIMIZERS = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2),
    "fused adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2, fused=True),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9, weight_decay=0.1),
}
NAN, INFINITY = float("nan"), float("inf")
Harm = Callable[[LightningModule, torch.Tensor], torch.Tensor]


class Spoil(torch.autograd.Function):
    """Adds nothing, or NaN, to the loss; one number of the gradient it gives is NaN."""

    @staticmethod
    def forward(ctx: Any, bias: torch.Tensor, times: float) -> torch.Tensor:
        return bias.sum() * times

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.tensor([NAN] + [0.0] * 15), None


def bias(module: LightningModule) -> torch.Tensor:
    (found,) = (p for n, p in module.named_parameters() if n.endswith("embeddings.LayerNorm.bias"))
    return found


def spoilt(module: LightningModule, loss: torch.Tensor) -> torch.Tensor:
    """Loss and gradient are no numbers."""
    return loss + Spoil.apply(bias(module), NAN)


def infinite(module: LightningModule, loss: torch.Tensor) -> torch.Tensor:
    """The loss is infinite and its gradient is as usual."""
    return loss + INFINITY


def spoilt_gradient(module: LightningModule, loss: torch.Tensor) -> torch.Tensor:
    """The loss is as usual and one number of one gradient is none."""
    return loss + Spoil.apply(bias(module), 0.0)


class Watch(Callback):
    """Spoils chosen updates (by their last micro-batch) and keeps what each update left behind."""

    def __init__(self, updates: list[int], harm: Harm = spoilt, rank: int | None = None) -> None:
        self.updates, self.harm, self.rank = updates, harm, rank
        self.states: list[list[torch.Tensor]] = []

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        real, every = pl_module.training_step, trainer.accumulate_grad_batches

        def step(batch: Any, batch_idx: int) -> torch.Tensor:
            loss = real(batch, batch_idx)
            due = trainer.global_step + 1 in self.updates and (batch_idx + 1) % every == 0
            mine = self.rank in (None, trainer.global_rank)
            return self.harm(pl_module, loss) if due and mine else loss

        pl_module.training_step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        optimizer = trainer.optimizers[0]
        moments = [v for state in optimizer.state.values() for v in state.values()]
        kept = [*pl_module.student.parameters(), *moments]
        self.states.append([v.detach().clone() for v in kept if isinstance(v, torch.Tensor)])


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


@contextmanager
def quiet() -> Iterator[None]:
    """Lets the callback warn, and nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Update . was left out")
        yield


@pytest.fixture
def train(tiny_bert: Path, tmp_path: Path) -> Callable[..., Trainer]:
    """Trains one epoch of 8 micro-batches on every rank."""

    def run(
        *callbacks: Callback, optimizer: str = "adamw", accumulate: int = 1, **options: Any
    ) -> Trainer:
        module = MaskedLM(student=FreshStudent("bert", SHAPE), optimizer=OPTIMIZERS[optimizer])
        micro = [
            batch
            for start in range(0, 8, accumulate)
            for batch in window(BATCHES[start : start + accumulate])
        ]
        settings = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "accumulate_grad_batches": accumulate,
            "gradient_clip_val": 1.0,
            "default_root_dir": tmp_path,
            "callbacks": list(callbacks),
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        trainer = Trainer(**{**settings, **options})
        data = Served([micro] * 2, tokenizer=load_tokenizer(str(tiny_bert)))
        trainer.fit(module, datamodule=data)
        return trainer

    return run


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("harm", [spoilt, infinite, spoilt_gradient])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_bad_update_changes_nothing(
    train: Callable[..., Trainer], optimizer: str, harm: Harm, accumulate: int
) -> None:
    watch, callback = Watch([3], harm), NonFiniteLoss()
    with quiet():
        train(watch, callback, optimizer=optimizer, accumulate=accumulate)
    after = [[], *watch.states[accumulate - 1 :: accumulate]]
    assert equal(after[3], after[2])
    assert not equal(after[4], after[3])
    assert all(bool(value.isfinite().all()) for value in after[-1])
    assert callback.skipped == 1


def test_weights_are_lost_without_it(train: Callable[..., Trainer]) -> None:
    watch = Watch([3])
    train(watch)
    assert not all(bool(value.isfinite().all()) for value in watch.states[-1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_changes_no_bit_of_a_good_run(train: Callable[..., Trainer], optimizer: str) -> None:
    states = []
    for callbacks in ([], [NonFiniteLoss()]):
        torch.manual_seed(0)
        watch = Watch([])
        train(watch, *callbacks, optimizer=optimizer)
        states.append(watch.states[-1])
    assert equal(*states)


class AfterAll(Watch):
    """Writes what every rank ends with: the parent of forked ranks sees nothing of it."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.default_root_dir)
        torch.save(self.states, folder / f"rank{trainer.global_rank}.pt")


@pytest.mark.parametrize("harm", [spoilt, infinite])
def test_all_ranks_leave_out_what_one_finds_bad(
    train: Callable[..., Trainer], tmp_path: Path, harm: Harm
) -> None:
    with quiet():
        train(
            AfterAll([3], harm, rank=1),
            NonFiniteLoss(),
            strategy="ddp_fork",
            devices=2,
        )
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert equal(ranks[0][-1], ranks[1][-1])
    for states in ranks:
        assert equal(states[2], states[1])
        assert not equal(states[3], states[2])


def test_too_many_in_a_row_stop_the_run_and_keep_the_batch(
    train: Callable[..., Trainer], tmp_path: Path
) -> None:
    watch, callback = Watch([1, 3, 4]), NonFiniteLoss(limit=2)
    with quiet(), pytest.raises(UserError, match="2 updates in a row, up to update 4") as caught:
        train(watch, callback, accumulate=2)
    assert callback.skipped == 3
    path = tmp_path / "non_finite" / "update_4_rank_0.safetensors"
    for words in (str(path), "lower learning rate", "bf16-mixed", "--ckpt_path last"):
        assert words in str(caught.value)
    with safe_open(path, "pt") as file:
        for number in (0, 1):
            batch = BATCHES[6 + number]
            for key in ("input_ids", "attention_mask", "sample_id", "rows", "targets"):
                assert torch.equal(file.get_tensor(f"{number}/{key}"), batch[key])
            noted = json.loads(file.metadata()[str(number)])
            assert noted["languages"] == [["xx", "yy"][i] for i in batch["language"].tolist()]
            assert noted["counts"] == batch["counts"]


def test_the_reason_is_told_even_where_the_batch_cannot_be_kept(
    train: Callable[..., Trainer], tmp_path: Path
) -> None:
    (tmp_path / "non_finite").write_text("in the way")
    with quiet(), pytest.raises(UserError, match=r"1 updates in a row.*could not be written"):
        train(Watch([1]), NonFiniteLoss(limit=1))


def test_it_warns_and_logs(train: Callable[..., Trainer], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, "", "", flush_logs_every_n_steps=1)
    with pytest.warns(UserWarning, match="left out") as caught:
        train(Watch([2, 5]), NonFiniteLoss(), logger=logger, log_every_n_steps=8)
    told = [str(w.message) for w in caught if "left out" in str(w.message)]
    assert [text[:23] for text in told] == ["Update 2 was left out: ", "Update 5 was left out: "]
    with (tmp_path / "metrics.csv").open() as file:
        logged = [(r["step"], r["train/skipped"]) for r in DictReader(file) if r["train/skipped"]]
    assert logged == [("1", "1"), ("4", "2")]


def test_the_count_survives_a_checkpoint(train: Callable[..., Trainer], tmp_path: Path) -> None:
    callback = NonFiniteLoss()
    with quiet():
        trainer = train(Watch([2, 3]), callback)
    checkpoint: dict[str, Any] = {}
    callback.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
    later = NonFiniteLoss()
    later.on_load_checkpoint(trainer, trainer.lightning_module, checkpoint)
    assert later.skipped == 2


@pytest.mark.parametrize(("harm", "skipped"), [(spoilt_gradient, 0), (spoilt, 2)])
def test_the_loss_scaler_keeps_its_business(
    train: Callable[..., Trainer], harm: Harm, skipped: int
) -> None:
    """It looks for its scale by gradients that overflow; only losses are counted then."""
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    watch, callback = Watch([2, 3], harm), NonFiniteLoss()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(watch, callback, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert equal(watch.states[0], watch.states[2])
    assert not equal(watch.states[3], watch.states[2])
    assert callback.skipped == skipped
    assert scaler.get_scale() == 1.0  # halved twice


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        NonFiniteLoss(limit=0)
