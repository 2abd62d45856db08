"""Where texts are cut, and what stands around them: a decoder sees every text end, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentences
from lightning.pytorch import Trainer
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from data_modules import (
    MaskedTokens,
    MultilingualCorpus,
    NextToken,
    NoTargets,
    Objective,
    ParallelCorpus,
    ParallelSource,
    Source,
)
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.tokenising import Cutter, Settings, fingerprint
from data_modules.text.framing import Frame
from lit_distill.errors import UserError

END = "<|endoftext|>"
DOCUMENTS = 194


def gpt2(template: str | None = None, **special: str) -> Any:
    """A byte-level tokenizer as GPT-2's, which puts nothing around texts, or as `template` says."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        sentences("en", 300), vocab_size=300, special_tokens=[END, "<s>"], show_progress=False
    )
    if template is not None:
        numbers = [(token, trained.token_to_id(token)) for token in (END, "<s>")]
        trained.post_processor = TemplateProcessing(single=template, special_tokens=numbers)
    given = special or {"eos_token": END, "bos_token": END}
    return PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **given)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """One text a line; some fill their windows to the last place."""
    parts = sentences("en", 4 * DOCUMENTS)
    lines = [" ".join(parts[i::DOCUMENTS][: 1 + i % 4]) for i in range(DOCUMENTS)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "dev.txt").write_text("\n".join(sentences("en", 9, seed=1)) + "\n")
    return tmp_path


def corpus_of(folder: Path, tokenizer: Any, objective: Objective, length: int = 16) -> Any:
    tokenizer.save_pretrained(folder / "tokenizer")
    source = Source(language="en", files="train.txt", validation="dev.txt")
    corpus = MultilingualCorpus(
        [source],
        data_dir=str(folder),
        cache_dir=str(folder / "cache"),
        tokenizer=str(folder / "tokenizer"),
        objective=objective,
        max_length=length,
        batch_tokens=256,
    )
    corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    corpus.prepare_data()
    corpus.setup("fit")
    return corpus


@pytest.mark.parametrize("length", [8, 16, 30])
@pytest.mark.parametrize("template", [None, f"$A {END}", "<s> $A"])
@pytest.mark.parametrize("objective", [NextToken(), NextToken(bos=True)])
def test_every_document_ends_once(
    documents: Path, objective: Objective, template: str | None, length: int
) -> None:
    """Of 194 documents of GPT-2's tokenizer 0 ended, and with others each window."""
    tokenizer = gpt2(template)
    corpus = corpus_of(documents, tokenizer, objective, length)
    store, eos = corpus.train, tokenizer.eos_token_id
    assert len(store.lengths) > DOCUMENTS
    batch = corpus.collator()(np.arange(len(store.lengths)), np.zeros(len(store.lengths), int))
    assert int((batch["targets"] == eos).sum()) == DOCUMENTS
    assert store.lengths.max() == length
    assert corpus.eos_ids == [eos]
    flat = store.gather(np.arange(len(store.lengths)))
    special = [eos, tokenizer.convert_tokens_to_ids("<s>")]
    texts = (documents / "train.txt").read_text().splitlines()
    whole = [i for text in texts for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert flat[~np.isin(flat, special)].tolist() == whole
    for window in np.split(flat, np.cumsum(store.lengths)[:-1]):
        assert (~np.isin(window, special)).sum() >= 1  # no window of nothing but an end
        if template != "<s> $A" and objective == NextToken(bos=True):
            assert window[0] == eos


def test_validation_and_texts_without_targets_end_as_well(documents: Path) -> None:
    tokenizer = gpt2()
    for objective in (NextToken(), NoTargets()):
        corpus = corpus_of(documents, tokenizer, objective)
        batches = [batch for loader in corpus.val_dataloader() for batch in loader]
        ends = sum(int((batch["targets"] == tokenizer.eos_token_id).sum()) for batch in batches)
        assert ends == 9


def test_a_window_that_is_just_full_gives_a_token_to_the_end() -> None:
    frame = Frame((1,), (), (2, 3))
    for length in range(1, 30):
        windows = frame.cut(np.array([length]), 8)
        assert windows.inside.sum() == length
        assert windows.inside.min() >= 1
        assert windows.lengths.max() <= 8
    assert frame.cut(np.array([6]), 8).inside.tolist() == [5, 1]
    assert frame.cut(np.array([5, 0, 12]), 8).counts.tolist() == [1, 0, 2]
    with pytest.raises(UserError, match=r"leaves no room beside 1 \+ 2 special tokens"):
        frame.cut(np.array([5]), 3)


def test_masked_models_read_what_they_read_before(tiny_bert: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    frame, settings = MaskedTokens().frame(tokenizer), Settings(8, 50, True)
    assert frame == Frame((tokenizer.cls_token_id,), (tokenizer.sep_token_id,))
    assert NoTargets().frame(tokenizer) == frame
    assert fingerprint([], tokenizer, settings, frame) == fingerprint([], tokenizer, settings)
    ends = NextToken().frame(tokenizer)
    assert ends == Frame((tokenizer.cls_token_id,), (), (tokenizer.sep_token_id,))
    assert fingerprint([], tokenizer, settings, ends) != fingerprint([], tokenizer, settings)
    numbered = list(enumerate(sentences("en", 20), 1))
    flat, lengths = Cutter(tokenizer, 8, ends).windows(numbered, FileReport("file", "xx"))
    assert (flat == tokenizer.sep_token_id).sum() == 20 < len(lengths)


def test_a_tokenizer_without_an_end_is_reported() -> None:
    tokenizer = gpt2(pad_token="<s>")
    with pytest.warns(UserWarning, match="names no EOS token, so a decoder is never shown"):
        assert NextToken().frame(tokenizer) == Frame()


def test_pairs_end_too(tmp_path: Path) -> None:
    tokenizer = gpt2()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for language, seed in (("aa", 0), ("bb", 1)):
        lines = sentences("en", 60, seed)
        (tmp_path / f"p.{language}.txt").write_text("\n".join(lines) + "\n")
    corpus = ParallelCorpus(
        [ParallelSource("p.{language}.txt")],
        data_dir=str(tmp_path),
        cache_dir=str(tmp_path / "cache"),
        tokenizer=str(tmp_path / "tokenizer"),
        objective=NextToken(),
        max_length=64,
        batch_tokens=256,
        holdout=5,
    )
    corpus.prepare_data()
    corpus.setup("fit")
    store = corpus.train
    flat = store.gather(np.arange(len(store.lengths)))
    assert (flat[np.cumsum(store.lengths) - 1] == tokenizer.eos_token_id).all()
    assert (flat == tokenizer.eos_token_id).sum() == len(store.lengths)
