"""Cutting texts into windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from data_modules.storing.corpus_report import FileReport, check_broken
from data_modules.storing.tokenising import Cutter, Settings, fingerprint
from lit_distill.errors import UserError

WORDS = {
    word: number
    for number, word in enumerate(["[UNK]", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g", "h"])
}


def tokenizer(template: str | None) -> Any:
    backend = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    if template is not None:
        special = [(token, WORDS[token]) for token in ("<s>", "</s>")]
        backend.post_processor = TemplateProcessing(single=template, special_tokens=special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


@pytest.mark.parametrize("template", [None, "<s> $A", "$A </s>", "<s> $A </s> </s>"])
@pytest.mark.parametrize("room", [1, 3, 4, 7])
def test_windows_are_framed_parts_of_their_texts(template: str | None, room: int) -> None:
    around = (template or "").split()
    before = [WORDS[t] for t in around[: around.index("$A")]] if around else []
    after = [WORDS[t] for t in around[around.index("$A") + 1 :]] if around else []
    report = FileReport("file", "xx")
    texts = ["a b c d e f g h", "a", "d e f g", "", "h g f e d"]
    cutter = Cutter(tokenizer(template), room + len(before) + len(after))
    flat, lengths = cutter.windows(list(enumerate(texts, 1)), report)
    expected = []
    for text in texts:
        ids = [WORDS[word] for word in text.split()]
        expected += [before + ids[i : i + room] + after for i in range(0, len(ids), room)]
    found = np.split(flat, np.cumsum(lengths)[:-1])
    assert [window.tolist() for window in found] == expected
    assert (report.broken, report.first) == (1, "first at row 4: no tokens ('')")


def test_no_texts_no_windows() -> None:
    flat, lengths = Cutter(tokenizer(None), 4).windows([], FileReport("file", "xx"))
    assert (len(flat), len(lengths)) == (0, 0)


def test_a_tokenizer_set_to_truncate_changes_nothing() -> None:
    plain, cut = tokenizer("<s> $A </s>"), tokenizer("<s> $A </s>")
    cut.backend_tokenizer.enable_truncation(3)
    cut.backend_tokenizer.enable_padding(length=9)
    settings = Settings(8, 50, True)
    before = cut.backend_tokenizer.to_str()
    assert fingerprint([], cut, settings) == fingerprint([], plain, settings)
    flat, lengths = Cutter(cut, 8).windows([(1, "a b c d e f g h")], FileReport("file", "xx"))
    assert lengths.tolist() == [8, 4]
    assert cut.backend_tokenizer.to_str() == before
    assert len(flat) == 12


def test_fingerprints_know_what_matters() -> None:
    marks = {
        fingerprint([], tokenizer(template), settings)
        for template in (None, "<s> $A")
        for settings in (Settings(8, 50, True), Settings(9, 50, True), Settings(8, 50, False))
    }
    assert len(marks) == 6


def test_the_share_of_broken_rows_is_a_limit_not_a_goal() -> None:
    report = FileReport("a.txt", "xx", rows=200)
    for number in (7, 9):
        report.note(f"first at line {number}", "not UTF-8 (byte 3)")
    check_broken([report], 0.01)
    report.note("first at line 10", "empty")
    with pytest.raises(UserError) as error:
        check_broken([report], 0.01)
    for part in ("a.txt: 3 of 200", "2 not UTF-8, 1 empty", "first at line 7", "max_broken"):
        assert part in str(error.value)


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"leaves no room beside 1 \+ 2 special tokens"):
        Cutter(tokenizer("<s> $A </s> </s>"), 3)
