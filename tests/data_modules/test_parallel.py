"""Pairs of texts: aligned rows, two views, any pairing, pivots, and misaligned files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sentences
from lightning.pytorch import Trainer

from data_modules import MaskedTokens, Noised, NoTargets, ParallelCorpus, ParallelSource
from data_modules.pairing.sources import ParallelReader, resolve_parallel
from data_modules.reading.readers import Broken
from lit_distill.batch import PairBatch
from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer

Make = Callable[..., ParallelCorpus]
LINES = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Line-aligned `p.aa.txt`, `p.bb.txt`, `p.cc.txt`: bb turns the words of aa round, cc is de."""
    place = tmp_path_factory.mktemp("parallel")
    first, third = sentences("en", LINES), sentences("de", LINES)
    texts = {"aa": first, "bb": [" ".join(reversed(t.split())) for t in first], "cc": third}
    for language, lines in texts.items():
        (place / f"p.{language}.txt").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def make(folder: Path, tiny_bert: Path, tmp_path: Path) -> Make:
    def build(*sources: ParallelSource, **options: Any) -> ParallelCorpus:
        settings: dict[str, Any] = {
            "tokenizer": str(tiny_bert), "data_dir": str(folder), "cache_dir": str(tmp_path / "c"),
            "max_length": 64, "batch_tokens": 256, "updates_per_epoch": 4, "holdout": 5,
        }  # fmt: skip
        given = list(sources) or [ParallelSource("p.{language}.txt")]
        corpus = ParallelCorpus(given, **{**settings, **options})
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        corpus.prepare_data()
        corpus.setup("fit")
        return corpus

    return build


def decoded(corpus: ParallelCorpus, batch: Any, view: str) -> list[str]:
    tokenizer = corpus.src_tokenizer if view == "src_" else corpus.tokenizer
    return [tokenizer.decode(row, skip_special_tokens=True) for row in batch[f"{view}input_ids"]]


def test_views_say_the_same_in_every_pairing(make: Make, folder: Path) -> None:
    corpus = make(objective=NoTargets())
    assert corpus.languages == ["aa>bb", "aa>cc", "bb>aa", "bb>cc", "cc>aa", "cc>bb"]
    lines = {tag: (folder / f"p.{tag}.txt").read_text().splitlines() for tag in ("aa", "bb", "cc")}
    places = {tag: {text: n for n, text in enumerate(own)} for tag, own in lines.items()}
    seen = set()
    for batch in corpus.train_dataloader():
        sources, targets = (decoded(corpus, batch, view) for view in ("src_", "tgt_"))
        for index, number in enumerate(batch["language"].tolist()):
            src, tgt = corpus.languages[number].split(">")
            assert corpus.text_languages[batch["src_language"][index]] == src
            assert corpus.text_languages[batch["tgt_language"][index]] == tgt
            assert places[src][sources[index]] == places[tgt][targets[index]]
            seen.add(corpus.languages[number])
        assert {*batch} <= {*PairBatch.__annotations__}
        assert torch.equal(batch["input_ids"], batch["tgt_input_ids"])
        assert batch["counts"]["src_tokens"] == int(batch["src_attention_mask"].sum())
        width = max(batch["src_input_ids"].shape[1], batch["tgt_input_ids"].shape[1])
        assert width * len(batch["language"]) <= 256
    assert seen == set(corpus.languages)


def test_markers_in_pairs_are_text(make: Make, tmp_path: Path) -> None:
    for tag in ("aa", "bb"):
        lines = [f"the river [MASK] and [SEP] {n}" for n in range(60)]
        (tmp_path / f"q.{tag}.txt").write_text("\n".join(lines))
    corpus = make(ParallelSource("q.{language}.txt"), data_dir=str(tmp_path), objective=NoTargets())
    tokenizer = corpus.tokenizer
    for batch in corpus.train_dataloader():
        assert tokenizer.mask_token_id not in batch["tgt_input_ids"]
        ends = batch["tgt_input_ids"] == tokenizer.sep_token_id
        assert ends.sum(1).tolist() == [1] * len(ends)


def test_chosen_languages_and_a_row_is_in_one_split(make: Make) -> None:
    corpus = make(src_languages=["aa", "bb"], tgt_languages=["aa"])
    assert corpus.languages == ["bb>aa"]
    train, validation = (corpus._splits[split] for split in ("train", "validation"))
    assert len(train.pair) + len(validation.pair) == LINES
    texts = [
        {tuple(store.tgt.gather(np.array([w]))) for w in store.windows[1].tolist()}
        for store in (train, validation)
    ]
    assert not texts[0] & texts[1]
    (report,) = corpus.report
    assert (report.rows, report.held_out) == (LINES, len(validation.pair))
    assert corpus.windows("validation") == {"bb>aa": len(validation.pair)}
    assert corpus.training_tokens() == {"bb>aa": int(train.lengths.sum())}


def test_pairs_are_counted_and_not_texts(make: Make) -> None:
    """Two pairs of three languages: what looks at a run before its first step asks for these."""
    corpus = make(src_languages=["aa"])
    windows, tokens = corpus.windows("train"), corpus.training_tokens()
    assert [*windows] == [*tokens] == corpus.languages == ["aa>bb", "aa>cc"]
    assert sum(windows.values()) == len(corpus._splits["train"].pair)
    assert sum(tokens.values()) == int(corpus._splits["train"].lengths.sum())


def test_views_differ_in_objective(make: Make) -> None:
    mask = load_tokenizer(str(make().tokenizer.name_or_path)).mask_token_id
    masked = make(src_objective=NoTargets(), objective=MaskedTokens(0.5))
    batch = next(iter(masked.train_dataloader()))
    assert batch["counts"]["src_masked"] == 0
    assert batch["counts"]["masked"] == len(batch["tgt_rows"]) > 0
    assert not (batch["src_input_ids"] == mask).any()
    noised = make(src_objective=Noised(0.5, 1.0, 0.0), objective=NoTargets())
    batch = next(iter(noised.train_dataloader()))
    assert (batch["src_input_ids"] == mask).sum() > 0
    assert len(batch["src_rows"]) == 0
    assert not (batch["tgt_input_ids"] == mask).any()
    # validation masks the second view only, whatever training does
    batch = next(iter(noised.val_dataloader()[0]))
    assert batch["counts"]["masked"] > 0
    assert not (batch["src_input_ids"] == mask).any()


def test_views_differ_in_tokenizer(make: Make, tmp_path: Path, tiny_bert: Path) -> None:
    from lit_distill.tools.corpora.train_tokenizer import train_tokenizer

    own = tmp_path / "own"
    train_tokenizer(str(own), make(), vocab_size=60)
    corpus = make(src_tokenizer=str(own), objective=NoTargets())
    batch = next(iter(corpus.train_dataloader()))
    assert int(batch["src_input_ids"].max()) < 60
    pair = corpus.languages[batch["language"][0]]
    if "cc" not in pair:  # one is the other turned round
        src, tgt = (decoded(corpus, batch, view)[0].split() for view in ("src_", "tgt_"))
        assert sorted(src) == sorted(tgt)


def test_a_pivot_joins_files(make: Make, tmp_path: Path) -> None:
    english, lines = sentences("en", 60), sentences("de", 60)
    for tag, turn in (("xx", 1), ("yy", -1)):
        rows = [
            {"text": " ".join(text.split()[::turn]), "en": en}
            for text, en in zip(lines, english, strict=True)
        ]
        (tmp_path / f"{tag}-en.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = ParallelSource("{language}-en.jsonl", columns={"{language}": "text", "en": "en"})
    options = {"data_dir": str(tmp_path), "src_languages": ["xx"], "tgt_languages": ["yy"]}
    with pytest.raises(UserError, match="No train pairs for xx>yy: no row has both"):
        make(source, **options)
    corpus = make(source, pivot="en", objective=NoTargets(), **options)
    assert corpus.languages == ["xx>yy"]
    batch = next(iter(corpus.train_dataloader()))
    pairs = zip(decoded(corpus, batch, "src_"), decoded(corpus, batch, "tgt_"), strict=True)
    assert all(source.split() == target.split()[::-1] for source, target in pairs)


def test_batches_depend_on_the_seed_alone_and_resume(make: Make) -> None:
    def some(seed: int) -> list[list[int]]:
        return [batch["sample_id"].tolist() for batch in make(seed=seed).train_dataloader()]

    assert some(1) == some(1) != some(2)
    corpus = make(seed=1)
    stream = iter(corpus.train_dataloader())
    next(stream)
    state = corpus.state_dict()
    rest = next(stream)
    again = make(seed=1)
    again.load_state_dict(state)
    resumed = next(iter(again.train_dataloader()))
    assert all(torch.equal(rest[key], resumed[key]) for key in ("src_input_ids", "tgt_input_ids"))


def test_workers_make_the_same_batches(make: Make) -> None:
    plain, worked = (list(make(num_workers=n).val_dataloader()[0]) for n in (0, 1))
    for one, other in zip(plain, worked, strict=True):
        assert torch.equal(one["src_input_ids"], other["src_input_ids"])


def test_misaligned_files_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "p.aa.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "p.bb.txt").write_text("eins\nzwei\n")
    (reader,) = resolve_parallel([ParallelSource("p.{language}.txt")], tmp_path)
    message = r"p\.bb\.txt ends after line 2 and .*p\.aa\.txt goes on with line 3 \('three'\)"
    with pytest.raises(UserError, match=message):
        list(reader.rows())


def test_a_missing_translation_is_broken(tmp_path: Path) -> None:
    for tag, text in (("aa", "one\n\nthree\n"), ("bb", "eins\nzwei\n\n"), ("cc", "un\ndeux\n\n")):
        (tmp_path / f"p.{tag}.txt").write_text(text)
    (reader,) = resolve_parallel([ParallelSource("p.{language}.txt")], tmp_path)
    full, two, none = reader.rows()
    assert full == {"aa": "one", "bb": "eins", "cc": "un"}
    assert two == {"bb": "zwei", "cc": "deux"}
    assert isinstance(none, Broken)
    assert none.number == 3


def test_long_texts_are_in_no_pair_and_counted(make: Make, tmp_path: Path) -> None:
    lines = sentences("en", 60)
    (tmp_path / "p.aa.txt").write_text("\n".join([*lines, " ".join(lines)]))
    (tmp_path / "p.bb.txt").write_text("\n".join([*lines, "a river"]))
    corpus = make(data_dir=str(tmp_path))
    assert corpus.report[0].too_long == 1
    assert sum(len(store.pair) for store in corpus._splits.values()) == 2 * 60


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ParallelSource(), "either files or a dataset"),
        (ParallelSource("p.aa.txt"), r"needs \{language\}"),
        (ParallelSource("p.{language}.txt", languages=["aa"]), "two or more"),
        (ParallelSource("*.{language}.txt", languages=["aa", "bb"]), "2 files for aa"),
        (ParallelSource("p.aa.txt", columns={"aa": "text"}), "two or more"),
        (ParallelSource(dataset="x/y", columns={"aa": "text"}), "needs `columns`"),
        (ParallelSource("q.{language}.txt"), "no language"),
    ],
)
def test_contradictions_are_refused(source: ParallelSource, message: str, tmp_path: Path) -> None:
    for name in ("p.aa.txt", "p.bb.txt", "r.aa.txt"):
        (tmp_path / name).write_text("a\n")
    with pytest.raises(UserError, match=message):
        resolve_parallel([source], tmp_path)


def test_unknown_languages_are_refused(make: Make) -> None:
    with pytest.raises(UserError, match="No source has 'zz'; there are aa, bb, cc"):
        make(src_languages=["zz"])
    with pytest.raises(UserError, match="Nothing can be paired"):
        make(src_languages=["aa"], tgt_languages=["aa"])
    with pytest.raises(UserError, match="no test split"):
        make().test_dataloader()


def test_columns_of_a_table(tmp_path: Path) -> None:
    rows = [{"de": "eins", "en": "one"}, {"de": "zwei"}, {"de": "drei", "en": "three"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = ParallelSource("t.jsonl", columns={"de": "de", "en": "en"})
    (reader,) = resolve_parallel([source], tmp_path)
    assert isinstance(reader, ParallelReader)
    found = list(reader.rows())
    assert found[0] == {"de": "eins", "en": "one"}
    assert isinstance(found[1], Broken)
    folder = ParallelSource(dataset=str(tmp_path), columns={"de": "de", "en": "en"})
    again = list(resolve_parallel([folder], tmp_path)[0].rows())
    assert [again[0], again[2]] == [found[0], found[2]]
    assert isinstance(again[1], Broken)
