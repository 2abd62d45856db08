"""A list that is given is the list that is used; loggers take nothing over from each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lit_distill.__main__ import main

CONFIG = """
model:
  class_path: MaskedLM
  init_args: {student: {class_path: FreshStudent, init_args: {model_type: bert}}}
data:
  class_path: MultilingualCorpus
  init_args:
    sources:
      - {files: old.jsonl, language: hi, validation: old-dev.jsonl, column: body, weight: 3.0}
trainer:
  max_steps: 1
  logger:
    - {class_path: TensorBoardLogger, init_args: {save_dir: a, name: "", version: tensorboard}}
  callbacks:
    - {class_path: NonFiniteLoss, init_args: {limit: 7}}
"""


def shown(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    Path("exp.yaml").write_text(CONFIG)
    with pytest.raises(SystemExit) as ended:
        main(["fit", "-c", "exp.yaml", "--print_config", *options])
    captured = capsys.readouterr()
    assert not ended.value.code, captured.err
    read: dict[str, Any] = yaml.safe_load(captured.out)
    return read


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["data.sources", "data.init_args.sources"])
@pytest.mark.parametrize("apart", [True, False])
def test_sources_typed_keep_nothing_of_the_files(
    name: str, apart: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    value = "[{files: new.jsonl, language: de}]"
    typed = [f"--{name}", value] if apart else [f"--{name}={value}"]
    (source,) = shown(capsys, *typed)["data"]["init_args"]["sources"]
    found = source.get("init_args", source)
    assert (found["files"], found["language"]) == ("new.jsonl", "de")
    assert (found["validation"], found["weight"]) == (None, 1.0)
    assert found["column"] != "body"


def test_callbacks_and_loggers_typed_keep_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    config = shown(
        capsys,
        "--trainer.callbacks=[NonFiniteLoss]",
        "--trainer.logger=[{class_path: CSVLogger, init_args: {save_dir: b}}]",
    )["trainer"]
    assert config["callbacks"][0]["init_args"]["limit"] == 3
    assert config["logger"][0]["init_args"]["version"] is None
    assert config["logger"][0]["init_args"]["name"] == "lightning_logs"


def test_a_logger_of_another_kind_keeps_no_name_or_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("csv.yaml").write_text(
        "trainer: {logger: {class_path: CSVLogger, init_args: {save_dir: b}}}\n"
    )
    Path("board.yaml").write_text(
        "trainer: {logger: {class_path: TensorBoardLogger,"
        " init_args: {save_dir: a, version: tensorboard}}}\n"
    )
    typed = ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=a"]
    for options in (
        [*typed, "--trainer.logger.version=tensorboard", "--trainer.logger=CSVLogger"],
        ["-c", "board.yaml", "--trainer.logger=CSVLogger"],
        ["-c", "board.yaml", "-c", "csv.yaml"],
    ):
        named = [] if "csv.yaml" in options else ["--trainer.logger.save_dir=b"]
        logger = shown(capsys, *options, *named)["trainer"]["logger"]
        assert logger["class_path"].endswith("CSVLogger")
        assert logger["init_args"]["version"] is None


def test_items_can_still_be_added(capsys: pytest.CaptureFixture[str]) -> None:
    config = shown(capsys, "--trainer.callbacks+=Throughput")["trainer"]["callbacks"]
    names = [one["class_path"].rpartition(".")[2] for one in config]
    assert names == ["NonFiniteLoss", "Throughput", "RunCheckpoint", "RngState", "ExportStudent"]
    assert config[0]["init_args"]["limit"] == 7
