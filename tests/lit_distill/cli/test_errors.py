"""How mistakes in files and on the command line are answered: one line, with its place."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from command_line import merged, refused

from lit_distill.__main__ import main
from lit_distill.methods import TripleLoss


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "exp.yaml").read_text()
    assert old in text
    (folder / "exp.yaml").write_text(text.replace(old, new, 1))


IN_THE_FILE = {
    "unknown option of a method": (
        ("temperature", "temprature"),
        "exp.yaml:5: model.temprature: TripleLoss has no option 'temprature'; "
        "did you mean 'temperature'?",
    ),
    "unknown section": (
        ("model:", "modle:"),
        "exp.yaml:2: modle: there is no option 'modle'; did you mean 'model'?",
    ),
    "unknown option of the trainer": (
        ("max_steps", "max_step"),
        "exp.yaml:23: trainer.max_step: trainer has no option 'max_step'; "
        "did you mean 'max_steps'?",
    ),
    "unknown option of a dataclass": (
        ("{name: ", "{nam: "),
        "exp.yaml:6: model.teacher.nam: TeacherSpec has no option 'nam'; did you mean 'name'?",
    ),
    "unknown option in a list": (
        ("language: en", "langage: en"),
        "exp.yaml:15: data.sources.langage: Source has no option 'langage'; "
        "did you mean 'language'?",
    ),
    "unknown option of a callback": (
        ("every_n_updates", "every_n_update"),
        "exp.yaml:34: trainer.callbacks.every_n_update: RunCheckpoint has no option "
        "'every_n_update'; did you mean 'every_n_updates'?",
    ),
    "unknown option of an optimizer": (
        ("lr: 1e-3", "lrr: 1e-3"),
        "exp.yaml:8: model.optimizer.lrr: AdamW has no option 'lrr'; did you mean 'lr'?",
    ),
    "init_args misspelt": (
        ("init_args:", "init_arg:"),
        "exp.yaml:4: model.init_arg: beside class_path there can only be init_args; "
        "did you mean 'init_args'?",
    ),
    "wrong type": (
        ("num_layers: 2", "num_layers: six"),
        "exp.yaml:7: model.student.num_layers: expected int or null, found 'six'.",
    ),
    "wrong type of the trainer": (
        ("max_steps: 2", "max_steps: two"),
        "exp.yaml:23: trainer.max_steps: expected int, found 'two'.",
    ),
    "wrong type of an optimizer": (
        ("lr: 1e-3", "lr: big"),
        "exp.yaml:8: model.optimizer.lr: expected float, found 'big'.",
    ),
    "wrong choice": (
        ("num_layers: 2", "layers: frist"),
        "exp.yaml:7: model.student.layers: expected every_other or last_of_group or spread or "
        "middle_out or first or last or shrink_and_fine_tune or distilbert or list, "
        "found 'frist'; did you mean 'first'?",
    ),
    "a number for a class": (
        ("{class_path: LayerCopyStudent, init_args: {num_layers: 2}}", "5"),
        "exp.yaml:7: model.student: expected a Student, given by class_path and init_args; "
        "there is FactorisedCopyStudent, FreshStudent, LayerCopyStudent, NarrowCopyStudent, "
        "PretrainedStudent, VocabularyTransferStudent.",
    ),
    "unknown method": (
        ("TripleLoss", "TripelLoss"),
        "exp.yaml:3: model: 'TripelLoss' is no Distillation; did you mean 'TripleLoss'?",
    ),
    "unknown callback": (
        ("RngState", "RngStat"),
        "exp.yaml:32: trainer.callbacks: 'RngStat' is no Callback; did you mean 'RngState'?",
    ),
    "unknown optimizer": (
        ("AdamW", "AdamV"),
        "exp.yaml:8: model.optimizer: 'AdamV' is no Optimizer; did you mean 'Adam'?",
    ),
    "unknown name in a module": (
        ("TripleLoss", "lit_distill.methods.TripelLoss"),
        "exp.yaml:3: model: 'lit_distill.methods.TripelLoss' is no Distillation; "
        "did you mean 'TripleLoss'?",
    ),
    "class of another kind": (
        ("TripleLoss", "lit_distill.models.LayerCopyStudent"),
        "exp.yaml:3: model: 'lit_distill.models.LayerCopyStudent' is no Distillation; ",
    ),
    "missing option of the class": (
        ("teacher: {name: ", "teacher: {revision: "),
        "exp.yaml:6: model.teacher: TeacherSpec needs name.",
    ),
    "broken YAML": (
        ("data:", "data: ["),
        "exp.yaml:12:12: YAML syntax: ",
    ),
    "a key twice": (
        ("temperature: 2.0", "temperature: 2.0\n    temperature: 3.0"),
        "exp.yaml:6: model.init_args.temperature: this key stands on line 5 already.",
    ),
    "a value the class refuses": (
        ("warmup: 0.1", "warmup: 3"),
        "Linear.warmup is 3.0: ",
    ),
    "a value the optimizer refuses": (
        ("lr: 1e-3", "lr: -1"),
        "model.optimizer cannot be made: Invalid learning rate: -1.0",
    ),
    "a value the trainer refuses": (
        ("accelerator: cpu", "accelerator: gpuu"),
        "You selected an invalid accelerator name: `accelerator='gpuu'`.",
    ),
}


@pytest.mark.parametrize("case", IN_THE_FILE)
def test_a_mistake_in_a_file_is_one_line_with_its_place(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (old, new), message = IN_THE_FILE[case]
    change(folder, old, new)
    assert refused(capsys, "fit", "-c", "exp.yaml").startswith(message)


ON_THE_COMMAND_LINE = {
    ("--model.temprature", "3"): "--model.temprature: TripleLoss has no option 'temprature'; did",
    ("--modle.temperature=3",): "--modle.temperature: there is no option 'modle'; did you mean "
    "'model'?",
    ("--model.temperature", "hot"): "--model.temperature: expected float, found 'hot'.",
    ("--model.temperature",): "--model.temperature: expected one argument, found nothing.",
    ("--trainer.max_step", "3"): "--trainer.max_step: trainer has no option 'max_step'; did you",
    ("--trainer.callbacks+=Nope",): "--trainer.callbacks: 'Nope' is no Callback; there is ",
    ("--model", "Nope"): "--model: 'Nope' is no Distillation; there is ",
    ("--seed_everything", "x"): "--seed_everything: expected bool or int, found 'x'.",
    ("stray",): "'stray' is not understood: options are written --name value.",
    ("--config", "no.yaml"): "--config: there is no file no.yaml; did you mean exp.yaml?",
    ("--config", "."): "--config: . is a folder, not a file.",
    ("--ckpt_path", "last"): "--ckpt_path last: there is no checkpoint to go on from. "
    "runs/exp/checkpoints holds none.",
    ("--ckpt_path", "no.ckpt"): "--ckpt_path: there is no checkpoint no.ckpt; ",
    ("--ckpt_path", "exp.yaml"): "--ckpt_path: exp.yaml is no checkpoint, or not a whole one.",
    ("--run_dir", "exp.yaml"): "The run folder exp.yaml cannot be made: File exists.",
    ("--run_dir=a", "--trainer.default_root_dir=b"): "run_dir is 'a', trainer.default_root_dir is "
    "'b': give it in one place, --run_dir, ",
    ("--tokenizer=a", "--data.tokenizer=b"): "tokenizer is 'a', data.init_args.tokenizer is 'b': "
    "give it in one place, --tokenizer, ",
    ("--tokenizer=./none",): "There is no folder ./none ",
}


@pytest.mark.parametrize("args", ON_THE_COMMAND_LINE)
def test_a_mistake_on_the_command_line_is_one_line(
    args: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "fit", "-c", "exp.yaml", *args).startswith(ON_THE_COMMAND_LINE[args])


def test_what_is_required(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "fit").startswith("missing data, model: add to a file given with")
    (folder / "empty.yaml").write_text("")
    assert refused(capsys, "fit", "-c", "empty.yaml").startswith("empty.yaml: missing data, model:")


def test_the_file_that_a_key_came_from_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "part.yaml").write_text("# about the model\nmodel: {init_args: {tempereture: 3}}\n")
    (folder / "top.yaml").write_text("include: [exp.yaml, part.yaml]\ntrainer: {max_steps: 4}\n")
    assert refused(capsys, "fit", "-c", "top.yaml").startswith("part.yaml:2: model.tempereture: ")
    (folder / "part.yaml").write_text("model: {init_args: {temperature: cold}}\n")
    assert refused(capsys, "fit", "-c", "top.yaml").startswith("part.yaml:1: model.temperature: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: 3", "more.yaml:1: trainer: expected keys with values, found '3'."),
        ("trainer: {callbacks: RngStat}", "more.yaml:1: trainer.callbacks: 'RngStat' is no "
         "Callback; did you mean 'RngState'?"),
        ("trainer: {plugins: [AtomicCheckpoint]}", "more.yaml:1: trainer.plugins: "),
        ("trainer: {logger: TensorBoardLogger}", "more.yaml:1: trainer.logger: TensorBoardLogger "
         "needs save_dir."),
        ("data: {init_args: {sources: 5}}", "more.yaml:1: data.sources: expected list, found '5'."),
        ("data: {init_args: {max_length: null}}", "more.yaml:1: data.max_length: null is no "
         "value of MultilingualCorpus's option 'max_length'."),
        ("model: {init_args: {schedule: {init_args: {warmup: null}}}}", "more.yaml:1: "
         "model.schedule.warmup: null is no value of Linear's option 'warmup'."),
    ],
)  # fmt: skip
def test_a_mistake_in_a_later_file(
    text: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "more.yaml").write_text(f"{text}\n")
    assert refused(capsys, "fit", "-c", "exp.yaml", "-c", "more.yaml").startswith(message)


def test_an_empty_section_is_as_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more.yaml").write_text("trainer:\n")
    config = merged(capsys, "-c", "exp.yaml", "-c", "more.yaml")
    assert config["trainer"]["max_steps"] == 2


def test_a_refusal_while_the_run_is_set_up_is_one_line_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder, "max_length: 16", "max_length: 64")
    assert main(["fit", "-c", "exp.yaml"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: The data's windows hold up to 64 tokens and the student's ")


ELSEWHERE = {
    "a disk that TensorBoard finds full": (
        OSError(errno.ENOSPC, "No space left on device", b"/runs/x/events"),
        "/runs/x/events could not be written: No space left on device. Make room",
    ),
    "a rank that is gone": (
        RuntimeError("[gloo/pair.cc:537] Read error: Connection reset by peer. Check the logs"),
        "Another process of this run has ended",
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_the_system_did_while_training_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    error, line = ELSEWHERE[name]

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(TripleLoss, "losses", fail)
    assert main(["fit", "--config", str(folder / "exp.yaml")]) == 2
    (said,) = [text for text in capsys.readouterr().err.splitlines() if "error:" in text]
    assert said.startswith(f"error: {line}")
    assert said.endswith("--ckpt_path last.")


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone"), RuntimeError("shapes differ")])
def test_a_bug_keeps_its_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(TripleLoss, "losses", fail)
    with pytest.raises(type(error)):
        main(["fit", "--config", str(folder / "exp.yaml")])
