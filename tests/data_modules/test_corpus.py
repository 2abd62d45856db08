"""A corpus from files to batches: split, windows, cache, reports, resuming."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentences
from lightning.pytorch import Trainer
from transformers import AutoTokenizer

from data_modules import MaskedTokens, MultilingualCorpus, NoTargets, Source, Temperature
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.token_store import TokenStore
from data_modules.storing.tokenising import held_out, tokenise
from lit_distill.errors import UserError

Make = Callable[..., MultilingualCorpus]


@pytest.fixture
def make(tiny_bert: Path, text_folder: Path, tmp_path: Path) -> Make:
    def build(sources: list[Source] | None = None, **options: Any) -> MultilingualCorpus:
        defaults: dict[str, Any] = {
            "tokenizer": str(tiny_bert),
            "data_dir": str(text_folder),
            "cache_dir": str(tmp_path / "cache"),
            "max_length": 16,
            "batch_tokens": 128,
            "updates_per_epoch": 4,
            "holdout": 5,
        }
        corpus = MultilingualCorpus(
            sources=sources or [Source(files="{language}.txt")], **{**defaults, **options}
        )
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        return corpus

    return build


def ready(corpus: MultilingualCorpus) -> MultilingualCorpus:
    corpus.prepare_data()
    corpus.setup("fit")
    return corpus


def texts_of(store: TokenStore, tokenizer: Any, language: int) -> list[str]:
    windows = np.flatnonzero(store.language == language)
    flat, ends = store.gather(windows), np.cumsum(store.lengths[windows])
    parts = np.split(flat, ends[:-1])
    return [tokenizer.decode(part, skip_special_tokens=True) for part in parts]


def test_every_text_is_in_one_split_whole(make: Make, tiny_bert: Path) -> None:
    corpus = ready(make(max_length=64))
    assert corpus.languages == ["de", "en"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    for number, language in enumerate(corpus.languages):
        expected = sentences(language, 300)
        for store, held in ((corpus.train, False), (corpus._stores["validation"], True)):
            found = texts_of(store, tokenizer, number)
            assert found == [text for text in expected if held_out(text.encode(), 5) == held]


def test_long_texts_become_windows_and_lose_nothing(make: Make, tmp_path: Path) -> None:
    text = " ".join(sentences("en", 60))
    (tmp_path / "long.txt").write_text(f"{text}\n")
    (tmp_path / "dev.txt").write_text("the cats sleep\n")
    source = Source(
        language="en", files=str(tmp_path / "long.txt"), validation=str(tmp_path / "dev.txt")
    )
    corpus = ready(make([source]))
    whole = corpus.tokenizer(text, add_special_tokens=False)["input_ids"]
    lengths = corpus.train.lengths
    assert lengths.max() == 16
    assert len(lengths) == -(-len(whole) // 14)
    flat = corpus.train.gather(np.arange(len(lengths)))
    first, last = corpus.tokenizer.cls_token_id, corpus.tokenizer.sep_token_id
    assert flat[~np.isin(flat, [first, last])].tolist() == whole
    assert corpus.train.token_counts.sum() == len(flat)


def test_repeats_are_fed_once_and_never_leak_into_validation(make: Make, tmp_path: Path) -> None:
    lines = sentences("en", 50)
    (tmp_path / "a.txt").write_text("\n".join(lines + lines[:7]) + "\n")
    (tmp_path / "dev.txt").write_text("\n".join(lines[:10]) + "\n")
    source = Source(
        language="en", files=str(tmp_path / "a.txt"), validation=str(tmp_path / "dev.txt")
    )
    corpus = ready(make([source], max_length=64))
    assert len(corpus.train.lengths) == 40
    assert len(corpus._stores["validation"].lengths) == 10
    assert sum(report.in_evaluation for report in corpus.report) == 17
    kept = ready(make([source], max_length=64, deduplicate=False))
    assert len(kept.train.lengths) == 40  # a repeat of a validation text is never kept


def test_tokenised_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ready(make())
    monkeypatch.setattr("data_modules.corpus.tokenise", None)  # would fail if it were called
    again = ready(make(seed=3, batch_tokens=256))
    assert again.train.folder == first.train.folder
    with pytest.raises(TypeError):
        ready(make(max_length=15))


def test_a_failed_tokenisation_leaves_nothing_behind(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good line\n" * 9 + b"\xff\n")
    source = Source(language="en", files=str(tmp_path / "a.txt"))
    with pytest.raises(UserError) as error:
        ready(make([source]))
    for part in ("a.txt: 1 of 10 rows are broken", "first at line 10: not UTF-8", "max_broken"):
        assert part in str(error.value)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_one_process_tokenises_and_the_others_wait(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def slow(*arguments: Any) -> list[FileReport]:
        calls.append(arguments[-1])
        time.sleep(0.3)
        return tokenise(*arguments)

    monkeypatch.setattr("data_modules.corpus.tokenise", slow)
    corpora = [make() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ready, corpora))
    assert len(calls) == 1
    assert len({corpus.train.folder for corpus in corpora}) == 1


def test_what_a_killed_process_left_is_replaced(make: Make, tmp_path: Path) -> None:
    folder = ready(make()).train.folder.parent
    left = folder.rename(folder.with_suffix(".partial"))
    (left / "train" / "counts.npy").unlink()
    corpus = ready(make())
    assert corpus.train.folder.parent == folder
    assert not left.exists()


def test_a_cache_folder_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written: .*data\.init_args\.cache_dir"):
        ready(make(cache_dir=str(tmp_path / "file" / "cache")))


def test_a_stricter_limit_counts_for_a_cached_corpus_too(make: Make, tmp_path: Path) -> None:
    lines = [line.encode() for line in sentences("en", 100)]
    (tmp_path / "a.txt").write_bytes(b"\n".join([*lines, b"\xff", b"\xe2\x80\x8b"]) + b"\n")
    source = Source(language="en", files=str(tmp_path / "a.txt"))
    corpus = ready(make([source], max_broken=0.1))
    (report,) = corpus.report
    assert report.reasons == {"not UTF-8": 1, "no tokens": 1}
    assert report.first == "first at line 101: not UTF-8 (byte 0)"
    with pytest.raises(UserError, match="2 of 102 rows are broken"):
        ready(make([source]))


def test_a_few_broken_rows_are_reported(make: Make, tmp_path: Path, capsys: Any) -> None:
    rows = [json.dumps({"text": text}) for text in sentences("en", 200)]
    rows[41] = '{"text": '
    (tmp_path / "a.jsonl").write_text("\n".join(rows) + "\n")
    corpus = ready(make([Source(language="en", files=str(tmp_path / "a.jsonl"))]))
    (report,) = corpus.report
    assert (report.rows, report.broken) == (200, 1)
    assert report.first.startswith("first at line 42: broken JSON")
    assert "jsonl" in capsys.readouterr().err


def test_a_language_without_text_is_an_error_before_training(make: Make, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("the river runs\n")
    held = held_out(b"the river runs", 5)
    with pytest.raises(UserError, match=r"No (train|validation) text for xx") as error:
        ready(make([Source(language="xx", files=str(tmp_path / "one.txt"))]))
    assert ("validation" in str(error.value)) != held
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="No train text for yy"):
        ready(make([Source(language="yy", files=str(tmp_path / "empty.txt"))]))


def test_batches_per_language_in_validation(make: Make) -> None:
    corpus = ready(make(validation_windows=7))
    loaders = corpus.val_dataloader()
    assert len(loaders) == 2
    for number, loader in enumerate(loaders):
        batches = list(loader)
        assert sum(batch["counts"]["sequences"] for batch in batches) == 7
        assert {int(x) for batch in batches for x in batch["language"]} == {number}
        again = list(loader)
        assert all(
            (a["input_ids"] == b["input_ids"]).all() for a, b in zip(batches, again, strict=True)
        )
    store = corpus._stores["validation"]
    chosen = np.concatenate([batch["sample_id"].numpy() for batch in loaders[0]])
    available = np.flatnonzero(store.language == 0)
    places = np.sort(np.searchsorted(available, chosen))
    assert np.diff([*places, len(available)]).min() >= len(available) // 7  # spread evenly
    with pytest.raises(UserError, match="No source has test texts"):
        corpus.test_dataloader()


def test_test_texts_are_measured_whole_and_never_trained_on(make: Make, tmp_path: Path) -> None:
    lines = sentences("en", 60)
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "test.txt").write_text("\n".join([*lines[:20], lines[0]]) + "\n")
    sources = [
        Source(language="en", files=str(tmp_path / "a.txt"), test=str(tmp_path / "test.txt")),
        Source(language="de", files="de.txt"),
    ]
    corpus = ready(make(sources, max_length=64, validation_windows=3))
    (loader,) = corpus.test_dataloader()
    assert sum(batch["counts"]["sequences"] for batch in loader) == 21
    fed = texts_of(corpus.train, corpus.tokenizer, 1)
    fed += texts_of(corpus._stores["validation"], corpus.tokenizer, 1)
    assert sorted(fed) == sorted(lines[20:])


def test_the_place_in_the_stream_is_saved_and_restored(make: Make) -> None:
    corpus = ready(make())
    stream = iter(corpus.train_dataloader())
    for _ in range(2):
        next(stream)
    state = copy.deepcopy(corpus.state_dict())
    expected = next(stream)["input_ids"]
    other = ready(make())
    other.load_state_dict(state)
    assert (next(iter(other.train_dataloader()))["input_ids"] == expected).all()
    changed = ready(make(objective=MaskedTokens(probability=0.3)))
    changed.load_state_dict(state)
    with pytest.raises(UserError, match="objective was"):
        changed.train_dataloader()


def test_a_fixed_number_of_drawings_comes_in_turn(make: Make) -> None:
    """Pass p has the masks of pass p mod 2 of a run without such a number, in the same order."""
    endless, fixed = ready(make()), ready(make(mask_variants=2))
    windows = np.arange(10)
    for number in range(5):
        passes = np.full(10, number)
        batch, like = fixed.collator()(windows, passes), endless.collator()(windows, passes % 2)
        assert batch["variant"].tolist() == [number % 2] * 10
        assert "variant" not in like
        for name in ("input_ids", "rows", "targets"):
            assert batch[name].equal(like[name])  # type: ignore[literal-required]
    first, second = (iter(corpus.train_dataloader()) for corpus in (endless, fixed))
    for _ in range(4):
        assert next(first)["sample_id"].equal(next(second)["sample_id"])
    state = fixed.state_dict()
    endless.load_state_dict(state)
    with pytest.raises(UserError, match="mask_variants was 2 and is now None"):
        endless.train_dataloader()


def test_provenance_tells_texts_and_masks_apart(make: Make, tmp_path: Path) -> None:
    facts = ready(make()).provenance()
    assert ready(make(batch_tokens=64, num_workers=1)).provenance() == facts
    (tmp_path / "en.txt").write_text("\n".join(sentences("en", 290, seed=1)) + "\n")
    other = [Source(files=str(tmp_path / "{language}.txt"))]
    for changed, items in (
        ({"seed": 1}, {"seed", "masks"}),
        ({"mask_variants": 2}, {"mask_variants", "masks"}),
        ({"objective": MaskedTokens(smoothing=0.7)}, {"objective", "masks"}),
        ({"sources": other}, {"corpus", "windows", "masks"}),
    ):
        now = ready(make(**changed)).provenance()
        assert {name for name, value in facts.items() if now[name] != value} == items


def test_sampled_shares_follow_the_temperature(make: Make, tmp_path: Path) -> None:
    for language, count in (("en", 290), ("de", 40)):
        (tmp_path / f"{language}.txt").write_text("\n".join(sentences(language, count)) + "\n")
    source = Source(files=str(tmp_path / "{language}.txt"))
    corpus = ready(make([source], sampler=Temperature(2.0), updates_per_epoch=300, pool_size=300))
    tokens = corpus.train.token_counts.sum(1)
    expected = tokens**0.5 / (tokens**0.5).sum()
    drawn = np.zeros(2)
    for batch in corpus.train_dataloader():
        lengths = batch["attention_mask"].sum(1).numpy()
        drawn += np.bincount(batch["language"].numpy(), lengths, minlength=2)
    assert np.abs(drawn / drawn.sum() - expected).max() < 0.01


def test_plain_text_is_still_measured_on_masked_tokens(make: Make) -> None:
    corpus = ready(make(objective=NoTargets()))
    assert next(iter(corpus.train_dataloader()))["counts"]["rows"] == 0
    assert next(iter(corpus.val_dataloader()[0]))["counts"]["masked"] > 0


def test_a_copy_of_the_texts_goes_on_and_other_texts_do_not(make: Make, tmp_path: Path) -> None:
    corpus = ready(make())
    stream = iter(corpus.train_dataloader())
    next(stream)
    state, second = corpus.state_dict(), next(stream)["input_ids"]
    copied, changed = tmp_path / "elsewhere", tmp_path / "changed"
    for folder in (copied, changed):
        shutil.copytree(corpus.data_dir, folder, copy_function=shutil.copyfile)
    (changed / "en.txt").write_text("\n".join(sentences("en", 299)) + "\n")
    again = ready(make(data_dir=str(copied), cache_dir=str(tmp_path / "cache-2")))
    again.load_state_dict(state)
    assert next(iter(again.train_dataloader()))["input_ids"].equal(second)
    other = ready(make(data_dir=str(changed)))
    other.load_state_dict(state)
    with pytest.raises(UserError, match="texts was"):
        other.train_dataloader()


def test_needless_settings_are_refused(make: Make) -> None:
    with pytest.raises(UserError, match="no tokenizer"):
        ready(make(tokenizer=None))
    for name, value in (
        ("holdout", 1),
        ("validation_windows", 0),
        ("max_broken", -0.1),
        ("num_workers", -1),
        ("batch_tokens", 15),
        ("mask_variants", 0),
    ):
        with pytest.raises(UserError, match=rf"{name} is {value}\b.*: use"):
            make(**{name: value})
    with pytest.raises(UserError, match="leaves no room"):
        ready(make(max_length=2))
