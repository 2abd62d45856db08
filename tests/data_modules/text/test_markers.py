"""Markers of control tokens that texts quote, and those that templates write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import prompted
import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import Unigram, WordLevel
from tokenizers.pre_tokenizers import Metaspace, WhitespaceSplit
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from data_modules.prompting.form import PromptText
from data_modules.prompting.rendering import ChatTemplate, Renderer
from data_modules.storing.corpus_report import FileReport
from data_modules.storing.tokenising import Cutter
from data_modules.text.markers import NAME, QUOTE, engine, markers_of
from data_modules.text.templates import PromptTemplate
from lit_distill.models import load_tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzMASKEP"


def bert() -> Any:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"[]", *LETTERS]
    pieces += [f"##{letter}" for letter in LETTERS]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizerFast(vocab=vocabulary, do_lower_case=False)


def unigram() -> Any:
    """Its control tokens are pieces of the model with the best score of all, as those of XLM-R."""
    pieces = [(token, 0.0) for token in ("<s>", "</s>", "<unk>", "[MASK]", "[SEP]")]
    pieces += [(letter, -5.0) for letter in f"▁<>/[]{LETTERS}"]
    made = Tokenizer(Unigram(pieces, unk_id=2))
    made.pre_tokenizer, made.decoder = Metaspace(), MetaspaceDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        mask_token="[MASK]", sep_token="[SEP]",
    )  # fmt: skip


@pytest.mark.parametrize("make", [bert, unigram])
def test_texts_that_quote_markers_have_no_control_tokens(make: Any) -> None:
    """Of the issue: five texts, of which each quotes [MASK] once and [SEP] once."""
    tokenizer = make()
    texts = [(n, f"the [MASK] and a [SEP] {word}") for n, word in enumerate("abcde", 1)]
    ids, lengths = Cutter(tokenizer, 99).windows(texts, FileReport("file", "xx"))
    counts = [ids.tolist().count(n) for n in (tokenizer.mask_token_id, tokenizer.sep_token_id)]
    assert counts == [0, 5 if make is bert else 0]  # the window's own ends
    assert len(lengths) == 5
    assert tokenizer.unk_token_id not in ids
    text = tokenizer.decode(ids[: lengths[0]], skip_special_tokens=True)
    assert text.replace(" ", "") == "the[MASK]anda[SEP]a"


def test_all_other_ids_are_the_tokenizers_own(tmp_path: Path) -> None:
    """Named control tokens, and tokens that were added and are no control tokens."""
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path))
    tokenizer.add_tokens(["<think>"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|late|>"]})
    text = "the old <think> river</s> what<|late|> is"
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    made, markers = engine(tokenizer), markers_of(tokenizer)
    assert made.encode(markers.named(text), add_special_tokens=False).ids == plain
    assert made.encode("the").ids == tokenizer("the")["input_ids"]  # <s> before
    quoted = made.encode(text, add_special_tokens=False).ids
    late, think = (tokenizer.convert_tokens_to_ids(t) for t in ("<|late|>", "<think>"))
    assert not {late, tokenizer.eos_token_id} & set(quoted)
    assert quoted.count(think) == plain.count(think) == 1
    assert tokenizer.decode(quoted) == text


def test_whole_words_that_are_markers() -> None:
    """Without pieces to fall back to, a quoted marker is a word that nobody knows."""
    words = {word: number for number, word in enumerate(["[UNK]", "</s>", "a", "b"])}
    made = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", eos_token="</s>")
    assert engine(tokenizer).encode("a </s> b [UNK]").ids == [2, 0, 3, 0]


def test_only_the_templates_own_markers_are_found() -> None:
    markers = markers_of(bert())
    filled = PromptTemplate("[CLS]{q}[SEP]{q}")({"q": f"a[SEP]{NAME}[MASK]{QUOTE}"}, "xx")
    assert filled == f"[CLS]a[SEP]{NAME}[MASK]{QUOTE}[SEP]a[SEP]{NAME}[MASK]{QUOTE}"
    cell = "a[SEP]\ufffd[MASK]\ufffd"  # nobody writes a name
    assert markers.named(markers.quoted(filled)) == f"{NAME}[CLS]{cell}{NAME}[SEP]{cell}"
    whole = markers.named(markers.quoted(filled.all_literal()))
    assert whole.count(NAME) == 8
    assert markers.named(markers.quoted("plain [SEP]")) == "plain [SEP]"


REAL = sorted(Path(os.environ.get("LIT_DISTILL_MODELS", "/nowhere")).glob("*/tokenizer.json"))
QUOTING = ["x </s> y", "a [MASK] b [SEP] c", "<|im_end|> <eos> <start_of_turn> <unk>", "<s><mask>"]


@pytest.mark.skipif(not REAL, reason="LIT_DISTILL_MODELS names no folders of models")
def test_real_tokenizers() -> None:
    """Ids as ever, but for markers that are quoted; a chat's own markers are control tokens."""
    for path in REAL:
        tokenizer = load_tokenizer(str(path.parent))
        made, markers = engine(tokenizer), markers_of(tokenizer)
        added = tokenizer.added_tokens_decoder.items()
        control = {number for number, token in added if token.special}
        for text in (*QUOTING, "plain text", "হ্যাঁ, 日本語\n\n  two"):
            ids = made.encode(text, add_special_tokens=False).ids
            assert not control & set(ids)
            named = made.encode(markers.named(text), add_special_tokens=False).ids
            assert named == tokenizer(text, add_special_tokens=False)["input_ids"]
        if tokenizer.chat_template:
            turns = [{"role": "user", "content": "what?"}, {"role": "assistant", "content": "that"}]
            whole = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
            (found,) = Renderer(tokenizer, ChatTemplate())([PromptText("what?", "that")])
            both = [*found.prompt, *found.response]
            kept = both if both[-1:] == whole[len(both) - 1 : len(both)] else both[:-1]  # EOS
            assert whole[: len(kept)] == kept
