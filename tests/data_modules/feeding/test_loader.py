"""Feeding: the same updates for any split, exact resume, honest failures."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from data_modules.feeding.collation import Collator
from data_modules.feeding.loader import EvaluationLoader, WindowLoader
from data_modules.feeding.plan import EvaluationPlan, Plan
from data_modules.objectives.objectives import NextToken
from lit_distill.errors import UserError

DRAW = np.random.default_rng(0)
LENGTHS = DRAW.integers(3, 20, 60).astype(np.int32)
LANGUAGE = DRAW.integers(0, 2, 60)
few_processors = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@dataclass
class Numbered:
    """A corpus whose tokens are the number of their window."""

    lengths: np.ndarray
    language: np.ndarray
    deadly: bool = False

    tag_names = ()

    def gather(self, windows):
        if self.deadly and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.repeat(windows, self.lengths[windows]).astype(np.int32)


def collator(deadly=False):
    return Collator(Numbered(LENGTHS, LANGUAGE, deadly), NextToken().bind(None, np.ones(60), 0), 0)


def plan(seed=0, budget=80, shares=(0.5, 0.5), pool_size=25):
    return Plan(LENGTHS, LANGUAGE, np.array(shares), budget, seed, pool_size)


def loader(updates=7, accumulation=1, *, order=None, deadly=False, **settings):
    return WindowLoader(order or plan(), collator(deadly), updates, accumulation, **settings)


def ids(batch):
    return tuple(batch["sample_id"].tolist())


def epochs(feed, count):
    return [[ids(batch) for batch in feed] for _ in range(count)]


def fed(feed, count=1):
    return list(chain.from_iterable(epochs(feed, count)))


def take(feed, count):
    """Some batches as a Trainer takes them: epoch after epoch, no further than needed."""
    taken = []
    while True:
        iterator = iter(feed)
        for _ in range(len(feed)):
            if len(taken) == count:
                return taken
            try:
                taken.append(ids(next(iterator)))
            except StopIteration:
                break


# -- order ----------------------------------------------------------------------------------------


def test_epochs_go_on_through_the_plan():
    whole = epochs(loader(), 3)
    assert [len(epoch) for epoch in whole] == [7, 7, 7]
    order = plan()
    planned = [tuple(order.batch(position)[0].tolist()) for position in range(21)]
    assert list(chain.from_iterable(whole)) == planned


@pytest.mark.parametrize(("accumulation", "world_size"), [(1, 4), (2, 2), (4, 1)])
def test_an_update_is_the_same_for_every_split(accumulation, world_size):
    order = plan()
    for rank in range(world_size):
        feed = loader(5, accumulation, rank=rank, world_size=world_size)
        assert len(feed) == 5 * accumulation
    ranks = [
        fed(loader(5, accumulation, rank=rank, world_size=world_size), 2)
        for rank in range(world_size)
    ]
    for update in range(10):
        own = slice(update * accumulation, (update + 1) * accumulation)
        parts = sorted(batch for rank in ranks for batch in rank[own])
        planned = [tuple(order.batch(4 * update + i)[0].tolist()) for i in range(4)]
        assert parts == sorted(planned)


def test_the_first_micro_batch_carries_its_window():
    feed = list(loader(3, accumulation=2))
    assert ["window" in batch for batch in feed] == [True, False] * 3
    for first, second in zip(feed[::2], feed[1::2], strict=True):
        window = first["window"]
        assert [ids(batch) for batch in window] == [ids(first), ids(second)]
        assert not any("window" in batch for batch in window)  # nothing contains itself
        assert window[0]["input_ids"] is first["input_ids"]


def test_no_window_without_accumulation():
    assert not any("window" in batch for batch in loader())


@few_processors
def test_workers_change_nothing():
    alone, helped = loader(5, 2), loader(5, 2, num_workers=2)
    for _ in range(2):
        for expected, batch in zip(alone, helped, strict=True):
            assert expected["counts"] == batch["counts"]
            for name in ("input_ids", "attention_mask", "tokens", "rows", "targets", "language"):
                assert torch.equal(expected[name], batch[name])


def test_iterating_draws_no_random_numbers_of_the_run():
    before = torch.get_rng_state()
    list(loader())
    assert torch.equal(torch.get_rng_state(), before)


def test_an_iterator_that_is_never_used_costs_nothing():
    feed = loader()
    iter(feed), iter(feed)
    assert fed(feed) == fed(loader())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_an_epoch_cut_short_is_followed_by_a_full_one(accumulation):
    feed = loader(4, accumulation)
    cut = iter(feed)
    for _ in range(3):
        next(cut)
    following = fed(feed)
    assert len(following) == len(feed)
    state = feed.state_dict()
    assert (state["update"], state["micro"]) == (7 if accumulation == 1 else 6, 0)
    skipped = 3 if accumulation == 1 else 4  # the second update was begun
    assert following == take(loader(9, accumulation), skipped + len(feed))[skipped:]


# -- resume ---------------------------------------------------------------------------------------


@few_processors
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_after_every_update(workers):
    whole = take(loader(4, 2), 24)
    positions = range(0, 24, 2) if workers == 0 else (2, 8, 14)
    for position in positions:
        broken = loader(4, 2, num_workers=workers)
        assert take(broken, position) == whole[:position]
        resumed = loader(4, 2, num_workers=workers)
        resumed.load_state_dict(broken.state_dict())
        first = [ids(batch) for batch in resumed]
        assert len(first) == 8 - position % 8  # the rest of its epoch
        assert first == whole[position : position + len(first)]
        assert take(resumed, 4) == take_after(whole, position + len(first), 4)


def take_after(whole, start, count):
    return whole[start : start + count] if start < 24 else take(loader(4, 2), start + count)[start:]


def test_state_may_be_loaded_after_the_iterator_was_made():
    whole = take(loader(), 14)
    broken = loader()
    take(broken, 3)
    resumed = loader()
    iterator = iter(resumed)
    resumed.load_state_dict(broken.state_dict())
    assert [ids(batch) for batch in iterator] == whole[3:7]


def test_a_running_loader_can_be_set_back():
    feed = loader()
    whole = take(loader(), 14)
    start = feed.state_dict()
    assert take(feed, 9) == whole[:9]
    feed.load_state_dict(start)
    assert take(feed, 14) == whole


def test_state_is_right_inside_the_loop_and_holds_plain_values():
    feed = loader(4)
    updates = []
    for _ in feed:
        state = feed.state_dict()
        updates.append((state["update"], state["update_in_epoch"]))
    assert updates == [(1, 1), (2, 2), (3, 3), (4, 0)]
    kinds = {type(value) for value in {**state, **state["identity"]}.values()}
    assert kinds <= {int, float, str, dict}


def test_states_are_equal_on_all_ranks():
    ranks = [loader(4, 2, rank=rank, world_size=2) for rank in range(2)]
    for feed in ranks:
        take(feed, 6)
    assert ranks[0].state_dict() == ranks[1].state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accumulation": 4}, "accumulation was 2 and is now 4"),
        ({"world_size": 2}, "world_size was 1 and is now 2"),
        ({"updates": 5}, "updates_per_epoch was 4 and is now 5"),
        ({"order": plan(seed=1)}, "seed was 0 and is now 1"),
        ({"order": plan(budget=100)}, "budget was 80 and is now 100"),
        ({"order": plan(shares=(0.4, 0.6))}, r"shares was '0\.5 0\.5' and is now '0\.4 0\.6'"),
        ({"identity": {"tokenizer": "b"}}, "tokenizer was 'a' and is now 'b'"),
        (
            {"order": Plan(LENGTHS[:-1], LANGUAGE[:-1], np.array([0.5, 0.5]), 80, 0, 25)},
            "corpus was '.*' and is now '.*'",
        ),
    ],
)
def test_another_order_is_refused(change, message):
    same = {"updates": 4, "accumulation": 2, "identity": {"tokenizer": "a"}}
    state = loader(**same).state_dict()
    with pytest.raises(UserError, match=message):
        loader(**{**same, **change}).load_state_dict(state)
    loader(**same).load_state_dict(state)


def test_a_state_inside_an_accumulation_window_is_refused():
    feed = loader(4, 2)
    take(feed, 3)
    with pytest.raises(UserError, match="after 1 of 2 micro-batches"):
        loader(4, 2).load_state_dict(feed.state_dict())


@pytest.mark.parametrize("settings", [{"updates": 0}, {"accumulation": 0}, {"rank": 2}])
def test_impossible_settings(settings):
    with pytest.raises(UserError, match=r"must be at least 1, found 0|rank 2 does not exist"):
        loader(**settings)


def with_workers_killed_at(feed, when):
    for number, batch in enumerate(feed):
        if number == when:
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)
        yield ids(batch)


@few_processors
@pytest.mark.parametrize("when", [0, 7])
def test_killed_workers_are_replaced_without_losing_a_batch(when):
    whole = take(loader(30), 30)
    with pytest.warns(RuntimeWarning, match=r"killed; others go on"):
        got = list(with_workers_killed_at(loader(30, num_workers=2), when))
    assert got == whole


@few_processors
def test_workers_that_are_always_killed_are_an_error():
    with (
        pytest.warns(RuntimeWarning, match="exited unexpectedly"),
        pytest.raises(UserError, match=r"num_workers.*--ckpt_path last"),
    ):
        list(loader(num_workers=1, deadly=True))


# -- evaluation -----------------------------------------------------------------------------------


@few_processors
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_is_shared_without_duplicates(workers):
    fixed = EvaluationPlan(np.arange(60), LENGTHS, budget=80, ranks=3)
    feeds = [EvaluationLoader(fixed, collator(), rank, 3, workers) for rank in range(3)]
    passes = [[[ids(batch) for batch in feed] for feed in feeds] for _ in range(2)]
    assert passes[0] == passes[1]
    assert [len(feed) for feed in feeds] == [len(fixed) // 3] * 3
    seen = [window for feed in passes[0] for batch in feed for window in batch]
    assert sorted(seen) == list(range(60))


@few_processors
def test_evaluation_draws_no_random_numbers_of_the_run():
    before = torch.get_rng_state()
    list(EvaluationLoader(EvaluationPlan(np.arange(60), LENGTHS, budget=80), collator()))
    assert torch.equal(torch.get_rng_state(), before)
