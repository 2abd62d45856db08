"""A config is data: what it names is not imported, and not called, because it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonargparse import _common as settings

from lit_distill.__main__ import main
from lit_distill.cli.parsing import modules

RUN = """
model:
  class_path: MaskedLM
  init_args:
    student: {class_path: FreshStudent, init_args: {model_type: bert}}
data: {class_path: PhrasebookCorpus}
trainer: {max_steps: 1, accelerator: cpu}
"""
STRANGER = """
from pathlib import Path
Path("imported").touch()
import torch
from lit_distill.methods import MaskedLM

class MyMethod(MaskedLM):
    "Mine."

class MyOptimizer(torch.optim.SGD):
    "Mine."

def called(*args, **kwargs):
    Path("called").touch()
    return torch.optim.SGD(*args, lr=0.1)

class Falling:
    "Mine."
    def __init__(self, start: float = 1.0) -> None:
        self.start = start
    def __call__(self, progress: float) -> float:
        return self.start * (1 - progress)
"""


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a module of somebody, and permissions as at the start of a process."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(modules, "permitted", [])
    before = dict(settings.parsing_settings)
    yield
    settings.parsing_settings.update(before)
    sys.modules.pop("stranger", None)


def fit(changes: dict[str, object], *options: str) -> int:
    config = yaml.safe_load(RUN)
    config["model"]["init_args"] |= changes
    Path("exp.yaml").write_text(yaml.safe_dump(config))
    return main(["fit", "-c", "exp.yaml", "--print_config", *options])


COMMAND = {"args": ["touch", "called"]}
NAMED: list[object] = [
    {"class_path": "subprocess.call", "init_args": COMMAND},
    "subprocess.call",
    {"class_path": "os.system", "init_args": {"command": "touch called"}},
    {"class_path": "stranger.MyOptimizer"},
    {"class_path": "stranger.called"},
    "stranger.called",
    {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "a", "model": "b"}},
    "torch.hub.load",
    {"class_path": "torch.nn.Linear", "init_args": {"in_features": 1, "out_features": 1}},
    {"class_path": "lit_distill.training.optimizer_checks.check_optimizer"},
    {"class_path": "jsonargparse.set_parsing_settings"},
]


@pytest.mark.parametrize("named", NAMED, ids=str)
def test_nothing_that_a_config_names_for_an_optimizer_is_run_or_imported(
    named: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(fit({"optimizer": named}))
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("called").exists()
    assert not Path("imported").exists()


@pytest.mark.parametrize(
    "named",
    ["torch.hub.load", {"class_path": "torch.hub.load"}, {"class_path": "stranger.Falling"},
     {"class_path": "torch.nn.Identity"}],
    ids=str,
)  # fmt: skip
def test_nor_for_a_weight(named: object, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"class_path": "SupervisedKD", "init_args": {
        "teacher": {"name": "t"}, "alpha_kd": named}}  # fmt: skip
    Path("exp.yaml").write_text(yaml.safe_dump({**yaml.safe_load(RUN), "model": config}))
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["fit", "-c", "exp.yaml", "--print_config"]))
    assert ended.value.code == 2
    assert not Path("imported").exists()


@pytest.mark.parametrize("place", ["model", "data", "callback"])
def test_classes_of_strangers_are_refused_with_the_option_that_permits_them(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load(RUN)
    if place == "callback":
        config["trainer"]["callbacks"] = [{"class_path": "stranger.MyMethod"}]
    else:
        config[place]["class_path"] = "stranger.MyMethod"
    Path("exp.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit):
        main(["fit", "-c", "exp.yaml", "--print_config"])
    said = capsys.readouterr().err
    assert "exp.yaml:" in said
    assert "--allow-module stranger" in said
    assert not Path("imported").exists()


@pytest.mark.parametrize("option", ["--allow-module=stranger", "--allow-module stranger"])
def test_a_permitted_module_can_be_named(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    changes: dict[str, object] = {"optimizer": {"class_path": "stranger.MyOptimizer",
                                                "init_args": {"lr": 0.1}}}  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        fit(changes, *option.split(), "--model=MyMethod")
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "stranger.MyMethod" in shown
    assert "allow" not in shown  # a permission is not handed on by config.yaml
    assert not Path("called").exists()


def test_permitting_is_for_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("exp.yaml").write_text(RUN + "allow_module: stranger\n")
    assert main(["fit", "-c", "exp.yaml"]) == 2
    assert "cannot permit modules" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_an_error_in_a_module_is_its_own(
    text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken_module.py").write_text(f"# first\n{text}\n")
    assert main(["fit", "--allow-module", "broken_module", "--model=Thing"]) == 2
    said = capsys.readouterr().err
    assert "--allow-module broken_module: importing it failed" in said
    assert reason in said
    assert said.count("\n") == 1


def test_names_that_are_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--allow-module=", "--allow-module=../x", "--allow-module=no_such_module_here"):
        assert main(["fit", option]) == 2
        assert "--allow-module" in capsys.readouterr().err


def test_tools_take_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "nowhere.ckpt", "--allow-module", "stranger"]) == 2
    assert "no checkpoint nowhere.ckpt" in capsys.readouterr().err
    assert Path("imported").exists()


@pytest.mark.rotated(3)  # processes of their own
def test_folders_called_like_our_packages_do_no_harm() -> None:
    """`python -m` looks into the current folder first."""
    for name in ("callbacks", "data_modules"):
        Path(name).mkdir()
        (Path(name) / "__init__.py").write_text("raise RuntimeError('not ours')")
    code = (
        "import sys; sys.path.insert(0, ''); from lit_distill.__main__ import main; main(['fti']);"
        "import callbacks, data_modules; print(callbacks.RunCheckpoint, data_modules.Corpus)"
    )
    root = str(Path(modules.__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert "RunCheckpoint" in done.stdout, done.stderr
