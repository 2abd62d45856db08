"""From prompt and response to ids: one rendering, chat templates, ending tokens, templates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import prompted
import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.models import BPE, Unigram, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer
from transformers import PreTrainedTokenizerFast

from data_modules.prompting.form import PromptForm, PromptText
from data_modules.prompting.rendering import ChatTemplate, PlainText, Renderer
from data_modules.text.templates import PromptTemplate
from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer


def test_a_prompt_has_the_same_ids_alone_and_before_its_response(tmp_path: Path) -> None:
    """Where the border falls into a token of the whole text ("the old" + " river")."""
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path))
    whole = tokenizer("what is the old river")["input_ids"]
    assert max(len(tokenizer.decode(token)) for token in whole) > 3  # there are merges
    render = Renderer(tokenizer, PlainText())
    for cut in range(1, 20):
        prompt, response = "what is the old river"[:cut], "what is the old river"[cut:]
        alone, both = render([PromptText(prompt, None), PromptText(prompt, response)])
        assert alone.prompt == both.prompt == tokenizer(prompt)["input_ids"]
        assert both.response == [
            *tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id,
        ]  # fmt: skip
        assert alone.response is None
    assert whole != [*both.prompt, *both.response[:-1]] or cut == 19


def test_a_chat_template_ends_the_prompt_where_the_answer_begins(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path))
    rows = [PromptText("what is 3?", "three"), PromptText("what is 3?", None)]
    render = Renderer(tokenizer, ChatTemplate(system="old"), stop_tokens=["<|stop|>"])
    both, alone = render(rows)
    assert tokenizer.decode(both.prompt) == "<s>old\n<|user|>what is 3?<|bot|>"  # <s> once
    assert tokenizer.decode(both.response) == "three<|stop|>"  # not the line break behind it
    assert alone.prompt == both.prompt
    assert render.eos_ids == [tokenizer.eos_token_id, tokenizer.get_vocab()["<|stop|>"]]
    # a template whose answers end with no token that ends texts gets one
    (ended,) = Renderer(tokenizer, ChatTemplate())(rows[:1])
    assert tokenizer.decode(ended.response) == "three<|stop|>\n</s>"


def test_a_template_that_changes_the_prompt_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path, chat=prompted.FORGETFUL))
    message = r"<\|bot\|>\(th' it has 'ink\)' alone and 'ought\)three.* PlainText"
    with pytest.raises(UserError, match=message):
        Renderer(tokenizer, ChatTemplate())([PromptText("what is 3?", "three")])


def test_what_cannot_be_rendered_is_refused(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path, chat=None))
    with pytest.raises(UserError, match="no chat template"):
        Renderer(tokenizer, ChatTemplate())([PromptText("a", "b")])
    with pytest.raises(UserError, match="no chat templates"):
        Renderer(tokenizer, ChatTemplate(), pairs=True)


def test_an_ending_token_inside_of_a_response_is_a_broken_row(tmp_path: Path) -> None:
    """A text that quotes it holds none; a stop that is an ordinary token is one wherever it is."""
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path))
    for rendering in (PlainText(), ChatTemplate()):
        render = Renderer(tokenizer, rendering, ["<|stop|>", "!"])
        texts = ("b", "b<|stop|>c", "b!c")
        plain, quoting, odd = render([PromptText("a", text) for text in texts])
        assert not plain.problem
        assert not quoting.problem
        assert "ending token" in odd.problem


SPECIAL = ["<s>", "</s>", "[MASK]", "<|bot|>"]
TEXT = "the old river runs past seven houses, where cats sleep"


def byte_bpe(bos: str) -> Any:
    engine = ByteLevelBPETokenizer()
    engine.train_from_iterator([TEXT] * 5, 300, special_tokens=SPECIAL, show_progress=False)
    return wrapped(engine._tokenizer, bos)


def sentencepiece(bos: str, always: bool = True) -> Any:
    """BPE as Llama and Gemma have it: spaces are marks, one before every text or before none."""
    engine = Tokenizer(BPE(unk_token="<unk>"))
    engine.pre_tokenizer = Metaspace(prepend_scheme="always" if always else "never")
    trainer = BpeTrainer(
        vocab_size=120, special_tokens=[*SPECIAL, "<unk>"], show_progress=False,
        initial_alphabet=list("\n:▁[]<>|/MASKs"),
    )  # fmt: skip
    engine.train_from_iterator([TEXT] * 5, trainer)
    return wrapped(engine, bos)


def unigram(bos: str) -> Any:
    """With control tokens in the model's own vocabulary, as the ones of XLM-R."""
    engine = Tokenizer(Unigram())
    engine.pre_tokenizer = Metaspace()
    trainer = UnigramTrainer(
        vocab_size=90, special_tokens=[*SPECIAL, "<unk>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=list("\n:▁[]<>|/MASK"),
    )  # fmt: skip
    engine.train_from_iterator([TEXT] * 5, trainer)
    return wrapped(engine, bos)


def wordpiece(bos: str) -> Any:
    engine = Tokenizer(WordPiece(unk_token="<unk>"))
    engine.normalizer = BertNormalizer(clean_text=False, lowercase=False)
    engine.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=130, special_tokens=[*SPECIAL, "<unk>"], show_progress=False,
        initial_alphabet=list(":[]<>|/MASKs"),
    )  # fmt: skip
    engine.train_from_iterator([TEXT] * 5, trainer)
    return wrapped(engine, bos)


def characters(bos: str) -> Any:
    """A token for every byte of UTF-8, as ByT5 has them."""
    vocabulary = {token: number for number, token in enumerate(SPECIAL)}
    vocabulary |= {
        letter: len(SPECIAL) + i for i, letter in enumerate(sorted(ByteLevel.alphabet()))
    }
    engine = Tokenizer(BPE(vocabulary, []))
    engine.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    engine.add_special_tokens(SPECIAL)
    return wrapped(engine, bos)


def wrapped(engine: Tokenizer, bos: str) -> Any:
    if bos:
        engine.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, engine.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=engine, bos_token="<s>", eos_token="</s>", mask_token="[MASK]",
        extra_special_tokens=["<|bot|>"],
    )  # fmt: skip


KINDS = [
    pytest.param(byte_bpe, id="byte-level BPE"),
    pytest.param(sentencepiece, id="SentencePiece BPE"),
    pytest.param(partial(sentencepiece, always=False), id="without a mark before the text"),
    pytest.param(unigram, id="Unigram"),
    pytest.param(wordpiece, id="WordPiece"),
    pytest.param(characters, id="bytes"),
]


@pytest.mark.parametrize("bos", ["", "<s>"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["past:\n", "river\n", "the old:", "cats"])
@pytest.mark.parametrize("response", ["cats sleep", " cats", "\nseven"])
def test_both_are_what_the_tokenizer_gives_for_the_whole_text(
    kind: Callable[[str], Any], bos: str, prompt: str, response: str
) -> None:
    """No space before a response that the text does not have, and none lost that it has."""
    tokenizer = kind(bos)
    whole = tokenizer(prompt + response)["input_ids"]
    (both,) = Renderer(tokenizer, PlainText())([PromptText(prompt, response)])
    assert both.prompt == tokenizer(prompt)["input_ids"]
    assert both.response[-1] == tokenizer.eos_token_id
    if both.inside:  # the old + river: a token of the whole reaches over the border
        assert whole[: len(both.prompt)] != both.prompt
    else:
        assert [*both.prompt, *both.response[:-1]] == whole
    assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in whole


def test_a_sentencepiece_response_has_no_space_of_its_own() -> None:
    """Of the issue: a template that ends in a line break."""
    tokenizer = sentencepiece("")
    (both,) = Renderer(tokenizer, PlainText())([PromptText("past:\n", "cats")])
    alone = tokenizer("cats", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(alone)[0][0] == "▁"
    pieces = tokenizer.convert_ids_to_tokens([*both.prompt, *both.response[:-1]])
    assert "".join(pieces) == "▁past:\ncats"
    assert not both.inside


def test_a_response_that_begins_inside_of_a_token_is_cut_apart() -> None:
    """A prompt that ends in a space: the whole text has the space in the response's first word."""
    for kind in (byte_bpe, sentencepiece, partial(sentencepiece, always=False)):
        tokenizer = kind("")
        whole, both = tokenizer("the river")["input_ids"], PromptText("the ", "river")
        (found,) = Renderer(tokenizer, PlainText())([both])
        assert found.inside
        assert found.prompt == tokenizer("the ")["input_ids"]
        ids = [*found.prompt, *found.response[:-1]]
        assert ids != whole
        pieces = "".join(tokenizer.convert_ids_to_tokens(ids)).replace("Ġ", "▁")
        assert pieces.removeprefix("▁") == "the▁river"  # no second space


@pytest.mark.parametrize("kind", KINDS)
def test_markers_of_the_data_are_text_and_those_of_the_template_control(
    kind: Callable[[str], Any],
) -> None:
    tokenizer = kind("<s>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '[MASK]' if m.role == 'user' else '' }}{{ m.content }}"
        "{{ '<|bot|>' if m.role == 'user' else '</s>' }}{% endfor %}"
    )
    control = {token: tokenizer.get_vocab()[token] for token in SPECIAL}
    form = PromptForm(
        PromptTemplate("[MASK]{q}<|bot|>"), PromptTemplate("{a}"), None, False, None, "xx", False
    )
    quoting = form({"q": "past [MASK] <|bot|> </s>", "a": "old </s>[MASK]"})
    chat = PromptText("past [MASK] <|bot|> </s>", "old </s>[MASK]")
    for rendering, row in ((PlainText(), quoting), (ChatTemplate(), chat)):
        (found,) = Renderer(tokenizer, rendering)([row])
        assert not found.problem
        special = [token for token in found.prompt if token in control.values()]
        before = ["<s>"] * (not rendering.chat)
        assert special == [control[token] for token in (*before, "[MASK]", "<|bot|>")]
        assert found.prompt[-1] == control["<|bot|>"]
        ends = [token for token in found.response if token in control.values()]
        assert ends == [control["</s>"]] == found.response[-1:]


def test_templates_name_columns() -> None:
    wording = PromptTemplate("{language}: {text} {{x}} {more?}")
    assert (wording.required, wording.columns) == (["text"], ["text", "more"])
    assert wording({"text": "a"}, "hi") == "hi: a {x} "
    assert wording({"text": "a", "more": "b"}, "hi") == "hi: a {x} b"
    for bad in ("{", "{}", "{0:3}", "{a!r}", "{?}"):
        with pytest.raises(UserError, match="template"):
            PromptTemplate(bad)
