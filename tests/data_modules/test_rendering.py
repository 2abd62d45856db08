"""From prompt and response to ids: one rendering, chat templates, ending tokens, templates."""

from __future__ import annotations

from pathlib import Path

import prompted
import pytest

from data_modules.prompt_sources import PromptText
from data_modules.rendering import ChatTemplate, PlainText, Renderer
from data_modules.wording import Wording
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
    tokenizer = load_tokenizer(prompted.tokenizer(tmp_path))
    for rendering in (PlainText(), ChatTemplate()):
        render = Renderer(tokenizer, rendering, ["<|stop|>"])
        plain, odd = render([PromptText("a", "b"), PromptText("a", "b<|stop|>c")])
        assert not plain.problem
        assert "ending token" in odd.problem


def test_templates_name_columns() -> None:
    wording = Wording("{language}: {text} {{x}} {more?}")
    assert (wording.required, wording.columns) == (["text"], ["text", "more"])
    assert wording({"text": "a"}, "hi") == "hi: a {x} "
    assert wording({"text": "a", "more": "b"}, "hi") == "hi: a {x} b"
    for bad in ("{", "{}", "{0:3}", "{a!r}", "{?}"):
        with pytest.raises(UserError, match="template"):
            Wording(bad)
