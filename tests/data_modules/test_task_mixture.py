"""Mixtures of tasks: how often each is drawn, in which order, and what its batches say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.stats import chisquare

from data_modules import PhrasebookTasks, TaskMixture
from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer
from lit_distill.task_batches import task_of

SIZES = {"topic": 300, "sentiment": 100, "entities": 30}


def mixture(tiny_bert: Path, cache: Path, **options: Any) -> TaskMixture:
    languages = {"topic": ["en"], "sentiment": ["de", "en"], "entities": ["de"]}
    tasks = {
        task: PhrasebookTasks(
            task,  # type: ignore[arg-type]
            languages[task],
            sentences_per_language=size // len(languages[task]),
            validation_sentences=10,
            deduplicate=False,
            max_length=64,
            batch_tokens=512,
            pool_size=30,
            cache_dir=str(cache),
        )
        for task, size in SIZES.items()
    }
    made = TaskMixture(tasks, tokenizer=str(tiny_bert), **{"updates_per_epoch": 10, **options})
    made.setup("fit")
    return made


@pytest.fixture(scope="module")
def mixed(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> TaskMixture:
    return mixture(tiny_bert, tmp_path_factory.mktemp("cache"))


def loader_of(mixed: TaskMixture, **options: Any) -> Any:
    mixed.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **options)
    return mixed.train_dataloader()


def test_tasks_are_drawn_by_size_to_the_power_alpha(mixed: TaskMixture) -> None:
    """Chi-square over 20,000 batches, against the formula and against the wrong power."""
    sizes = np.array([len(corpus.examples("train")) for corpus in mixed.tasks.values()]) * 1.0
    found = np.bincount(mixed.plan().tasks(0, 20_000), minlength=3)

    def p_value(alpha: float) -> float:
        shares = sizes**alpha / (sizes**alpha).sum()
        return float(chisquare(found, shares * found.sum()).pvalue)

    assert p_value(0.8) > 0.001
    assert p_value(1.0) < 1e-9
    assert p_value(0.7) < 1e-9


def test_order_is_a_function_of_seed_and_position(mixed: TaskMixture) -> None:
    """Batches in order, one alone, and a plan that goes on from a saved place are the same."""
    plan = mixed.plan()
    stream = [plan.batch(position) for position in range(200)]
    assert all((a == b).all() for a, b in zip(stream[150], mixed.plan().batch(150), strict=True))
    later = mixed.plan()
    later.jump(*plan.locate(120))
    for position in (120, 121, 160):
        assert all(
            (a == b).all() for a, b in zip(stream[position], later.batch(position), strict=True)
        )


def test_every_example_of_a_task_comes_before_any_comes_again(mixed: TaskMixture) -> None:
    plan = mixed.plan()
    first, last = (
        int(plan.firsts[2]),
        int(plan.firsts[2]) + len(mixed.tasks["entities"].train.lengths),
    )
    seen: list[int] = []
    position = 0
    while len(seen) < last - first:
        windows, _ = plan.batch(position)
        seen += [window for window in windows.tolist() if first <= window < last]
        position += 1
    assert len({*seen[: last - first]}) == last - first


def test_batches_name_their_task_and_the_languages_of_all(mixed: TaskMixture) -> None:
    assert mixed.languages == ["de", "en"]
    loader, known = loader_of(mixed), set[str]()
    for batch in [*loader, *loader]:
        task = task_of(batch)
        assert task is not None
        known.add(task)
        spoken = {mixed.languages[number] for number in batch["language"].tolist()}
        assert spoken <= {*mixed.tasks[task].languages}
        assert [batch["counts"][f"{one}/batches"] for one in SIZES] == [
            one == task for one in SIZES
        ]
        assert sum(batch["counts"][f"{one}/decisions"] for one in SIZES) == len(batch["targets"])
    assert known == {*SIZES}
    held_out = [{*map(task_of, loader)} for loader in mixed.val_dataloader()]
    assert held_out == [{"topic"}, {"sentiment"}, {"sentiment"}, {"entities"}]


def test_resumes_in_the_middle_of_an_epoch(mixed: TaskMixture) -> None:
    whole = iter(loader_of(mixed))
    for _ in range(4):
        next(whole)
    place = mixed.state_dict()
    expected = [next(whole)["input_ids"] for _ in range(3)]
    mixed.load_state_dict(place)
    again = iter(loader_of(mixed))
    assert all(torch.equal(next(again)["input_ids"], one) for one in expected)
    mixed.seed += 1
    mixed.load_state_dict(place)
    with pytest.raises(
        UserError, match=r"another order of batches: mixture seed was 0 and is now 1"
    ):
        loader_of(mixed)
    mixed.seed, mixed._resumed = 0, None


def test_what_cannot_work_is_one_line(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no task"):
        TaskMixture({})
    other = load_tokenizer(str(tiny_bert))
    other.add_tokens(["zebras"])
    other.save_pretrained(tmp_path / "other")
    given = {"cache_dir": str(tmp_path), "languages": ["en"]}
    tasks = {
        "one": PhrasebookTasks(tokenizer=str(tiny_bert), **given),
        "two": PhrasebookTasks(tokenizer=str(tmp_path / "other"), **given),
    }
    with pytest.raises(UserError, match=r"one and two have different tokenizers"):
        TaskMixture(tasks).setup("fit")  # type: ignore[arg-type]
