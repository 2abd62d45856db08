"""Prompt corpora: what has a target, what is continued, what is held out, hidden and left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prompted
import pytest
import torch
from lightning.pytorch import Trainer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from data_modules import PromptCorpus, PromptSource
from data_modules.feeding.loader import WindowLoader
from lit_distill.batch import PromptBatch
from lit_distill.errors import UserError

Make = Callable[..., PromptCorpus]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`qa.xx.jsonl` and `qa.yy.jsonl` with 80 rows each, and a tokenizer."""
    place = tmp_path_factory.mktemp("prompts")
    prompted.tokenizer(place / "tokenizer")
    prompted.write(place / "qa.xx.jsonl", prompted.rows(80))
    prompted.write(place / "qa.yy.jsonl", prompted.rows(80, 1000))
    return place


SOURCE = PromptSource(files="qa.{language}.jsonl", prompt="{q}\n", response="{a}")


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Make:
    def build(*sources: PromptSource, set_up: bool = True, **options: Any) -> PromptCorpus:
        settings: dict[str, Any] = {
            "tokenizer": str(folder / "tokenizer"), "data_dir": str(folder), "max_length": 64,
            "cache_dir": str(tmp_path / "cache"), "batch_tokens": 256, "updates_per_epoch": 6,
            "holdout": 5,
        }  # fmt: skip
        corpus = PromptCorpus(list(sources) or [SOURCE], **{**settings, **options})
        corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
        if set_up:
            corpus.prepare_data()
            corpus.setup("fit")
        return corpus

    return build


def pieces(corpus: PromptCorpus, batch: Any, index: int) -> tuple[str, str, list[int], list[int]]:
    """Prompt and response of a text as text, and its rows (places in the text) and targets."""
    ids = batch["input_ids"][index]
    width = batch["input_ids"].shape[1]
    prompt = batch["prompt_ids"][index][batch["prompt_mask"][index].bool()]
    real = ids[batch["attention_mask"][index].bool()]
    assert torch.equal(real[: len(prompt)], prompt)
    own = batch["rows"] // width == index
    said = corpus.tokenizer.decode(real[len(prompt) :])
    places = (batch["rows"][own] % width).tolist()
    return corpus.tokenizer.decode(prompt), said, places, batch["targets"][own].tolist()


def test_rows_are_the_positions_before_the_tokens_of_the_response(make: Make) -> None:
    """Against a loop over every text, by the definition."""
    corpus = make()
    answers = {f"<s>{r['q']}\n": r["a"] for o in (0, 1000) for r in prompted.rows(80, o)}
    seen = 0
    for batch in corpus.train_dataloader():
        assert {*batch} <= {*PromptBatch.__annotations__}
        width = batch["input_ids"].shape[1]
        assert batch["rows"].tolist() == sorted(batch["rows"].tolist())
        real = batch["attention_mask"].flatten().nonzero().squeeze(1)
        assert torch.equal(batch["tokens"], real)
        assert batch["counts"] == {
            "tokens": len(real), "sequences": len(batch["input_ids"]),
            "rows": len(batch["rows"]), "masked": 0,
        }  # fmt: skip
        for index, ids in enumerate(batch["input_ids"]):
            prompt, said, places, targets = pieces(corpus, batch, index)
            assert said == f"{answers[prompt]}</s>"
            length = int(batch["attention_mask"][index].sum())
            asked = int(batch["prompt_mask"][index].sum())
            assert batch["attention_mask"][index].tolist() == [1] * length + [0] * (width - length)
            assert places == list(range(asked - 1, length - 1))
            assert targets == ids[asked:length].tolist()
            assert targets[-1] == corpus.eos_ids[0]
            seen += 1
    assert seen > 50


def test_prompts_are_padded_on_the_left(make: Make) -> None:
    batch = next(iter(make().train_dataloader()))
    mask = batch["prompt_mask"]
    assert bool(mask[:, -1].all())
    assert not bool(mask[:, 0].all())  # lengths differ, or nothing would be shown
    assert torch.equal(mask, mask.sort(dim=1).values)
    assert batch["prompt_ids"].dtype == mask.dtype == torch.int64


def test_an_answer_of_one_token_has_two_rows(make: Make, tmp_path: Path) -> None:
    """The last token of the prompt predicts it, and it predicts the ending token."""
    lines = [{"q": f"what is {n}?", "a": "1"} for n in range(40)]
    source = PromptSource("xx", files=prompted.write(tmp_path / "one.jsonl", lines),
                          prompt="{q}", response="{a}")  # fmt: skip
    batch = next(iter(make(source).train_dataloader()))
    assert len(batch["rows"]) == 2 * len(batch["input_ids"])
    width, asked = batch["input_ids"].shape[1], batch["prompt_mask"].sum(1)
    starts = torch.arange(len(asked)) * width + asked - 1
    assert torch.equal(batch["rows"].view(-1, 2)[:, 0], starts)
    assert torch.equal(batch["rows"].view(-1, 2)[:, 1], starts + 1)


def test_the_pad_token_may_be_the_ending_token(make: Make, tmp_path: Path) -> None:
    for number, pad in enumerate(("</s>", None)):  # None: there is none, and EOS takes its place
        name = prompted.tokenizer(tmp_path / f"t{number}", pad_token=pad)
        corpus = make(tokenizer=name)
        batch = next(iter(corpus.train_dataloader()))
        eos = corpus.eos_ids[0]
        padded = batch["attention_mask"] == 0
        assert bool((batch["input_ids"][padded] == eos).all())
        assert bool((batch["prompt_ids"][batch["prompt_mask"] == 0] == eos).all())
        assert int((batch["targets"] == eos).sum()) == len(batch["input_ids"])
        ends = batch["attention_mask"].sum(1) - 1
        last = batch["input_ids"].gather(1, ends.unsqueeze(1))
        assert bool((last == eos).all())  # the real one is inside of the mask


def test_shown_responses_are_a_seeded_nested_choice(make: Make) -> None:
    def shown(**options: Any) -> dict[int, int]:
        corpus = make(**options)
        pairs = [
            pair
            for batch in corpus.train_dataloader()
            for pair in zip(batch["sample_id"].tolist(), batch["labelled"].tolist(), strict=True)
        ]
        return dict(pairs)

    every, half, fifth = (shown(labelled_share=share) for share in (1.0, 0.5, 0.2))
    assert list(every) == list(half) == list(fifth)  # the order does not depend on it
    assert all(every.values())
    kept = [{window for window, label in found.items() if label} for found in (fifth, half)]
    assert kept[0] < kept[1]
    corpus = make(labelled_share=0.2)
    for number in range(2):
        own = corpus.train.language == number
        assert corpus._labelled["train"][own].sum() == round(0.2 * own.sum())
    assert shown(labelled_share=0.5) == half
    assert shown(labelled_share=0.5, labelled_seed=1) != half
    assert all(batch["labelled"].all() for batch in corpus.val_dataloader()[0])


def test_a_hidden_response_is_nowhere_in_the_batch(make: Make) -> None:
    corpus = make(labelled_share=0.3)
    for batch in corpus.train_dataloader():
        for index, label in enumerate(batch["labelled"].tolist()):
            _, said, places, _ = pieces(corpus, batch, index)
            assert bool(said) == bool(places) == bool(label)


def test_only_labelled_texts(make: Make) -> None:
    corpus = make(labelled_share=0.3, only_labelled=True, updates_per_epoch=30, pool_size=20)
    some = make(labelled_share=0.3)
    numbers = set()
    for batch in corpus.train_dataloader():
        assert bool(batch["labelled"].all())
        numbers |= set(batch["sample_id"].tolist())
    assert numbers == set(np.flatnonzero(some._labelled["train"]).tolist())


def test_sources_and_targets_for_encoder_decoders(make: Make) -> None:
    corpus = make(layout="pairs", labelled_share=0.5)
    single = make()
    start = corpus.tokenizer.pad_token_id
    for batch in corpus.train_dataloader():
        like = single._collator("train")(batch["sample_id"].numpy(), batch["sample_id"].numpy())
        sources = batch["input_ids"][batch["attention_mask"].bool()]
        assert torch.equal(sources, like["prompt_ids"][like["prompt_mask"].bool()])
        assert torch.equal(batch["prompt_ids"], batch["input_ids"])
        assert bool(batch["attention_mask"][:, 0].all())  # padded on the right
        width = batch["decoder_input_ids"].shape[1]
        for index, label in enumerate(batch["labelled"].tolist()):
            own = batch["rows"] // width == index
            targets = batch["targets"][own].tolist()
            theirs = like["rows"] // like["input_ids"].shape[1] == index
            assert targets == (like["targets"][theirs].tolist() if label else [])
            read = batch["decoder_input_ids"][index][batch["decoder_attention_mask"][index].bool()]
            assert read.tolist() == [start, *targets[:-1]]
            assert (batch["rows"][own] % width).tolist() == list(range(len(targets)))
        real = batch["decoder_attention_mask"].flatten().nonzero().squeeze(1)
        assert torch.equal(batch["tokens"], real)


def test_long_rows_are_left_out_whole_and_counted(make: Make, tmp_path: Path) -> None:
    lines = [*prompted.rows(60), {"q": "what? " * 40, "a": "1"}, {"q": "how?", "a": "3 4 " * 60}]
    lines += [{"q": "why? " * 60, "a": "no"}]
    source = PromptSource("xx", files=prompted.write(tmp_path / "long.jsonl", lines),
                          prompt="{q}", response="{a}")  # fmt: skip
    corpus = make(source, max_prompt_length=40)
    (report,) = corpus.report
    assert (report.rows, report.too_long, report.too_long_responses) == (63, 2, 1)
    assert sum(len(store.lengths) for store in corpus._stores.values()) == 60
    for split in ("train", "validation"):
        ends = np.cumsum(corpus._stores[split].lengths) - 1
        ids = corpus._stores[split].gather(np.arange(len(ends)))
        assert (ids[ends] == corpus.eos_ids[0]).all()  # nothing was cut


def test_broken_rows_and_empty_responses_are_counted_by_file(make: Make, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = prompted.rows(100)
    lines[3] = {"q": "", "a": "1"}
    lines[10]["a"] = "  "
    lines[11]["a"] = None
    del lines[12]["a"]
    lines[20]["a"] = 7
    lines[30]["a"] = "7!8"
    lines[31]["a"] = "7</s>8"  # text that quotes it
    path = prompted.write(tmp_path / "broken.jsonl", lines)
    source = PromptSource("xx", files=path, prompt="{q}", response="{a}")
    with pytest.raises(UserError, match=r"broken\.jsonl: 6 of 100 rows.*3 empty response.*line 4"):
        make(source, stop_tokens=["!"])
    (report,) = make(source, max_broken=0.1, stop_tokens=["!"]).report
    assert report.reasons == {
        "empty 'q'": 1, "empty response": 3, "no text": 1,
        "a response that holds an ending token": 1,
    }  # fmt: skip
    half = PromptSource("xx", files=path, prompt="{q}", response="{a}", partly_labelled=True)
    corpus = make(half, max_broken=0.1, stop_tokens=["!"])
    assert corpus.report[0].unlabelled == 3
    assert sum(int((~kept).sum()) for kept in corpus._labelled.values()) == 3


def test_texts_rendered_before_have_their_markers(make: Make, tmp_path: Path) -> None:
    lines = [{"q": f"<|user|>{n}?<|bot|>", "a": f"{n}<|stop|>"} for n in range(40)]
    path = prompted.write(tmp_path / "chats.jsonl", lines)
    for rendered, count in ((False, 0), (True, 1)):
        source = PromptSource("xx", files=path, prompt="{q}", response="{a}", rendered=rendered)
        corpus = make(source)
        ids = corpus.train.gather(np.arange(len(corpus.train.lengths))).tolist()
        bot = corpus.tokenizer.convert_tokens_to_ids("<|bot|>")
        assert ids.count(bot) == count * len(corpus.train.lengths)


def test_a_tokenizer_that_ends_prompts_is_warned_of(make: Make, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(prompted.tokenizer(tmp_path / "ending"))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.save_pretrained(tmp_path / "ending")
    with pytest.warns(UserWarning, match="puts an ending token behind every text"):
        corpus = make(tokenizer=str(tmp_path / "ending"))
    assert 2 not in next(iter(corpus.train_dataloader()))["prompt_ids"]


def test_a_response_inside_of_a_token_is_warned_of(make: Make, tmp_path: Path) -> None:
    lines = [{"q": f"{n} the old", "a": "river"} for n in range(40)]
    path = prompted.write(tmp_path / "space.jsonl", lines)
    source = PromptSource("xx", files=path, prompt="{q} ", response="{a}")
    with pytest.warns(UserWarning, match="xx: 40 responses begin inside of a token"):
        corpus = make(source)
    assert corpus.report[0].inside == 40


def test_rows_of_a_group_are_in_one_split_in_every_language(make: Make, tmp_path: Path) -> None:
    lines = [
        {"en": f"river {n}", "lang": lang, "to": f"{lang} {n}"}
        for n in range(60)
        for lang in ("hi", "de")
    ]
    path = prompted.write(tmp_path / "t.jsonl", lines)
    source = PromptSource(files=path, prompt="{language}: {en}\n", response="{to}", group="{en}",
                          language_column="lang")  # fmt: skip
    corpus = make(source)
    assert corpus.languages == ["de", "hi"]
    splits: dict[str, dict[str, set[str]]] = {}
    for split in ("train", "validation"):
        store = corpus._stores[split]
        for window in range(len(store.lengths)):
            text = corpus.tokenizer.decode(store.gather(np.array([window])))
            tag, _, rest = text.removeprefix("<s>").partition(": ")
            assert tag == corpus.languages[store.language[window]]
            splits.setdefault(split, {}).setdefault(tag, set()).add(rest.partition("\n")[0])
    assert splits["train"]["de"] == splits["train"]["hi"]
    assert splits["validation"]["de"] == splits["validation"]["hi"]
    assert not splits["train"]["de"] & splits["validation"]["hi"]


def test_given_validation_prompts_leave_training(make: Make, tmp_path: Path) -> None:
    held = prompted.write(tmp_path / "held.jsonl", prompted.rows(10, 20))
    source = PromptSource("xx", files="qa.xx.jsonl", validation=held, prompt="{q}", response="{a}")
    corpus = make(source)
    assert len(corpus._stores["validation"].lengths) == 10
    assert len(corpus.train.lengths) == 70
    assert corpus.report[-1].in_evaluation == 10


def test_batches_depend_on_the_seed_alone_and_resume(make: Make) -> None:
    def some(**options: Any) -> list[list[int]]:
        return [batch["sample_id"].tolist() for batch in make(**options).train_dataloader()]

    assert some(seed=1) == some(seed=1) == some(seed=1, num_workers=1) != some(seed=2)
    corpus = make(seed=1, labelled_share=0.5)
    stream = iter(corpus.train_dataloader())
    next(stream)
    state = corpus.state_dict()
    rest = next(stream)
    again = make(seed=1, labelled_share=0.5)
    again.load_state_dict(state)
    resumed = next(iter(again.train_dataloader()))
    assert all(torch.equal(rest[k], resumed[k]) for k in ("input_ids", "prompt_ids", "rows"))
    other = make(seed=1, labelled_share=0.6)
    other.load_state_dict(state)
    with pytest.raises(UserError, match="cannot be resumed on another order"):
        other.train_dataloader()


def test_any_split_over_ranks_and_steps_gives_the_same_updates(make: Make) -> None:
    corpus = make(labelled_share=0.5)
    updates = []
    for ranks, steps in ((1, 4), (2, 2), (4, 1)):
        own = [
            [batch["sample_id"].tolist() for batch in loader]
            for loader in (
                WindowLoader(corpus.plan(), corpus.collator(), 3, steps, rank, ranks)
                for rank in range(ranks)
            )
        ]
        updates.append(
            [sorted(b for of in own for b in of[u * steps : (u + 1) * steps]) for u in range(3)]
        )
    assert updates[0] == updates[1] == updates[2]


def test_room_for_responses_to_come(make: Make) -> None:
    for layout in ("decoder", "pairs"):
        corpus = make(response_room=50, layout=layout)
        for batch in corpus.train_dataloader():
            longest = int(batch["prompt_mask"].sum(1).max()) if layout == "decoder" else 0
            assert len(batch["prompt_ids"]) * (longest + 50) <= 256
    with pytest.raises(UserError, match="raise the budget"):
        make(response_room=300).train_dataloader()


def test_prompts_to_look_at_are_fixed_and_labelled_first(make: Make, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = prompted.rows(200)
    for line in lines[::2]:
        line["a"] = ""
    source = PromptSource("xx", files=prompted.write(tmp_path / "h.jsonl", lines), prompt="{q}",
                          response="{a}", partly_labelled=True)  # fmt: skip
    corpus = make(source, SOURCE)
    batch = corpus.sample_prompts("validation", 3, seed=0)
    again = make(source, SOURCE, seed=5).sample_prompts("validation", 3, seed=0)
    assert torch.equal(batch["prompt_ids"], again["prompt_ids"])
    assert batch["language"].tolist() == [0, 0, 0, 1, 1, 1]
    assert bool(batch["labelled"].all())
    other = corpus.sample_prompts("validation", 3, seed=1)
    assert batch["sample_id"].tolist() != other["sample_id"].tolist()


def test_what_cannot_work_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no EOS token"):
        make(tokenizer=prompted.tokenizer(tmp_path / "t", eos_token=None))
    with pytest.raises(UserError, match=r"stop_tokens names \['<x>'\]"):
        make(stop_tokens=["<x>"])
    with pytest.raises(UserError, match=r"labelled_share is 0.0: use a number in \(0, 1\]"):
        make(labelled_share=0.0)
    with pytest.raises(UserError, match="nothing is left for a response"):
        make(max_prompt_length=64)
    with pytest.raises(UserError, match="cannot begin with <x>"):
        make(layout="pairs", decoder_start="<x>")
    alone = PromptSource(files="qa.{language}.jsonl", prompt="{q}", response=None)
    with pytest.raises(UserError, match="No validation prompt of xx, yy has a response"):
        make(alone)
    with pytest.raises(UserError, match="let the teacher run"):
        make().provenance()
