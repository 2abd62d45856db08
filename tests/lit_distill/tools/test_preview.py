"""Prompts as student and teacher read them, and where their templates differ."""

from __future__ import annotations

import json
from pathlib import Path

import prompted
import pytest

from lit_distill.__main__ import main


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Options for a corpus of two languages, rendered with the student's chat template."""
    for language, offset in (("xx", 0), ("yy", 1000)):
        prompted.write(tmp_path / f"qa.{language}.jsonl", prompted.rows(9, offset))
    source = {"files": "qa.{language}.jsonl", "prompt": "{q}", "response": "{a}"}
    options = {
        "sources": [source], "data_dir": str(tmp_path), "rendering": {"class_path": "ChatTemplate"},
        "stop_tokens": ["<|stop|>"], "tokenizer": prompted.tokenizer(tmp_path / "student"),
    }  # fmt: skip
    config = tmp_path / "data.yaml"
    config.write_text(json.dumps({"data": {"class_path": "PromptCorpus", "init_args": options}}))
    return ["preview", "--config", str(config)]


def test_three_examples_of_the_languages_in_turn(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked) == 0
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line[0].isdigit()] == ["1. xx", "2. yy", "3. xx"]
    assert "'<s><|user|>what is 0 plus 0?<|bot|>'" in out
    assert "'0<|stop|>'" in out
    assert out.count("teacher  the same") == 3
    assert not err


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (prompted.CHAT.replace("<s>{%", "<s>\n{%"), "differ in the prompt: '<s><|user|>what"),
        (prompted.CHAT.replace("<|stop|>\n", "<|stop|>"), "differ in the response: '0<|stop|>"),
        (None, "cannot render row 1: The tokenizer has no chat template"),
        (prompted.FORGETFUL, "cannot render row 1: The tokenizer's chat template does not"),
    ],
)
def test_other_templates_of_the_teacher_are_named(
    asked: list[str], chat: str | None, message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    teacher = prompted.tokenizer(tmp_path / "teacher", chat=chat)
    assert main([*asked, "--teacher", teacher, "--examples", "1"]) == 0
    err = capsys.readouterr().err
    assert message in err
    assert "in training both read the student's rendering" in err


def test_other_tokens_under_equal_templates(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = prompted.tokenizer(tmp_path / "teacher", texts=["what is"])
    assert main([*asked, "--teacher", teacher]) == 0
    assert "the texts are equal and their tokens are not" in capsys.readouterr().err


def test_a_chat_template_without_an_ending_token_is_warned_of(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*asked, "--data.stop_tokens", "[]", "--examples", "1"]) == 0
    out, err = capsys.readouterr()
    assert "'0<|stop|>\\n</s>'" in out
    assert "row 1 ends with '0<|stop|>\\n' by the chat template, where no token ends" in err


def test_chats_of_several_turns_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chats = [{"messages": [{"role": "user", "content": "hi"}], "a": "b"} for _ in range(3)]
    prompted.write(tmp_path / "chats.jsonl", chats)
    source = {"files": "chats.jsonl", "language": "xx", "prompt": "{messages}", "response": "{a}"}
    options = {"sources": [source], "data_dir": str(tmp_path),
               "tokenizer": prompted.tokenizer(tmp_path / "student")}  # fmt: skip
    config = tmp_path / "data.yaml"
    config.write_text(json.dumps({"data": {"class_path": "PromptCorpus", "init_args": options}}))
    command = ["preview", "--config", str(config)]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "chats.jsonl: 3 of 3 rows are broken (3 no text in 'messages'" in err
    assert "chats of several turns are not read: make a row of each prompt" in err
    # As a response, and as a column that is not there.
    for response, reason in (("{messages}", "no text in 'messages'"), ("{b}", "(no 'b')")):
        changed = [{**source, "prompt": "{a}", "response": response}]
        assert main([*command, "--data.sources", json.dumps(changed)]) == 2
        assert reason in capsys.readouterr().err
    (tmp_path / "chats.jsonl").write_text("")
    assert main(command) == 2
    assert "Its files are empty" in capsys.readouterr().err


def test_broken_rows_on_the_way_are_counted(
    asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompted.write(tmp_path / "qa.xx.jsonl", [{"q": "", "a": "1"}, *prompted.rows(9)])
    assert main(asked) == 0
    assert "qa.xx.jsonl: 1 of 3 rows are broken (1 empty 'q'" in capsys.readouterr().err


def test_other_corpora_have_no_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", "--data=PhrasebookCorpus"]) == 2
    assert "PromptCorpus" in capsys.readouterr().err


def test_a_column_that_is_not_there_names_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"question": f"what {n}", "answer": f"it {n}"} for n in range(9)]
    prompted.write(tmp_path / "a.jsonl", rows)
    lines = ["question,answer", *(",".join(row.values()) for row in rows)]
    (tmp_path / "b.csv").write_text("\n".join(lines) + "\n")
    tokenizer = prompted.tokenizer(tmp_path / "student")
    config = tmp_path / "data.yaml"
    for files, found in (("a.jsonl", "Its first row has"), ("b.csv", "it has")):
        for prompt, response, hint in (
            ("{questoin}", "{answer}", " Did you mean 'question'?"),
            ("{question}", "{anser}", " Did you mean 'answer'?"),
            ("{prompt}", "{response}", ""),
        ):
            source = {"files": files, "language": "xx", "prompt": prompt, "response": response}
            options = {"sources": [source], "data_dir": str(tmp_path), "tokenizer": tokenizer}
            text = json.dumps({"data": {"class_path": "PromptCorpus", "init_args": options}})
            config.write_text(text)
            assert main(["preview", "--config", str(config)]) == 2
            err = capsys.readouterr().err
            assert f"{found} question, answer.{hint} Name one of these in the source." in err


def test_chats_in_a_table_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chats = [[{"role": "user", "content": "hi"}, {"role": "bot", "content": "you"}]] * 3
    pq.write_table(pa.table({"messages": chats}), tmp_path / "a.parquet")
    source = {"files": "a.parquet", "language": "xx", "prompt": "{messages}", "response": None}
    options = {"sources": [source], "data_dir": str(tmp_path),
               "tokenizer": prompted.tokenizer(tmp_path / "student")}  # fmt: skip
    config = tmp_path / "data.yaml"
    config.write_text(json.dumps({"data": {"class_path": "PromptCorpus", "init_args": options}}))
    assert main(["preview", "--config", str(config)]) == 2
    err = capsys.readouterr().err
    assert "and no text. Chats of several turns are not read: make a row of each prompt" in err
