"""The side-by-side benchmark: every candidate runs, and its first loss is what the table says."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import references
import torch
from oracles import relations as relation_oracle
from oracles import triple_loss as oracle
from suites import suites
from timing.loops import LoopSteps
from timing.side_by_side import Candidate, Limits, Measured, Row, Suite, measure
from timing.tables import table, verdicts
from timing.workers import Failure, Start, Worker

from lit_distill.batch import row_targets

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # from 3.12 on

SUITES = suites("cpu", torch.float32)
PUBLISHED = [  # for a GPU only, but at their tiny sizes
    replace(suite, tiny=replace(suite.tiny, device="cpu", dtype=torch.float32))
    for suite in suites("cuda", torch.bfloat16)[len(SUITES) :]
]


def of(name: str) -> Suite:
    (found,) = (suite for suite in SUITES if suite.name == name)
    return found


def cases(peer: bool) -> Iterator[Any]:
    for suite in [*SUITES, *PUBLISHED]:
        for name, candidate in suite.candidates.items():
            if candidate.peer == peer:
                yield pytest.param(suite, candidate, id=f"{suite.name}-{name}")


def expected(suite: Suite, candidate: Candidate) -> Any:
    """The reference, to single precision, with what the candidate's formula adds."""
    assert suite.reference is not None
    offset = candidate.offset(suite.tiny) if candidate.offset else 0.0
    return pytest.approx(suite.reference(suite.tiny) + offset, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("suite", "candidate"), list(cases(peer=False)))
def test_our_candidates_start_with_the_reference(suite: Suite, candidate: Candidate) -> None:
    step = candidate.build(suite.tiny)
    try:
        first, second = step(), step()
        if candidate.other_loss:
            assert math.isfinite(first)
        else:
            assert first == expected(suite, candidate)
            assert second <= first  # ours warms up from a rate of zero
    finally:
        if isinstance(step, LoopSteps):
            step.close()


@pytest.mark.bench
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize(("suite", "candidate"), list(cases(peer=True)))
def test_peers_start_with_the_reference(suite: Suite, candidate: Candidate) -> None:
    pytest.importorskip(candidate.package)
    worker = Worker(candidate.build, suite.tiny, suite.tiny, "cpu")
    worker.close()
    assert isinstance(worker.start, Start), worker.start
    if candidate.other_loss:
        assert math.isfinite(worker.start.loss)
    else:
        assert worker.start.loss == expected(suite, candidate)


@pytest.mark.parametrize("suite", [SUITES[0], of("causal KL, V=32000")], ids=["mlm", "causal"])
def test_ours_runs_in_bfloat16(suite: Suite) -> None:
    step = suite.candidates["ours"].build(replace(suite.tiny, dtype=torch.bfloat16))
    assert suite.reference is not None
    assert step() == pytest.approx(suite.reference(suite.tiny), rel=2e-2, abs=2e-2)
    assert isinstance(step, LoopSteps)
    step.close()


@pytest.mark.parametrize("rows", ["masked", "all"])
def test_triple_loss_reference_is_the_oracle(rows: str) -> None:
    work = of(f"triple loss, V=30522, {rows} rows").tiny
    teacher, student = (model.double() for model in work.models())
    batch = work.batch
    shape = batch["input_ids"].shape
    with torch.no_grad():
        states = [work.hidden(model) for model in (student, teacher)]
        logits = [model.cls(h) for model, h in zip((student, teacher), states, strict=True)]
    sums = oracle.triple_loss(
        *(each.view(*shape, -1).tolist() for each in (*logits, *states)),
        batch["attention_mask"].tolist(),
        row_targets(batch, batch["tokens"]).view(shape).tolist(),
        restrict_kd_to_mask=rows == "masked",
    )
    assert references.triple_loss(work) == pytest.approx(sums.total.real, rel=1e-12)


def test_causal_and_mutual_references_are_the_oracle() -> None:
    causal, mutual = of("causal KL, V=32000").tiny, of("mutual learning, V=30522, masked rows").tiny
    with torch.no_grad():
        theirs, mine = (m.double().lm_head(causal.hidden(m)) for m in causal.models())
        students = [model.double() for model in mutual.models()]
        pair = [model.cls(mutual.selected(mutual.hidden(model))) for model in students]
    kls = [oracle.forward_kl(q, p) for q, p in zip(mine.tolist(), theirs.tolist(), strict=True)]
    assert references.forward_kl(causal) == pytest.approx(sum(kls).real / len(kls), rel=1e-11)
    total = 0j
    for one, other in (pair, pair[::-1]):
        for q, p, y in zip(one.tolist(), other.tolist(), mutual.targets.tolist(), strict=True):
            total += (oracle.cross_entropy(q, y) + oracle.forward_kl(q, p, 2.0)) / len(one)
    assert references.mutual(mutual) == pytest.approx(total.real, rel=1e-12)


def test_relation_reference_is_the_oracle() -> None:
    import relation_step

    work = of("relations (MiniLMv2)").tiny
    teacher, student = (model.double() for model in work.models())
    mask = work.batch["attention_mask"].tolist()
    total = 0j
    with torch.no_grad():
        pairs = zip(
            relation_step.projected(student, work.batch, work.layers[1]),
            relation_step.projected(teacher, work.batch, work.layer),
            strict=True,
        )
        for mine, theirs in pairs:
            sides = [
                relation_oracle.Side(x.tolist(), x.tolist(), work.heads, work.heads)
                for x in (mine, theirs)
            ]
            total += relation_oracle.relation_kl(*sides, work.heads, mask)
    count = work.batch["counts"]["tokens"]
    assert references.relations(work) == pytest.approx(total.real / count, rel=1e-8)


def allocating(mebibytes: int) -> Any:
    def build(_: object) -> Any:
        def step() -> float:
            return float(torch.ones(mebibytes * 2**18).sum())

        return step

    return build


def fails(_: object) -> Any:
    raise ImportError("no such package")


def dies(_: object) -> Any:
    os._exit(3)


def test_a_suite_is_measured_with_what_does_not_run() -> None:
    candidates = {
        "floor": Candidate(allocating(8), other_loss=True),
        "ours": Candidate(allocating(64)),
        "absent": Candidate(fails, package="absent"),
        "crashes": Candidate(dies, package="crashes"),
    }
    measured = measure(
        Suite("sums", None, None, candidates, lambda _: 64.0 * 2**18), rounds=3, device="cpu"
    )
    rows = measured.rows
    assert len(rows["ours"].cpu) == len(rows["floor"].wall) == 3
    assert 60 < (rows["ours"].peak or 0) < 80
    assert rows["absent"].failure == "ImportError: no such package"
    assert "exit code 3" in rows["crashes"].failure
    assert Measured.of_json(measured.as_json()) == measured
    text = table([[measured]], "float32")
    assert "ours |" in text
    assert "equal (0e+00)" in text
    assert "absent | does not run: ImportError: no such package" in text


def test_a_failure_while_measuring_is_not_lost() -> None:
    worker = Worker(dies, None, None, "cpu")
    assert isinstance(worker.start, Failure)


def invocation(ours: float, peer: float, memory: float, loss: float = 2.0) -> Measured:
    """Three rounds in which the floor takes 10 ms and ours `ours` of it."""

    def row(share: float, peak: float, is_peer: bool = False) -> Row:
        times = [10 * share] * 3
        return Row("", is_peer, False, "", loss, peak, 0.0, times, times)

    rows = {"floor": row(1, 1), "ours": row(ours, memory), "theirs": row(peer, 100, True)}
    return Measured("w", "", 1.2, True, 2.0, rows)


def test_verdicts_go_by_the_lower_quartile_of_invocations() -> None:
    runs = [invocation(each, 3.0, 40) for each in (1.1, 1.25, 1.3)]
    assert [line.rsplit(": ", 1)[1] for line in verdicts(runs)] == ["met"] * 3
    runs = [invocation(each, 2.0, 60) for each in (1.22, 1.25, 1.3)]
    assert [line.rsplit(": ", 1)[1] for line in verdicts(runs)] == ["NOT met"] * 3


def test_wrong_losses_are_seen() -> None:
    text = table([[invocation(1.0, 2.0, 50, loss=2.1)]], "float32")
    assert text.count("differs by +5 %") == 3
    assert Limits() == Limits(None, twice=False)
