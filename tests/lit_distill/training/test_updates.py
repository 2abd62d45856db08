"""Every model's learning rate and clipping are its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cohorts import fit, fresh, weights
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy

from lit_distill.errors import UserError
from lit_distill.methods import CoDistillation, MaskedLM
from lit_distill.schedules import Constant, Linear
from lit_distill.training.distillation import Distillation
from lit_distill.training.optimizer_checks import check_optimizer
from lit_distill.training.updates import ModelUpdate


class Norms(Callback):
    """Scales the gradient of one student, and notes all norms before and after clipping."""

    def __init__(self, scaled: str = "", factor: float = 1.0) -> None:
        self.scaled, self.factor = scaled, factor
        self.before: dict[str, float] = {}
        self.after: dict[str, float] = {}

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        clip = pl_module.configure_gradient_clipping

        def noted(*arguments: Any, **options: Any) -> None:
            clip(*arguments, **options)
            self.after = norms(pl_module)

        pl_module.configure_gradient_clipping = noted

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, _: Any) -> None:
        for parameter in pl_module.students[self.scaled].parameters() if self.scaled else ():
            parameter.grad.mul_(self.factor)
        self.before = norms(pl_module)


def norms(module: Distillation) -> dict[str, float]:
    return {
        name: float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]))
        for name, model in module.students.items()
    }


def method(**options: Any) -> CoDistillation:
    return CoDistillation(
        **{
            "students": fresh(large=2, small=1),
            "optimizer": lambda groups: torch.optim.SGD(groups, lr=0.1),
            "schedule": Constant(warmup=0.0),
            **options,
        }
    )


def test_a_jump_of_one_model_does_not_clip_the_other(tiny_bert: Path) -> None:
    found = []
    for factor in (1.0, 1000.0):
        module, seen = method(), Norms("large", factor)
        fit(module, tiny_bert, updates=1, callbacks=[seen], gradient_clip_val=0.5)
        assert seen.before["large"] > 0.5
        assert seen.after["large"] == pytest.approx(0.5, rel=1e-3)
        found.append(weights(module)["small"])
    assert torch.equal(*found)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_a_model_has_a_limit_of_its_own(tiny_bert: Path, algorithm: str) -> None:
    seen, own = Norms(), {"small": ModelUpdate(clip=0.01)}
    options: dict[str, Any] = {"updates": 2, "callbacks": [seen]}
    options["gradient_clip_algorithm"] = algorithm
    fit(method(per_model=own), tiny_bert, gradient_clip_val=0.02, **options)
    if algorithm == "norm":
        assert seen.after["small"] == pytest.approx(0.01, rel=1e-3)
        assert seen.after["large"] == pytest.approx(0.02, rel=1e-3)
    assert seen.after["small"] < 0.5 * seen.before["small"]
    fit(method(per_model=own), tiny_bert, **options)  # the trainer clips nothing
    assert seen.after["small"] < 0.5 * seen.before["small"]
    assert seen.after["large"] == seen.before["large"]


def test_a_model_has_a_rate_of_its_own(tiny_bert: Path) -> None:
    both, faster = method(), method(per_model={"small": ModelUpdate(rate=2.0)})
    trainers = [fit(one, tiny_bert, updates=1) for one in (both, faster)]
    start = method()
    start.students.update(fit_nothing(start, tiny_bert).students)
    steps = [{k: v - weights(start)[k] for k, v in weights(one).items()} for one in (both, faster)]
    torch.testing.assert_close(steps[1]["small"], 2 * steps[0]["small"], rtol=1e-3, atol=1e-6)
    assert torch.equal(steps[1]["large"], steps[0]["large"])
    rates = [group["lr"] for group in trainers[1].optimizers[0].param_groups]
    names = [group["name"] for group in trainers[1].optimizers[0].param_groups]
    assert rates == [0.1, 0.1, 0.2, 0.2]
    kinds = ("", "/norms_and_biases")
    assert names == [f"{name}{kind}" for name in ("large", "small") for kind in kinds]


def fit_nothing(module: CoDistillation, folder: Path) -> CoDistillation:
    """The module with its initial weights."""
    module.updates.per_model = {name: ModelUpdate(rate=1e-30) for name in ("large", "small")}
    fit(module, folder, updates=1)
    return module


def test_the_schedule_moves_every_rate(tiny_bert: Path) -> None:
    module = method(schedule=Linear(warmup=0.0), per_model={"large": ModelUpdate(rate=0.5)})
    trainer = fit(module, tiny_bert, updates=4)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.0] * 4
    trainer = fit(method(schedule=Linear(warmup=0.0)), tiny_bert, updates=4)
    assert trainer.lr_scheduler_configs[0].scheduler.base_lrs == [0.1] * 4


def test_a_single_student_is_clipped_as_ever(tiny_bert: Path) -> None:
    seen = Norms()
    module = MaskedLM(students=fresh(one=1), optimizer=torch.optim.SGD)
    trainer = fit(module, tiny_bert, updates=1, callbacks=[seen], gradient_clip_val=0.25)
    assert seen.after["one"] == pytest.approx(0.25, rel=1e-3)
    assert all("name" not in group for group in trainer.optimizers[0].param_groups)


def test_what_cannot_work_is_refused(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("rate", 0.0), ("clip", -1.0)):
        with pytest.raises(UserError, match=f"{name} is {value}"):
            ModelUpdate(**{name: value})
    with pytest.raises(UserError, match=r"per_model\.smal: .* there is large, small"):
        fit(method(per_model={"smal": ModelUpdate()}), tiny_bert)
    monkeypatch.setattr(SingleDeviceStrategy, "handles_gradient_accumulation", True)
    with pytest.raises(UserError, match=r"DeepSpeed clips .* \(large, small\) by one norm"):
        fit(method(), tiny_bert, gradient_clip_val=1.0)
    fit(method(), tiny_bert, updates=1)


def test_a_fused_optimizer_is_clipped_where_no_loss_is_scaled(tiny_bert: Path) -> None:
    """With a loss scaler it would unscale gradients only after they were clipped."""
    seen, fused = Norms(), {"optimizer": adam(0.01, fused=True)}
    options: dict[str, Any] = {"callbacks": [seen], "gradient_clip_val": 0.02, "updates": 1}
    fit(method(**fused), tiny_bert, precision="bf16-mixed", **options)
    assert seen.after["large"] == pytest.approx(0.02, rel=1e-2)
    scaled = MixedPrecision("16-mixed", "cpu")
    module = method(**fused)
    with pytest.raises(UserError, match="A fused optimizer takes the loss scale of 16-mixed out"):
        fit(module, tiny_bert, plugins=[scaled], **options)
    assert module.global_step == 0


class Held(Callback):
    """Counts the parameters that hold a gradient when a micro-batch begins."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        self.counts.append(sum(p.grad is not None for p in pl_module.parameters()))


def test_no_gradient_is_kept_over_the_next_forward(tiny_bert: Path) -> None:
    held = Held()
    fit(method(), tiny_bert, updates=2, accumulate=2, callbacks=[held])
    first, second, third, fourth = held.counts
    assert first == third == 0
    assert second == fourth > 0  # in the middle of an update they are needed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 1e38}, r"lr is 1e\+38: use a number from 0 to 1000"),
        ({"lr": math.nan}, "learning rate: nan"),
        ({"lr": math.inf}, "lr is inf: use finite numbers"),
        ({"lr": -0.1}, "learning rate: -0.1"),
        ({"betas": (0.9, 1.5)}, "beta"),
        ({"eps": math.inf}, "eps is inf"),
        ({"weight_decay": math.nan}, "weight_decay"),
        ({"momentum": 0.9}, "momentum"),
    ],
)
def test_optimizers_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_optimizer(lambda parameters: torch.optim.AdamW(parameters, **options))
    check_optimizer(lambda parameters: torch.optim.AdamW(parameters, lr=0.0))


def trained(folder: Path, tiny_bert: Path, steps: tuple[int, ...], **options: Any) -> Any:
    """Weights after runs that go on where the one before ended; the last one has the options."""
    path = None
    for end in steps:
        module = method(**{"optimizer": adam(0.01), **(options if end == steps[-1] else {})})
        trainer = fit(module, tiny_bert, updates=end, ckpt_path=path)
        path = folder / f"{end}.ckpt"
        trainer.save_checkpoint(path)
    return weights(module)


def adam(rate: float, **options: Any) -> Any:
    return lambda groups: torch.optim.AdamW(groups, lr=rate, **options)


class Switched(Callback):
    """Sets options of the optimizer by hand at an update: what a resumed run is to be like."""

    def __init__(self, update: int, **options: Any) -> None:
        self.update, self.options = update, options

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.update:
            for group in trainer.optimizers[0].param_groups:
                group.update(self.options, initial_lr=self.options["lr"])
            trainer.lr_scheduler_configs[0].scheduler.base_lrs = [
                self.options["lr"] for _ in trainer.optimizers[0].param_groups
            ]


def test_a_resumed_run_takes_the_options_of_its_configuration(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """The saved optimizer's would come back with its state: the rate among them."""
    changed = {"lr": 0.5, "betas": (0.5, 0.6)}
    resumed = trained(tmp_path, tiny_bert, (8, 9), optimizer=adam(0.5, betas=(0.5, 0.6)))
    module = method(optimizer=adam(0.01))
    fit(module, tiny_bert, updates=9, callbacks=[Switched(8, **changed)])
    expected = weights(module)
    for name, value in expected.items():
        assert torch.equal(resumed[name], value), name
    plain = trained(tmp_path, tiny_bert, (8, 9))
    assert not torch.equal(plain["small"], resumed["small"])
    whole = trained(tmp_path, tiny_bert, (9,))
    assert torch.equal(whole["small"], plain["small"])


def test_a_resumed_run_takes_the_rates_of_its_schedule_at_once(
    tiny_bert: Path, tmp_path: Path
) -> None:
    rates: list[float] = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    first = method(optimizer=adam(1.0), schedule=Linear(warmup=0.0))
    fit(first, tiny_bert, updates=8).save_checkpoint(tmp_path / "8.ckpt")
    longer = method(
        optimizer=adam(1.0), schedule=Linear(warmup=0.0), per_model={"large": ModelUpdate(rate=2.0)}
    )
    fit(longer, tiny_bert, updates=12, ckpt_path=tmp_path / "8.ckpt", callbacks=[Watch()])
    assert rates == pytest.approx([2 * left / 12 for left in (4, 3, 2, 1)])


def test_another_optimizer_method_or_set_of_parameters_is_refused(
    tiny_bert: Path, tmp_path: Path
) -> None:
    trained(tmp_path, tiny_bert, (2,))
    sgd = method(optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))
    with pytest.raises(UserError, match=r"another optimizer than SGD: its options are .*betas"):
        fit(sgd, tiny_bert, updates=4, ckpt_path=tmp_path / "2.ckpt")
    alone = MaskedLM(students={"large": fresh(large=2)["large"]})
    with pytest.raises(UserError, match="trained by CoDistillation and the run is configured for"):
        fit(alone, tiny_bert, updates=4, ckpt_path=tmp_path / "2.ckpt")
    start = fresh(large=1)["large"]
    body = MaskedLM(student=start, optimizer=adam(0.01))
    fit(body, tiny_bert, updates=1).save_checkpoint(tmp_path / "body.ckpt")
    head = MaskedLM(student=start, optimizer=adam(0.01), freeze_body=True)
    with pytest.raises(UserError, match="other parameters are trained"):
        fit(head, tiny_bert, updates=2, ckpt_path=tmp_path / "body.ckpt")
