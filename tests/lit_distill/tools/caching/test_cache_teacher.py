"""What a teacher cache holds is what the live teacher says; half-written ones are completed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_modules import MaskedTokens, MultilingualCorpus, NextToken, Source
from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import CachedOutputs, LanguageModel, TeacherCache, TeacherSpec, fingerprint
from lit_distill.models.teachers.cache_format import Manifest
from lit_distill.tools.caching import cache_shards
from lit_distill.tools.caching.cache_teacher import CacheOptions, cache_teacher

V = 120
SMALL = CacheOptions(k=16, temperature=2.0, shard_tokens=1500, measured_windows=40)
Write = Callable[..., Manifest]


@pytest.fixture
def make_corpus(
    tiny_bert: Path, text_folder: Path, tmp_path: Path
) -> Callable[..., MultilingualCorpus]:
    def make(**options: Any) -> MultilingualCorpus:
        return MultilingualCorpus(
            [Source(files=["{language}.txt"])],
            **{
                "data_dir": str(text_folder),
                "tokenizer": str(tiny_bert),
                "max_length": 16,
                "batch_tokens": 256,
                "mask_variants": 2,
                "cache_dir": str(tmp_path / "tokens"),
                **options,
            },
        )

    return make


@pytest.fixture
def corpus(make_corpus: Callable[..., MultilingualCorpus]) -> MultilingualCorpus:
    return make_corpus()


@pytest.fixture
def write(corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path) -> Write:
    def run(name: str = "cache", options: CacheOptions = SMALL) -> Manifest:
        return cache_teacher(str(tmp_path / name), TeacherSpec(str(tiny_bert)), corpus, options)

    return run


def training_batches(corpus: MultilingualCorpus, passes: int) -> list[Batch]:
    """Some windows of both languages in an order of their own, in several passes."""
    windows = np.random.default_rng(0).permutation(len(corpus.train.lengths))[:60]
    collate = corpus.collator()
    return [
        collate(own, np.full_like(own, number))
        for number in range(passes)
        for own in np.split(windows, 3)
    ]


def live(model: LanguageModel, batch: Batch, rows: torch.Tensor, temperature: float) -> Any:
    """States and log-probabilities."""
    with torch.no_grad():
        states = model.encode(batch).rows(rows)
        return states, torch.log_softmax(model.logits(states).double() / temperature, -1)


@pytest.mark.parametrize("positions", ["rows", "tokens"])
def test_it_holds_what_the_live_teacher_says(
    positions: str, write: Write, corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    write(options=CacheOptions(16, 2.0, positions=positions, states=True, shard_tokens=1500))  # type: ignore[arg-type]
    cache, model = TeacherCache(tmp_path / "cache"), TeacherSpec(str(tiny_bert)).build()
    assert len(cache.manifest.borders) > 5
    for batch in training_batches(corpus, passes=5):
        taught = CachedOutputs(cache, cache.read(batch))
        places = [batch["rows"], batch["tokens"]] if positions == "tokens" else [batch["rows"]]
        for rows in places:
            top = taught.signal(rows)
            states, log_p = live(model, batch, rows, 2.0)
            kept = log_p.gather(1, top.ids.long())
            assert (top.temperature, top.tail) == (2.0, "bucket")
            torch.testing.assert_close(kept, log_p.topk(16).values, rtol=0, atol=1e-5)
            torch.testing.assert_close(top.log_probabilities.double(), kept, rtol=1e-3, atol=1e-4)
            ((share, read),) = taught.states(rows)
            assert share == 1
            torch.testing.assert_close(read, states, rtol=1e-3, atol=1e-3)


def test_a_teacher_that_says_no_numbers_is_not_written_down(
    corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_bert, tmp_path / "teacher")
    model = TeacherSpec(str(folder)).build().model
    table = model.get_parameter("bert.embeddings.position_embeddings.weight")
    table.data[8] = torch.tensor([2e38, -2e38] * 8)  # whose variance is infinite
    model.save_pretrained(folder)
    with pytest.raises(UserError, match=r"about \d+ of the \d+ positions of a batch is NaN"):
        cache_teacher(str(tmp_path / "cache"), TeacherSpec(str(folder)), corpus, SMALL)
    assert not list((tmp_path / "cache").glob("shard-*"))


def test_masks_differ_between_drawings_and_come_again(corpus: MultilingualCorpus) -> None:
    corpus.prepare_data()
    corpus.setup("fit")
    batches = training_batches(corpus, passes=4)
    first, second, third = (batch["input_ids"] for batch in (batches[0], batches[3], batches[6]))
    assert not first.equal(second)
    assert first.equal(third)


def test_decoders_need_no_drawings(
    make_corpus: Callable[..., MultilingualCorpus], tiny_gpt2: Path, tmp_path: Path
) -> None:
    corpus = make_corpus(
        objective=NextToken(), mask_variants=None, tokenizer=str(tiny_gpt2), holdout=2
    )
    cache_teacher(str(tmp_path / "cache"), TeacherSpec(str(tiny_gpt2)), corpus, SMALL)
    cache, model = TeacherCache(tmp_path / "cache"), TeacherSpec(str(tiny_gpt2)).build()
    for batch in training_batches(corpus, passes=2):
        top = CachedOutputs(cache, cache.read(batch)).signal(batch["rows"])
        _, log_p = live(model, batch, batch["rows"], 2.0)
        torch.testing.assert_close(
            top.log_probabilities.double(), log_p.topk(16).values, rtol=1e-3, atol=1e-4
        )


def test_the_reported_error_is_the_kl_from_a_uniform_tail(
    write: Write, corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    """For the tail "bucket", by hand, up to half precision."""
    manifest = write(options=CacheOptions(16, 1.0, measured_windows=10**6))
    model = TeacherSpec(str(tiny_bert)).build()
    found: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    collate = corpus.collator()
    for number in found:
        windows = np.flatnonzero(corpus.train.language == number)
        for window, drawing in zip(windows, np.arange(len(windows)) % 2, strict=True):
            batch = collate(np.array([window]), np.array([drawing]))
            _, log_p = live(model, batch, batch["rows"], 1.0)
            top = log_p.sort(descending=True).values
            tail = top[:, 16:].exp().sum(1, keepdim=True) / (V - 16)
            found[number].append((top[:, 16:].exp() * (top[:, 16:] - tail.log())).sum(1))
    for number, name in enumerate(corpus.languages):
        errors, reported = torch.cat(found[number]), (manifest.error or {})[name]
        assert reported["rows"] == len(errors)
        assert reported["mean"] == pytest.approx(errors.mean().item(), rel=0.02)
        assert reported["99 %"] == pytest.approx(errors.quantile(0.99).item(), rel=0.05)
    assert (manifest.error or {})["all"]["rows"] == sum(map(len, map(torch.cat, found.values())))


@pytest.mark.parametrize("tail", ["bucket", "renormalise", "uniform"])
def test_the_error_goes_away_with_all_tokens(tail: str, write: Write) -> None:
    some = write("some", CacheOptions(8, 1.0, tail, measured_windows=20))  # type: ignore[arg-type]
    every = write("all", CacheOptions(V, 1.0, tail, measured_windows=20))  # type: ignore[arg-type]
    assert (some.error or {})["all"]["mean"] > 0.02
    assert (every.error or {})["all"]["maximum"] < 1e-3


def test_provenance_and_tokenizer_are_in_the_folder(
    write: Write, corpus: MultilingualCorpus, tiny_bert: Path, tmp_path: Path
) -> None:
    manifest = write()
    assert json.loads((tmp_path / "cache/cache.json").read_text())["format"] == 1
    assert Manifest.read(tmp_path / "cache") == manifest
    facts = manifest.provenance
    assert facts["teacher"] == fingerprint(TeacherSpec(str(tiny_bert)).build())
    assert facts["objective"] == repr(MaskedTokens())
    expected = {"k": 16, "temperature": 2.0, "tail": "bucket", "dtype": "float16", "seed": 0}
    assert expected.items() <= facts.items()
    assert {"mask_variants": 2, "positions": "rows", "template": None}.items() <= facts.items()
    assert MultilingualCorpus([], tokenizer=str(tmp_path / "cache")).tokenizer.get_vocab() == (
        corpus.tokenizer.get_vocab()
    )


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*")}


def killed_while_writing(write: Write, shard: int, before: Callable[..., None]) -> int:
    """What ends a child that writes a cache and is killed in the middle of one shard's file."""
    child = os.fork()
    if child == 0:
        calls = iter(range(10**6))

        def half(arrays: Any, path: Path) -> None:
            if next(calls) == shard:
                path.write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            before(arrays, path)

        cache_shards.save_file = half  # type: ignore[assignment]
        try:
            write()
        finally:
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_killed_one_goes_on_without_doing_whole_shards_again(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write("whole")
    count = len(whole.borders) - 1
    assert count > 6
    save = cache_shards.save_file
    assert killed_while_writing(write, 4, save) == -signal.SIGKILL
    assert len(list((tmp_path / "cache").glob("shard-*.safetensors"))) == 4
    with pytest.raises(UserError, match="is not finished: run `cache-teacher` as before"):
        TeacherCache(tmp_path / "cache")
    written: list[Path] = []
    monkeypatch.setattr(
        cache_shards, "save_file", lambda arrays, path: (written.append(path), save(arrays, path))
    )
    assert write() == whole
    assert len(written) == count - 4
    assert shards(tmp_path / "cache") == shards(tmp_path / "whole")  # nothing half is left
    written.clear()
    assert write() == whole
    assert not written


def test_a_damaged_shard_is_refused_and_written_again(write: Write, tmp_path: Path) -> None:
    manifest = write()
    path = tmp_path / "cache/shard-00002.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-100])
    with pytest.raises(UserError, match=r"shard-00002.* missing or damaged"):
        TeacherCache(tmp_path / "cache")
    assert write() == manifest
    assert path.read_bytes() == good


@pytest.mark.parametrize(("item", "value"), [("k", 8), ("vocab_size", 70_000), ("hidden_size", 16)])
def test_a_manifest_and_shards_that_disagree_are_refused(
    write: Write, tmp_path: Path, item: str, value: int
) -> None:
    write()
    path = tmp_path / "cache/cache.json"
    said = json.loads(path.read_text())
    said["provenance"][item] = value
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"shard-00000\.safetensors does not hold what .*json says"):
        TeacherCache(tmp_path / "cache")
    del said["provenance"][item]
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match=rf"cache\.json is damaged \(it has no {item}\)"):
        TeacherCache(tmp_path / "cache")


def test_windows_that_are_not_those_of_the_borders_are_refused(
    write: Write, tmp_path: Path
) -> None:
    write()
    path = tmp_path / "cache/cache.json"
    said = json.loads(path.read_text())
    said["provenance"]["windows"] -= 1
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"cache\.json is damaged \(borders end at \d+, not \d+\)"):
        TeacherCache(tmp_path / "cache")


def test_a_zeroed_stretch_of_a_shard_is_not_learnt(
    write: Write, corpus: MultilingualCorpus, tmp_path: Path
) -> None:
    manifest = write()
    cache, batches = TeacherCache(tmp_path / "cache"), training_batches(corpus, passes=2)
    for batch in batches:
        cache.read(batch)
    path = tmp_path / "cache/shard-00001.safetensors"
    good = path.read_bytes()
    for name in ("ids", "log_probabilities", "log_mass"):
        with path.open("r+b") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            begin, end = json.loads(file.read(start - 8))[name]["data_offsets"]
            file.seek(start + begin)
            file.write(bytes(end - begin))
        with pytest.raises(UserError, match=r"shard-00001\.safetensors is damaged \(item \d+ is"):
            [cache.read(batch) for batch in batches]
        assert write() == manifest  # which makes it anew
        assert path.read_bytes() == good


def test_other_settings_do_not_go_into_the_same_folder(write: Write, tmp_path: Path) -> None:
    write()
    with pytest.raises(UserError, match=r"k: 16 in the cache, 8 now; temperature: 2.0 .* 1.0 now"):
        write(options=CacheOptions(8, 1.0, shard_tokens=1500))
    with pytest.raises(UserError, match="shard_tokens"):
        write(options=CacheOptions(16, 2.0, shard_tokens=900))


def test_another_text_is_not_looked_up(
    write: Write, corpus: MultilingualCorpus, tmp_path: Path
) -> None:
    write()
    cache = TeacherCache(tmp_path / "cache")
    (batch, *_) = training_batches(corpus, passes=1)
    changed = batch["input_ids"].clone()
    changed[2, 1] += 1
    window = int(batch["sample_id"][2])
    with pytest.raises(UserError, match=f"Window {window} is not what the teacher"):
        cache.read(Batch(**{**batch, "input_ids": changed}))
    with pytest.raises(UserError, match="is not what the teacher"):
        cache.read(Batch(**{**batch, "variant": 1 - batch["variant"]}))
    with pytest.raises(UserError, match="is not in the teacher cache"):
        cache.read(Batch(**{**batch, "variant": 2 + batch["variant"]}))
    with pytest.raises(UserError, match="packed"):
        cache.read(Batch(**{**batch, "segments": batch["attention_mask"]}))


def test_what_cannot_be_cached(
    make_corpus: Callable[..., MultilingualCorpus], tiny_bert: Path, tmp_path: Path
) -> None:
    teacher, output = TeacherSpec(str(tiny_bert)), str(tmp_path / "cache")
    with pytest.raises(UserError, match="mask_variants, here and in training"):
        cache_teacher(output, teacher, make_corpus(mask_variants=None))
    with pytest.raises(UserError, match="scope `batch`"):
        cache_teacher(output, teacher, make_corpus(objective=MaskedTokens(scope="batch")))
    with pytest.raises(UserError, match="k is 121 and the vocabulary has 120"):
        cache_teacher(output, teacher, make_corpus(), CacheOptions(k=V + 1))
    for wrong in ({"k": 0}, {"temperature": 0.0}, {"shard_tokens": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            CacheOptions(**wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "cache").exists()


def test_the_command_takes_the_config_of_a_fit(
    tiny_corpus: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[4] / "configs"
    config = ["-c", f"{root}/trainer/cpu.yaml", "-c", f"{root}/data/multilingual_folder.yaml"]
    config += ["-c", str(tiny_corpus), f"--output={tmp_path / 'cache'}", "--cache.k=8"]
    command = ["cache-teacher", "-c", f"{root}/methods/masked_lm.yaml", *config]
    assert main(command) == 2
    assert "no teacher to cache" in capsys.readouterr().err
    command = ["cache-teacher", "-c", f"{root}/methods/triple_loss.yaml", *config]
    command += [f"--model.teacher.name={tiny_bert}"]
    assert main(command) == 2
    assert "mask_variants" in capsys.readouterr().err
    assert main([*command, "--data.mask_variants=1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Error of the loss at temperature 2, nats" in shown  # the method's own
    assert "│ all " in shown
    assert Manifest.read(tmp_path / "cache").provenance["temperature"] == 2.0
    assert not Path("runs").exists()


def test_a_folder_of_other_things_stays_as_it_is(write: Write, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "notes.txt"):
        foreign = tmp_path / name.replace(".", "-")
        foreign.mkdir()
        (foreign / name).write_text("mine")
        with pytest.raises(UserError, match="holds what this command did not write"):
            write(foreign.name)
        assert {path: path.read_text() for path in foreign.iterdir()} == {foreign / name: "mine"}
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        write("file")


def test_a_cache_keeps_its_tokenizer_and_what_was_added(write: Write, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / ".cache.json.lit_distill-new").write_text("of a killed process")
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    write()
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    (tmp_path / "cache" / "tokenizer_config.json").unlink()
    before = (tmp_path / "cache" / "tokenizer.json").stat()
    write()
    after = (tmp_path / "cache" / "tokenizer.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (tmp_path / "cache" / "tokenizer_config.json").exists()
    assert (tmp_path / "cache" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "cache").is_symlink()
