"""DistiLLM: schedule and buffer as in the paper, and none of the defects of the authors' code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loss_cases import CASES
from oracles.on_policy import mean_along

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import Divergence, ForwardKL, SkewKL
from lit_distill.measures import Measurement
from lit_distill.methods import GKD, DistiLLM, SupervisedKD
from lit_distill.models import Generated, ReplayBuffer, Sampling

SHORT = Sampling(6, temperature=2)
Writers = Any  # of conftest.py
LossAndGradient = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def distillm(writers: Writers, divergence: Divergence = SkewKL(), **knobs: Any) -> DistiLLM:  # noqa: B008
    method = DistiLLM(divergence, teacher=writers.spec, **{"sampling": SHORT, **knobs})
    method._total_steps = 100
    return writers.built(method)


def written(batch: Batch) -> list[list[int]]:
    width = batch.get("decoder_input_ids", batch["input_ids"]).shape[1]
    texts: list[list[int]] = [[] for _ in batch["sample_id"]]
    for row, target in zip(batch["rows"].tolist(), batch["targets"].tolist(), strict=True):
        texts[row // width].append(target)
    return texts


@pytest.mark.parametrize("name", ["skew kl", "skew reverse kl"])
def test_it_is_the_formula(
    writers: Writers, name: str, logits_by: Callable[..., Any], loss_and_gradient: LossAndGradient
) -> None:
    """Every written token counts once, from the first after the prompt to the last."""
    case, texts = CASES[name], writers.asked()
    method = distillm(writers, case.loss, threshold=1.0)
    (batch,) = writers.opened(method, writers.batch(texts))
    pairs = [(t.prompt, found) for t, found in zip(texts, written(batch), strict=True)]
    value: Callable[..., float] = lambda s, t, y: case.formula(s, t, y).real  # noqa: E731
    models = logits_by(method.student), logits_by(method.teacher)
    expected = mean_along(value, *models, pairs)
    assert loss_and_gradient(method)[0].item() == pytest.approx(expected, rel=1e-10)


def test_it_writes_what_gkd_writes(writers: Writers, loss_and_gradient: LossAndGradient) -> None:
    batch, knobs = writers.batch(writers.asked()), {"sampling": SHORT, "teacher": writers.spec}
    gkd = writers.built(GKD(ForwardKL(), student_share=1.0, **knobs))
    found = []
    for method in (gkd, distillm(writers, ForwardKL(), threshold=1.0)):
        (opened,) = writers.opened(method, batch)
        found.append((opened["input_ids"], opened["rows"], *loss_and_gradient(method)))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_without_a_threshold_it_is_supervised_kd(
    writers: Writers, loss_and_gradient: LossAndGradient
) -> None:
    """Whatever the divergence: the authors' code breaks down for all but the adaptive ones."""
    batch = writers.batch(writers.asked())
    supervised = SupervisedKD(ForwardKL(), alpha_hard=0.5, teacher=writers.spec)
    found = []
    for method in (writers.built(supervised), distillm(writers, ForwardKL(), alpha_hard=0.5)):
        writers.opened(method, batch)
        found.append(loss_and_gradient(method))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_a_student_that_is_the_teacher_has_no_loss(
    decoders: Writers, loss_and_gradient: LossAndGradient
) -> None:
    method = distillm(decoders, threshold=1.0)
    method.students["student"] = decoders.spec.build().double().requires_grad_(True)
    decoders.opened(method, decoders.batch(decoders.asked()))
    assert loss_and_gradient(method)[0].abs() < 1e-12


def test_replayed_texts_end_as_they_were_written(writers: Writers) -> None:
    """Rows, targets and the ending token are those of the update that wrote them."""
    method = distillm(writers, threshold=1.0, capacity=20)
    batch = writers.batch(writers.asked(20), pad=method.endings[0])
    (new,) = writers.opened(method, batch)
    assert method.source == "new"
    assert method.buffer.full
    method._total_steps = 0.5  # the run is over: all is replayed  # type: ignore[assignment]
    method.source_of = lambda *_: "old"  # type: ignore[method-assign]
    (old,) = writers.opened(method, batch)
    fresh = dict(zip(new["sample_id"].tolist(), written(new), strict=True))
    again = list(zip(old["sample_id"].tolist(), written(old), strict=True))
    assert all(fresh[number] == text for number, text in again)
    assert len({number for number, _ in again}) > 5
    assert old["counts"]["rows"] == sum(len(text) for _, text in again) == len(old["rows"])
    assert 0 < old["counts"]["ended"] < 20
    assert old["counts"]["ended"] == sum(text[-1] in method.endings for _, text in again)
    prompts = {t.number: t.prompt for t in writers.asked(20)}
    for row, number in enumerate(old["sample_id"].tolist()):
        ids, mask = (old[key][row] for key in ("prompt_ids", "prompt_mask"))
        assert ids[mask.bool()].tolist() == prompts[number]


def test_the_buffer_forgets_the_oldest() -> None:
    buffer = ReplayBuffer(3)

    def add(*numbers: int) -> None:
        ids = torch.tensor(numbers)
        batch = Batch(
            prompt_ids=ids[:, None], prompt_mask=torch.ones(len(ids), 1).long(),
            sample_id=ids, language=ids * 0,
        )  # fmt: skip
        tokens, ones = ids[:, None] + 100, torch.ones_like(ids)
        buffer.add([batch], [Generated(tokens, ones, ones.bool())])

    add(5, 4)
    assert not buffer.full
    assert [text.sample_id for text in buffer.texts] == [4, 5]
    add(1, 9)
    assert [text.sample_id for text in buffer.texts] == [5, 1, 9]
    assert [text.continuation.tolist() for text in buffer.texts] == [[105], [101], [109]]
    other = ReplayBuffer(2)
    other.load(buffer.state())
    assert [text.sample_id for text in other.texts] == [1, 9]
    empty = ReplayBuffer(2)
    empty.load(ReplayBuffer(3).state())
    assert len(empty) == 0


def test_replay_grows_as_the_run_goes_on(decoders: Writers) -> None:
    method = distillm(decoders, threshold=0.8, capacity=1)
    method.buffer = SimpleNamespace(full=True)  # type: ignore[assignment]
    for progress, new in ((0.0, 0.8), (0.5, 0.4), (0.9, 0.08)):
        counts = Counter(method.source_of(update, progress) for update in range(400))
        assert counts["new"] / 400 == pytest.approx(new, abs=0.08)
        assert counts["data"] / 400 == pytest.approx(0.2, abs=0.08)
    method.buffer.full = False  # type: ignore[misc]
    assert {method.source_of(update, 0.9) for update in range(50)} == {"new", "data"}


@dataclass
class Stub:
    """Of a Trainer."""

    loggers: tuple[Any, ...] = ()


def test_the_threshold_rises_when_validation_gets_worse(
    decoders: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = distillm(decoders, threshold=0.85)
    monkeypatch.setattr(DistiLLM, "trainer", Stub())
    trace = []
    for loss in (2.0, 2.05, 1.0, 2.09, 2.11, 2.15, 1.5, 2.3, 2.5):
        # rows of languages are averaged first: no batch counts more for being smaller
        scores = {"xx": {"rows": 100, "loss": loss - 0.5}, "yy": {"rows": 3, "loss": loss + 0.5}}
        method.on_validated({"student": Measurement.by_language(scores)})
        trace.append(round(method.threshold, 3))
    assert trace == [0.85, 0.85, 0.85, 0.85, 0.95, 0.95, 0.95, 1.0, 1.0]
    assert method.highest == 2.5


def test_hard_targets_are_the_datas(decoders: Writers) -> None:
    batch = decoders.batch(decoders.asked())
    for threshold, terms in ((1.0, {"kd"}), (0.0, {"kd", "hard"})):
        method = distillm(decoders, threshold=threshold, alpha_hard=1.0)
        (opened,) = decoders.opened(method, batch)
        assert set(method.losses(opened)) == terms


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"increase": -1}, {"capacity": 0}])
def test_knobs_that_cannot_work_are_refused(decoders: Writers, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=": use a "):
        DistiLLM(teacher=decoders.spec, **wrong)
