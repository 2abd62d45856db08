"""Who moves in an update, and with which options: a critic ascends, a student descends."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from adversarial import AdversarialStates
from batches import collate, samples, window
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy, SingleDeviceStrategy
from ranks import on_two_ranks
from shipped_methods import Keep, quiet_trainer, read, trained
from staged import Repeated
from torch import Tensor, nn

from callbacks.watching.non_finite import NonFiniteLoss
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow, Term
from lit_distill.models import TeacherSpec
from lit_distill.schedules import Constant, Linear
from lit_distill.training.updates import ModelUpdate, Updates

TEXTS = samples(6, 100)
WHOLE = [collate(TEXTS)]
PARTS = [collate(TEXTS[:1]), collate(TEXTS[1:])]  # uneven
UPDATES = 9
CLIP = 0.05
ASCENDS = ModelUpdate(rate=2.0, clip=0.02, options={"maximize": True, "betas": [0.5, 0.9]})


def method(folder: Path, kind: type[AdversarialStates] = AdversarialStates, **options: Any) -> Any:
    seed_everything(0, verbose=False)
    defaults = {
        "teacher": TeacherSpec(str(folder)),
        "dropout": 0.0,
        "optimizer": lambda groups: torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1),
        "schedule": Linear(warmup=0.0),
        "per_model": {"auxiliary": ASCENDS},
    }
    return kind(**{**defaults, **options})


def fitted(module: AdversarialStates, ranks: list[list[Batch]], **options: Any) -> Trainer:
    """Trains on the same window again and again."""
    start = options.pop("ckpt_path", None)
    defaults = {"max_epochs": -1, "gradient_clip_val": CLIP, "max_steps": UPDATES}
    loop = quiet_trainer(accumulate_grad_batches=len(ranks[0]), **{**defaults, **options})
    data = Repeated([window(batches) * UPDATES for batches in ranks])
    loop.fit(module, datamodule=data, ckpt_path=start)
    return loop


def started(folder: Path, **options: Any) -> AdversarialStates:
    """The method as every run of it begins."""
    module: AdversarialStates = method(folder, **options)
    fitted(module, [WHOLE], max_steps=0)
    return module


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    own = [p for p in model.parameters() if p.requires_grad]
    bare = {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0}
    return [{"params": [p for p in own if p.ndim > 1]}, bare]


def plain_loop(module: AdversarialStates) -> Tensor:
    """What training changes, by two optimizers of plain PyTorch that know nothing of each other."""
    student, critic, teacher = (
        copy.deepcopy(part) for part in (module.student, module.auxiliary["critic"], module.teacher)
    )
    before = torch.cat([p.detach().flatten() for m in (student, critic) for p in m.parameters()])
    options = {"lr": 0.01, "weight_decay": 0.1}
    descent = torch.optim.AdamW(groups_of(student), **options)
    ascent = torch.optim.AdamW(groups_of(critic), **options, maximize=True, betas=(0.5, 0.9))
    (batch,) = WHOLE
    for update in range(UPDATES):
        ours, theirs = (
            model.model.bert(batch["input_ids"], attention_mask=batch["attention_mask"])[0]
            for model in (student, teacher)
        )
        mask = batch["attention_mask"].bool()
        gap = critic(ours[mask]).mean() - critic(theirs[mask].detach()).mean()
        mover, optimizer, rate, clip = (
            (student, descent, 0.01, CLIP) if update % 4 == 3 else (critic, ascent, 0.02, 0.02)
        )
        gap.backward()
        norm = math.sqrt(
            sum(float(p.grad.square().sum()) for p in mover.parameters() if p.grad is not None)
        )
        for p in mover.parameters():
            if p.grad is not None:
                p.grad.mul_(min(clip / (norm + 1e-6), 1.0))
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - update / UPDATES)
        optimizer.step()
        for model in (student, critic):
            model.zero_grad(set_to_none=True)
    after = torch.cat([p.detach().flatten() for m in (student, critic) for p in m.parameters()])
    return after - before


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_two_players_move_as_in_a_plain_loop(tiny_bert: Path) -> None:
    """Who rests does not decay, and moments and bias corrections count own updates alone."""
    module = started(tiny_bert)
    expected = plain_loop(module)
    for batches in (WHOLE, PARTS):  # one batch, and two micro-batches
        module = method(tiny_bert)
        before = trained(started(tiny_bert))
        loop = fitted(module, [batches])
        assert loop.global_step == UPDATES
        assert apart(trained(module) - before, expected) < 1e-12


class Gaps(Callback):
    """Notes the gap before each update."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.found.append(pl_module.logged["gap"])


def test_the_gap_rises_with_the_critic_and_falls_with_the_student(tiny_bert: Path) -> None:
    gaps = Gaps()
    module = method(
        tiny_bert,
        schedule=Constant(warmup=0.0),
        per_model={"auxiliary": ModelUpdate(options={"maximize": True})},
    )
    fitted(module, [WHOLE], callbacks=[gaps], gradient_clip_val=None)
    rises = [later > one for one, later in zip(gaps.found, gaps.found[1:], strict=False)]
    assert rises == [True, True, True, False, True, True, True, False]


def resumed(
    bert: Path, folder: Path, ranks: list[list[Batch]], ends: Sequence[int], **options: Any
) -> AdversarialStates:
    """Runs at a constant rate, each of which goes on where the one before ended."""
    path, strategy = None, options.pop("strategy", lambda _: "auto")
    for end in ends:
        module = method(bert, schedule=Constant(warmup=0.0))
        loop = fitted(
            module, ranks, max_steps=end, ckpt_path=path, strategy=strategy(end), **options
        )
        assert loop.global_step == end
        path = folder / f"{end}.ckpt"
        loop.save_checkpoint(path)
    return module


def in_pieces(folders: bool = False) -> ModelParallelStrategy:
    return ModelParallelStrategy(
        data_parallel_size=2,
        tensor_parallel_size=1,
        save_distributed_checkpoint=folders,
        process_group_backend="gloo",
    )


@pytest.mark.rotated(3)  # whole runs
def test_two_ranks_move_as_one(tiny_bert: Path, tmp_path: Path) -> None:
    """Under DDP; and under FSDP2, in float32, whose moments resume where one has never moved."""
    expected = plain_loop(started(tiny_bert))
    halves = [[part] for part in PARTS]
    path, files, folders = (tmp_path / name for name in ("change.pt", "files", "folders"))
    files.mkdir()
    folders.mkdir()
    options: dict[str, Any] = {"devices": 2, "callbacks": [Keep(path)]}
    fitted(method(tiny_bert), halves, strategy="ddp_fork", **options)
    assert apart(read(path), expected) < 1e-12

    def work() -> None:
        options = {"devices": 2, "precision": "32-true"}
        fitted(method(tiny_bert), halves, strategy=in_pieces(), callbacks=[Keep(path)], **options)
        for place in (files, folders):  # and the last one is a file

            def kind(end: int, whole: bool = place == files) -> ModelParallelStrategy:
                return in_pieces(folders=not whole and end < UPDATES)

            resumed(tiny_bert, place, halves, (2, 6, UPDATES), strategy=kind, **options)

    on_two_ranks(work, tmp_path / "log.txt")
    assert apart(read(path), expected) < 1e-5
    assert (folders / "2.ckpt").is_dir()
    resumed(tiny_bert, tmp_path, [WHOLE], (UPDATES,))
    one = weights_in(tmp_path / f"{UPDATES}.ckpt")
    for place in (files, folders):
        assert apart(weights_in(place / f"{UPDATES}.ckpt"), one) < 1e-5, place.name


def weights_in(path: Path) -> Tensor:
    state = torch.load(path, weights_only=True)["state_dict"]
    return torch.cat([value.double().flatten() for _, value in sorted(state.items())])


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_a_run_resumes_in_the_middle_of_the_rhythm(
    tiny_bert: Path, tmp_path: Path, stop: int
) -> None:
    """Bit for bit; after two updates the student has no moments yet."""
    runs = [resumed(tiny_bert, tmp_path, [PARTS], ends) for ends in ((UPDATES,), (stop, UPDATES))]
    whole, again = (trained(module) for module in runs)
    assert torch.equal(again, whole)
    assert not torch.equal(weights_in(tmp_path / f"{stop}.ckpt"), whole)


class Broken(Callback):
    """Makes the gradients of who rests infinite."""

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        (moves,) = pl_module.players(trainer.global_step)
        rests = pl_module.student if moves == "auxiliary" else pl_module.auxiliary
        for parameter in rests.parameters():
            if parameter.grad is not None:
                parameter.grad.fill_(math.inf)


def test_what_is_infinite_about_who_rests_stops_nobody(tiny_bert: Path) -> None:
    runs, guard = [method(tiny_bert) for _ in range(2)], NonFiniteLoss()
    fitted(runs[0], [WHOLE])
    fitted(runs[1], [WHOLE], callbacks=[Broken(), guard])
    assert guard.skipped == 0
    assert torch.equal(trained(runs[1]), trained(runs[0]))


class Named(AdversarialStates):
    """Says who moves."""

    moving: Sequence[str] = ()

    def players(self, update: int) -> Sequence[str]:
        return self.moving if update == 1 else ["student"]


class InTurns(AdversarialStates):
    """Reads nothing of who rests, so that DDP sees unused parameters."""

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        with torch.set_grad_enabled("student" in self.players(self.global_step)):
            ours = self.student.encode(batch).rows(batch["tokens"])
        return {"gap": Term(self.auxiliary["critic"](ours).sum(), "tokens")}


def test_a_loss_may_leave_out_who_rests(tiny_bert: Path, tmp_path: Path) -> None:
    """DDP then has to look for unused parameters."""
    module, before = method(tiny_bert, InTurns), trained(started(tiny_bert))
    fitted(module, [WHOLE])
    options: dict[str, Any] = {"devices": 2, "callbacks": [Keep(tmp_path / "two.pt")]}
    strategy = "ddp_fork_find_unused_parameters_true"
    fitted(method(tiny_bert, InTurns), [[part] for part in PARTS], strategy=strategy, **options)
    assert apart(read(tmp_path / "two.pt"), trained(module) - before) < 1e-12


def test_who_is_nobody_is_refused(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for moving, found in ((["studnet"], "studnet"), ([], "nobody")):
        module = method(tiny_bert, Named)
        module.moving = moving
        with pytest.raises(UserError, match=f"players names {found}: there is auxiliary, student"):
            fitted(module, [WHOLE])
        assert module.global_step == 1
    monkeypatch.setattr(SingleDeviceStrategy, "handles_gradient_accumulation", True)
    module = method(tiny_bert, per_model={})
    with pytest.raises(UserError, match="DeepSpeed keeps gradients to itself"):
        fitted(module, [WHOLE], gradient_clip_val=None)
    assert module.global_step == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"maximise": True},
            r"per_model\.auxiliary\.options: AdamW has no option maximise; .*betas",
        ),
        ({"params": []}, "AdamW has no option params"),
        ({"decoupled_weight_decay": False}, "has no option decoupled_weight_decay"),
        ({"betas": [0.9, 1.5]}, "AdamW cannot use them: Invalid beta"),
        ({"betas": [0.9]}, "AdamW cannot use them"),
        ({"betas": 0.9}, "AdamW cannot use them"),
        ({"weight_decay": math.nan}, "ModelUpdate.options: weight_decay is nan"),
        ({"betas": [0.9, math.inf]}, "ModelUpdate.options: betas is"),
        ({"lr": 0.1}, "lr is set by rate"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Updates(torch.optim.AdamW, Linear(), {"auxiliary": ModelUpdate(options=options)}).check()


def test_options_are_those_of_one_model(tiny_bert: Path) -> None:
    """And stay when a run goes on; biases and norms do not decay."""
    own = {"auxiliary": ModelUpdate(options={"weight_decay": 0.5, "eps": 1e-6})}
    loop = fitted(method(tiny_bert, per_model=own), [WHOLE])
    groups = {group["name"]: group for group in loop.optimizers[0].param_groups}
    decays = {name: group["weight_decay"] for name, group in groups.items()}
    bare = "norms_and_biases"
    assert decays == {
        "student": 0.1, f"student/{bare}": 0.0, "auxiliary": 0.5, f"auxiliary/{bare}": 0.0
    }  # fmt: skip
    assert [group["eps"] for group in groups.values()] == [1e-8, 1e-8, 1e-6, 1e-6]
