"""Words and tokens: which tokens are pieces of which word, in any script and with any tokenizer."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from data_modules import AnswerSpans, LabelledSource, MultipleChoice, Regression, TokenLabels
from data_modules.tasks.words import joined, located, pieces

SENTENCES = {
    "en": ["Anna", "'s", "dog", "runs", "."],
    "de": ["Größe", "zählt", "."],
    "hi": ["मोदी", "दिल्ली", "में", "हैं", "।"],
    "zh": ["北京", "是", "中国", "的", "首都", "。"],
    "ja": ["東京", "は", "大き", "い", "。"],
    "th": ["กรุงเทพฯ", "เป็น", "เมือง"],
    "ar": ["القاهرة", "مدينة"],
    "mix": ["मैं", "office", "जा", "रहा", "हूँ"],
    "zh-en": ["我", "用", "Python", "写", "代码"],
}
TEXTS = {
    "en": "Anna 's dog runs .",
    "hi": "मोदी दिल्ली में हैं ।",
    "zh": "北京是中国的首都。",
    "ja": "東京は大きい。",
    "th": "กรุงเทพฯเป็นเมือง",
    "zh-en": "我用Python写代码",
}


def wordpiece() -> Tokenizer:
    letters = sorted({letter for words in SENTENCES.values() for word in words for letter in word})
    names = ["[UNK]", *letters, *(f"##{letter}" for letter in letters), "dog", "मो", "##दी"]
    made = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def unigram() -> Tokenizer:
    letters = sorted({letter for words in SENTENCES.values() for word in words for letter in word})
    longer = ["▁dog", "▁मो", "京是", "▁我用", "Py", "▁"]
    names = [("<unk>", -20.0), *((one, -5.0) for one in letters), *((one, -4.0) for one in longer)]
    made = Tokenizer(models.Unigram(names, 0, False))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {one: i for i, one in enumerate([*alphabet, "do"])}
    made = Tokenizer(models.BPE(vocabulary, [("d", "o")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


TOKENIZERS = {"WordPiece": wordpiece, "Unigram": unigram, "bytes": byte_level}


@pytest.mark.parametrize("language", TEXTS)
def test_words_have_spaces_where_their_script_has_them(language: str) -> None:
    text, spans = joined(SENTENCES[language])
    assert text == TEXTS[language]
    assert [text[start:end] for start, end in spans] == SENTENCES[language]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("language", SENTENCES)
def test_every_word_keeps_its_label(language: str, kind: str) -> None:
    """Its first piece begins it; all its pieces lie in it; none is lost but to a longer token."""
    words = SENTENCES[language]
    text, spans = joined(words)
    encoding = TOKENIZERS[kind]().encode(text, add_special_tokens=False)
    given = text, spans, encoding.tokens, encoding.offsets
    every, first = list(pieces(*given, first=False)), list(pieces(*given, first=True))
    covered = "京是" in encoding.tokens, "▁我用" in encoding.tokens  # tokens of two words
    lost = {1} if any(covered) else set()
    assert {word for _, word in every} == {*range(len(words))} - lost
    assert [word for _, word in first] == sorted({word for _, word in every})
    assert first == [next(p for p in every if p[1] == word) for _, word in first]
    assert [place for place, _ in every] == sorted({place for place, _ in every})
    for place, word in every:
        start, end = encoding.offsets[place]
        begins = start + len(text[start:end]) - len(text[start:end].lstrip())
        assert spans[word][0] <= begins < spans[word][1]
        assert encoding.tokens[place].strip("▁Ġ")


def test_a_token_of_two_words_is_the_first_ones() -> None:
    text, spans = joined(["北", "京是", "中"])
    encoding = unigram().encode(text, add_special_tokens=False)
    assert [w for _, w in pieces(text, spans, encoding.tokens, encoding.offsets, True)] == [0, 1, 2]
    text, spans = joined(["北", "京", "是", "中"])
    encoding = unigram().encode(text, add_special_tokens=False)
    assert [w for _, w in pieces(text, spans, encoding.tokens, encoding.offsets, True)] == [0, 1, 3]


def test_words_are_found_in_the_text_as_it_was_written() -> None:
    assert located("Anna's dog, a dog.", ["Anna", "'s", "dog", ",", "a", "dog", "."]) == [
        (0, 4), (4, 6), (7, 10), (10, 11), (12, 13), (14, 17), (17, 18),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="first is 'cat'"):
        located("Anna's dog", ["Anna", "cat"])


ASKED = {"question": "q", "context": "a cat"}
BROKEN = [
    (TokenLabels(), {"tokens": '["a", "b"]', "tags": '["X"]'}, r"unequal number \(2 and 1\)"),
    (TokenLabels(), {"tokens": '"a b"', "tags": '["X"]'}, "'tokens' is no list of texts"),
    (TokenLabels(), {"tokens": '["a", " "]', "tags": '["X", "Y"]'}, "'tokens' has an empty text"),
    (Regression(), {"text": "a", "label": '"much"'}, r"no number \('much'\)"),
    (Regression(), {"text": "a", "label": "null"}, "no number"),
    (Regression(), {"text": "a", "label": "true"}, "no number"),
    (Regression(), {"text": "a", "label": "NaN"}, "no number"),
    (MultipleChoice(), {"text": "a", "one": "b", "two": "c", "label": "2"}, "numbered 0 to 1"),
    (AnswerSpans(), {**ASKED, "answer": '"dog"', "answer_start": "2"}, "not at its start"),
    (AnswerSpans(), {**ASKED, "answer": '"cat"', "answer_start": "null"}, "without a start"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "cells", "said"), BROKEN)
def test_what_is_wrong_with_a_row_is_told(task, cells: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task.text(cells, LabelledSource("en", choices=["one", "two"]))


def test_the_right_choice_is_known_by_number_column_or_text() -> None:
    source = LabelledSource("en", choices=["one", "two"], question="question")
    cells = {"text": "a", "question": "effect", "one": "b", "two": "c"}
    for label in ("1", "two", "c"):
        row = MultipleChoice().text({**cells, "label": label}, source)
        assert (row.reads, row.label) == ((("a effect", "b"), ("a effect", "c")), "1")
    listed = MultipleChoice().text(
        {"text": "a", "all": json.dumps(["b", "c"]), "label": "0"}, LabelledSource(choices="all")
    )
    assert listed.choices == ("b", "c")


def test_answers_come_as_squad_has_them_and_may_be_missing() -> None:
    cells = {"question": "q", "context": "a cat"}
    squad = json.dumps({"text": ["cat", "a cat"], "answer_start": [2, 0]})
    source = LabelledSource(answer="answers", start=None)
    assert AnswerSpans().text({**cells, "answers": squad}, source).words == ((2, 5),)
    for none in ('{"text": [], "answer_start": []}', "null", '""'):
        assert AnswerSpans().text({**cells, "answers": none}, source).words == ()
