"""The loss of mutual information: units, critics, and what of it is trained and saved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from oracles.information import bound
from oracles.triple_loss import Number, cosine_distance, gradient
from relation_models import model, packed, padded, ready, terms_of
from safetensors import safe_open
from shipped_methods import quiet_trainer
from torch import Tensor, nn

from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import StateMSE, Texts
from lit_distill.methods import (
    BilinearCritic,
    CosineCritic,
    Critic,
    HiddenStates,
    LinearProjection,
    MutualInformation,
    PCAProjection,
    SeparableCritic,
)
from lit_distill.models import TeacherSpec, load_tokenizer
from lit_distill.schedules import Constant

LENGTHS = [2, 1, 3, 2]
NUMBERS = [0, 0, 1, 2, 2, 2, 3, 3]
TEXTS = Texts(torch.tensor(NUMBERS), torch.tensor(LENGTHS))
Rows = Sequence[Sequence[Number]]


def units(rows: Rows, unit: str) -> list[list[complex]]:
    """What is compared: means or first states of texts, or all states."""
    if unit == "token":
        return [[complex(x) for x in row] for row in rows]
    parts = [[row for row, n in zip(rows, NUMBERS, strict=True) if n == i] for i in range(4)]
    if unit == "first":
        return [[complex(x) for x in part[0]] for part in parts]
    return [[sum(map(complex, column)) / len(part) for column in zip(*part, strict=True)]
            for part in parts]  # fmt: skip


def drawn(width: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(NUMBERS), width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("unit", ["mean", "first", "token"])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_value_and_gradient_are_the_oracles(unit: Any, alpha: float) -> None:
    student, teacher = drawn().requires_grad_(), drawn(seed=1).requires_grad_()
    loss = MutualInformation(alpha, CosineCritic(0.5), "constant", unit=unit)
    module = loss.build(3, 3).double()
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.3)
    value = module(student, teacher, TEXTS)
    value.backward()
    theirs = units(teacher.tolist(), unit)
    texts = NUMBERS if unit == "token" else None

    def formula(flat: Sequence[Number]) -> complex:
        ours = units([flat[i : i + 3] for i in range(0, len(flat), 3)], unit)
        scores = [[(1 - cosine_distance(x, [v.real for v in y])) / 0.5 for x in ours]
                  for y in theirs]  # fmt: skip
        return -bound(scores, [0.3] * len(theirs), alpha, texts)

    flat = student.detach().flatten().tolist()
    assert value.item() == pytest.approx(formula(flat).real, rel=1e-12)
    assert student.grad is not None
    assert teacher.grad is None
    expected = torch.tensor(gradient(formula, flat), dtype=torch.float64)
    torch.testing.assert_close(student.grad.flatten(), expected, rtol=1e-12, atol=1e-13)
    assert all(parameter.grad is not None for parameter in module.parameters())


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def test_critics_score_as_they_say() -> None:
    x, y = [1.0, -2.0, 0.5], [0.25, 3.0]
    bilinear, separable = BilinearCritic().build(3, 2), SeparableCritic(2, 4).build(3, 2)

    def scored(critic: nn.Module) -> float:
        ours, theirs = critic.double()(*(torch.tensor([v]).double() for v in (x, y)))
        return float((ours @ theirs.T).item())

    weight = bilinear.state_dict()["map.weight"].tolist()
    wanted = sum(y[i] * weight[i][j] * x[j] for i in range(2) for j in range(3)) / math.sqrt(2)
    assert scored(bilinear) == pytest.approx(wanted, rel=1e-6)

    def read(side: str, values: list[float]) -> list[float]:
        layers = [separable.state_dict()[f"{side}.{i}.{kind}"].tolist()
                  for i in (0, 2) for kind in ("weight", "bias")]  # fmt: skip
        for weight, bias in (layers[:2], layers[2:]):
            values = [sum(w * v for w, v in zip(row, values, strict=True)) + b
                      for row, b in zip(weight, bias, strict=True)]  # fmt: skip
            values = [gelu(v) for v in values] if weight is layers[0] else values
        return values

    scored_separable = scored(separable)
    ours, theirs = read("ours", x), read("theirs", y)
    wanted = sum(a * b for a, b in zip(ours, theirs, strict=True)) / math.sqrt(2)
    assert scored_separable == pytest.approx(wanted, rel=1e-6)


def test_baselines_start_at_one_and_alpha_one_has_none() -> None:
    for baseline in ("network", "constant"):
        module = MutualInformation(0.0, BilinearCritic(), baseline).build(3, 3).double()  # type: ignore[arg-type]
        found = module.baseline(drawn())
        assert torch.equal(found, torch.zeros(len(NUMBERS)).double())
    assert MutualInformation(1.0, BilinearCritic()).build(3, 3).baseline is None
    assert not list(MutualInformation(1.0).build(3, 3).parameters())


def test_low_precision_is_computed_in_float32() -> None:
    for critic in (CosineCritic(), BilinearCritic()):
        module = MutualInformation(0.5, critic).build(3, 3)
        student, teacher = drawn().bfloat16(), drawn(seed=1).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            found = module(student, teacher, TEXTS)
        wanted = module.double()(student.double(), teacher.double(), TEXTS)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(wanted.item(), rel=0.05)


def test_texts_are_rows_or_what_packed_rows_hold() -> None:
    batch = collate(samples(3, 100), extra=2)
    texts = Texts.of(batch)
    lengths = batch["attention_mask"].sum(1)
    assert torch.equal(texts.lengths, lengths)
    assert torch.equal(texts.number, torch.arange(3).repeat_interleave(lengths))
    rows = torch.arange(len(texts.number)).unsqueeze(1)
    middles = texts.starts + (texts.lengths - 1) / 2
    assert torch.equal(texts.means(rows).squeeze(1), middles)
    assert torch.equal(texts.firsts(rows).squeeze(1), texts.starts)
    held = Texts.of(packed())
    assert (held.lengths.tolist(), held.number.tolist()) == ([4, 3], [0, 0, 0, 0, 1, 1, 1])
    ids = torch.ones(2, 3, dtype=torch.int64)  # the second text of a row and the first of the next
    two = Batch(
        input_ids=ids, segments=torch.tensor([[1, 2, 2], [2, 0, 0]]), tokens=torch.arange(4),
        counts={"sequences": 3},
    )  # fmt: skip
    assert Texts.of(two).lengths.tolist() == [1, 2, 1]


def built(**knobs: Any) -> HiddenStates:
    method: HiddenStates = ready(
        HiddenStates(teacher=TeacherSpec("in memory"), **knobs),
        model("bert", 16, 4),
        model("bert", 8, 2, seed=1),
    )
    method.auxiliary.double()
    return method


@pytest.mark.parametrize("unit", ["mean", "first", "token"])
def test_packed_texts_are_worth_what_padded_ones_are(unit: Any) -> None:
    method = built(loss=MutualInformation(0.3, SeparableCritic(4, 4), unit=unit))
    found, wanted = (terms_of(method, batch) for batch in (packed(), padded()))
    assert method.couples == ("MutualInformation",)
    for name, term in wanted.items():
        assert term.per == ("tokens" if unit == "token" else "sequences")
        assert found[name].sum.item() == pytest.approx(term.sum.item(), rel=1e-12)
        assert abs(term.sum.item()) > 1e-6


def test_a_batch_of_one_text_counts_nothing() -> None:
    for unit in ("mean", "token"):
        method = built(loss=MutualInformation(0.3, BilinearCritic(), unit=unit))  # type: ignore[arg-type]
        (first, *_) = terms_of(method, collate([samples(1, 12)[0]])).values()
        assert first.sum.item() == 0
        first.sum.backward()
        assert all(
            p.grad is not None and p.grad.abs().sum() == 0
            for p in method.auxiliary["loss_of_1_and_2"].parameters()
        )


def test_any_critic_reads_other_widths_but_the_cosine() -> None:
    with pytest.raises(UserError, match=r"8 wide and the teacher's 16: give .* LinearProjection"):
        built(loss=MutualInformation())
    for projection in (LinearProjection(), PCAProjection(8)):
        method = built(loss=MutualInformation(), projection=projection)
        assert len(method.auxiliary) == 4
    assert built(loss=StateMSE(), projection=LinearProjection()).couples == ()
    with pytest.raises(UserError, match="first token of a decoder has read nothing"):
        ready(
            HiddenStates(teacher=TeacherSpec("x"), loss=MutualInformation(unit="first")),
            model("gpt2", 8, 2),
            model("gpt2", 8, 2),
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MutualInformation(1.5), r"MutualInformation.alpha is 1.5"),
        (lambda: MutualInformation(hidden=0), r"MutualInformation.hidden is 0"),
        (lambda: CosineCritic(0.0), r"CosineCritic.temperature is 0"),
        (lambda: SeparableCritic(width=0), r"SeparableCritic.width is 0"),
    ],
)
def test_numbers_outside_of_their_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_critic_trains_and_is_saved_and_is_not_exported(tiny_bert: Path, tmp_path: Path) -> None:
    batch = collate(samples(6, 100))
    found = []
    for steps in (0, 3):
        critic: Critic = SeparableCritic(4, 4)
        method = HiddenStates(
            teacher=TeacherSpec(str(tiny_bert)),
            loss=MutualInformation(0.5, critic),
            optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1),
            schedule=Constant(warmup=0.0),
        )
        torch.manual_seed(0)
        loop = quiet_trainer(default_root_dir=tmp_path, max_steps=steps, precision="32-true")
        loop.fit(method, datamodule=Served([[batch] * 3], tokenizer=load_tokenizer(str(tiny_bert))))
        loop.save_checkpoint(tmp_path / "a.ckpt")
        saved = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
        found.append({k: v for k, v in saved.items() if k.startswith("auxiliary.loss_of_1_and_2.")})
    assert len(found[0]) == 12  # weights and biases of two networks and a baseline of two layers
    assert found[0].keys() == found[1].keys()
    still = [key for key, value in found[0].items() if torch.equal(found[1][key], value)]
    assert still == []
    assert main(["export", str(tmp_path / "a.ckpt"), f"--output={tmp_path / 'out'}"]) == 0
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["model.safetensors"]
    with safe_open(tmp_path / "out/model.safetensors", "pt") as exported:
        names = list(exported.keys())
    assert not [key for key in names if "critic" in key or "loss" in key]
