"""Commands replace what they wrote before, and nothing else; hostile files write nowhere."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from cohorts import fit, fresh
from transformers import AutoTokenizer

from callbacks import ExportStudent
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.files.output_folders import MARK
from lit_distill.methods import CoDistillation, MaskedLM
from lit_distill.training.checkpoints import KEY

Content = dict[str, Any]


@pytest.fixture(scope="module")
def saved(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Content:
    """The content of a small run's checkpoint."""
    method = MaskedLM(students={"student": fresh(student=1)["student"]})
    path = tmp_path_factory.mktemp("saved") / "a.ckpt"
    fit(method, tiny_bert, updates=1, callbacks=[ExportStudent()],
        default_root_dir=path.parent).save_checkpoint(path)  # fmt: skip
    content: Content = torch.load(path, weights_only=True)
    return content


@pytest.fixture
def checkpoint(saved: Content, tmp_path: Path) -> Path:
    """It, as the `last.ckpt` of a run folder with things of its own."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(saved, folder / "last.ckpt")
    (tmp_path / "run" / "config.yaml").write_text("mine")
    return folder / "last.ckpt"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


COMMANDS = ["export", "train-tokenizer", "corpus-report", "compare", "compare-texts"]


@pytest.fixture
def commands(
    checkpoint: Path, text_folder: Path, tiny_corpus: Path, tiny_bert: Path,
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
) -> dict[str, list[str]]:  # fmt: skip
    """Commands with a folder as output, but for that, by name."""
    monkeypatch.setattr("lit_distill.tools.comparing.held_out.measuring.TIMED_SECONDS", 0.0)
    generations = tmp_path_factory.mktemp("texts") / "generations"
    generations.mkdir()
    row = {"language": "en", "sample_id": 1,
           "students": {"student": {"scores": {"exact_match": 1, "chrf": 100}}}}  # fmt: skip
    (generations / "val-00000001.jsonl").write_text(json.dumps(row))
    options = {
        "export": [str(checkpoint)],
        "train-tokenizer": [
            f"--files.en=[{text_folder / 'en.txt'}]", "--vocab_size=100",
        ],
        "corpus-report": [
            "--config=configs/data/multilingual_folder.yaml", f"--config={tiny_corpus}",
            f"--data.tokenizer={tiny_bert}",
        ],
        "compare": [
            "--config=configs/data/multilingual_folder.yaml", f"--config={tiny_corpus}",
            f"--data.tokenizer={tiny_bert}", f"--models.teacher={tiny_bert}",
        ],
        "compare-texts": [f"--runs.plain=[{generations.parent}]"],
    }  # fmt: skip
    return {name: [name, *own] for name, own in options.items()}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, commands: dict[str, list[str]]) -> list[str]:
    return commands[request.param]


def places(tmp_path: Path) -> dict[str, Path]:
    """Where nothing may be written, with what is there."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign" / "deep").mkdir(parents=True)
    (tmp_path / "foreign" / "deep" / "notes.txt").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    return {
        "the run folder": tmp_path / "run",
        "its parent": tmp_path,
        "its checkpoints": tmp_path / "run" / "checkpoints",
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "inside",
        "a foreign folder": tmp_path / "foreign",
        "a link": tmp_path / "link",
        "this folder": Path("."),
    }


def test_nothing_of_anybody_else_is_replaced(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = places(tmp_path)
    before = everything(tmp_path)
    for name, place in given.items():
        assert main([*command, f"--output={place}"]) == 2, name
        assert capsys.readouterr().err.count("\n") == 1, name
        now = everything(tmp_path)
        assert {path: now.get(path) for path in before} == before, name
    assert (tmp_path / "link").is_symlink()


def test_an_earlier_output_is_replaced_unless_something_was_added(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "out" / "place"
    for neighbour in ("place.tmp", "place.old"):  # nothing is cleared away beside it
        (tmp_path / "out" / neighbour).mkdir(parents=True)
        (tmp_path / "out" / neighbour / "mine").write_text("mine")
    (tmp_path / "out" / "place").mkdir()  # empty folders are anybody's
    for _ in range(2):
        assert main([*command, f"--output={place}"]) == 0
        assert (place / MARK).exists()
    (place / "mine.txt").write_text("mine")
    before = everything(tmp_path / "out")
    assert main([*command, f"--output={place}"]) == 2
    assert "holds what this command did not write: mine.txt" in capsys.readouterr().err
    assert everything(tmp_path / "out") == before


def test_outputs_of_other_commands_are_not_replaced(
    commands: dict[str, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*commands["export"], f"--output={tmp_path}/out"]) == 0
    assert main([*commands["compare-texts"], f"--output={tmp_path}/texts"]) == 0
    before = everything(tmp_path)
    for name, command in commands.items():
        place = "texts" if name == "export" else "out"
        assert main([*command, f"--output={tmp_path}/{place}"]) == 2, name
        assert "holds what this command did not write" in capsys.readouterr().err
    assert everything(tmp_path) == before


def test_a_place_that_cannot_be_written_to_is_refused_at_once(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("os.access", lambda path, mode: False)  # as where a disk is read-only
    assert main([*command, f"--output={tmp_path}/read-only"]) == 2
    assert "nothing can be written to" in capsys.readouterr().err


def test_students_of_the_first_release_can_be_replaced(checkpoint: Path, tmp_path: Path) -> None:
    """They have no mark, and a card that names us."""
    place = tmp_path / "student"
    command = ["export", str(checkpoint), f"--output={place}"]
    assert main(command) == 0
    (place / MARK).unlink()
    assert main(command) == 0
    found = json.loads((place / MARK).read_text())
    (place / MARK).write_text(json.dumps({"written": found["written"]}))  # of earlier commits
    assert main(command) == 0
    (place / MARK).write_text("[]")
    assert main(command) == 2
    (place / MARK).unlink()
    (place / "README.md").write_text("My model")
    assert main(command) == 2


def test_a_run_does_not_begin_where_it_would_replace_a_folder(
    tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "mine.txt").write_text("mine")
    method = MaskedLM(students={"student": fresh(student=1)["student"]})
    with pytest.raises(UserError, match=r"student would be replaced.*mine\.txt"):
        fit(method, tiny_bert, updates=1, callbacks=[ExportStudent()], default_root_dir=tmp_path)
    assert (tmp_path / "student" / "mine.txt").read_text() == "mine"


NAMES = ["../../escaped", "{absolute}", "a/../../escaped", ".hidden", "a\0b", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["tokenizer", "students"])
def test_a_hostile_checkpoint_writes_nowhere(
    name: str, place: str, saved: Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = name.replace("{absolute}", str(tmp_path / "escaped"))
    content = copy.copy(saved)
    description = {**content[KEY], place: dict(content[KEY][place])}
    if place == "students":
        description[place][name] = description[place]["student"]
        moved = {k.replace("students.student.", f"students.{name}.", 1): v
                 for k, v in content["state_dict"].items()}  # fmt: skip
        content["state_dict"] = {**content["state_dict"], **moved}
    else:
        description[place][name] = "owned"
    (tmp_path / "inner").mkdir()
    torch.save({**content, KEY: description}, tmp_path / "inner" / "a.ckpt")
    before = {*tmp_path.rglob("*")}
    code = main(["export", str(tmp_path / "inner" / "a.ckpt"), f"--output={tmp_path}/inner/out"])
    assert code == 2
    assert "names a file" in capsys.readouterr().err
    assert {*tmp_path.rglob("*")} == before


WRONG: list[Any] = [None, 7, "text", [], {}, ["text"], {"a": 1}, {"a": None}, {1: "a"}, True]


@pytest.mark.parametrize(
    "field",
    [
        "version",
        "method",
        "config",
        "notes",
        "seeds",
        "students",
        "tokenizer",
        "teachers",
        "endings",
    ],
)
def test_ill_typed_fields_are_one_line_or_make_no_difference(
    field: str, saved: Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, wrong in enumerate(WRONG):
        description = {**saved[KEY], field: wrong}
        torch.save({**saved, KEY: description}, tmp_path / "a.ckpt")
        code = main(["export", str(tmp_path / "a.ckpt"), f"--output={tmp_path}/out{number}"])
        said = capsys.readouterr().err
        if code:
            assert code == 2
            assert said.startswith("error: ")
            assert said.count("\n") == 1
            assert not (tmp_path / f"out{number}").exists()
        else:
            assert AutoTokenizer.from_pretrained(tmp_path / f"out{number}") is not None


@pytest.mark.parametrize("part", ["state_dict", "global_step", "callbacks", KEY])
def test_missing_and_ill_typed_parts_are_one_line(
    part: str, saved: Content, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, wrong in enumerate([*WRONG, ...]):
        content = {key: value for key, value in saved.items() if key != part}
        if wrong is not ...:
            content[part] = wrong
        torch.save(content, tmp_path / "a.ckpt")
        code = main(["export", str(tmp_path / "a.ckpt"), f"--output={tmp_path}/out{number}"])
        assert code in (0, 2)
        assert capsys.readouterr().err.count("\n") == (1 if code else 0)
        assert (tmp_path / f"out{number}").exists() is (code == 0)


def test_several_chat_templates_come_along(tiny_bert: Path, tmp_path: Path) -> None:
    """`save_pretrained` puts them into a folder, where the first save of a run ended."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    assert (tmp_path / "tokenizer" / "additional_chat_templates").is_dir()
    method = MaskedLM(students={"student": fresh(student=1)["student"]})
    run = fit(
        method, tmp_path / "tokenizer", updates=1, callbacks=[ExportStudent()],
        default_root_dir=tmp_path / "run",
    )  # fmt: skip
    run.save_checkpoint(tmp_path / "a.ckpt")
    assert main(["export", str(tmp_path / "a.ckpt"), f"--output={tmp_path}/later"]) == 0
    for folder in (tmp_path / "run" / "student-last", tmp_path / "later"):
        assert AutoTokenizer.from_pretrained(folder).chat_template == tokenizer.chat_template


def test_students_of_one_checkpoint_are_all_checked_before_one_is_written(
    tiny_bert: Path, tmp_path: Path
) -> None:
    run = fit(CoDistillation(students=fresh(large=1, small=1)), tiny_bert, updates=1)
    run.save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "out" / "small").mkdir(parents=True)
    (tmp_path / "out" / "small" / "mine").write_text("mine")
    assert main(["export", str(tmp_path / "a.ckpt"), f"--output={tmp_path}/out"]) == 2
    assert not (tmp_path / "out" / "large").exists()
