"""Datasets of the hub and folders in its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, constants

from data_modules.reading.hub_reader import HubReader
from data_modules.reading.readers import Broken
from lit_distill.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for config, texts in {"hi": ["एक", "दो", None, "तीन"], "bn": ["এক"]}.items():
        (folder / config).mkdir(parents=True)
        table = pa.table({"id": list(range(len(texts))), "text": texts})
        pq.write_table(table, folder / config / "train-00000.parquet")
    pq.write_table(pa.table({"text": ["चार"]}), folder / "hi" / "dev-00000.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: hi\n  data_files:\n"
        "  - split: train\n    path: hi/train*\n  - split: dev\n    path: hi/dev*\n"
        "- config_name: bn\n  data_files: bn/*.parquet\n---\n"
    )
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder(folder: Path, streaming: bool) -> None:
    def reader(**options: Any) -> HubReader:
        return HubReader(str(folder), **{"config": "hi", "streaming": streaming, **options})

    assert list(reader().rows()) == ["एक", "दो", Broken(3, "no text (null)"), "तीन"]
    assert list(reader(limit=2).rows()) == ["एक", "दो"]
    assert list(reader(split="dev").rows()) == ["चार"]
    with pytest.raises(UserError, match=r"no column 'txt'; it has id, text. Did you mean 'text'"):
        list(reader(column="txt").rows())
    with pytest.raises(UserError, match=r"holds int64 and no text"):
        list(reader(column="id").rows())
    with pytest.raises(UserError, match=r"ta train could not be opened: .*'ta' not found"):
        list(reader(config="ta").rows())
    with pytest.raises(UserError, match=r"could not be opened: .*split"):
        list(reader(split="test").rows())


def test_the_stamp_knows_the_files_of_a_folder(folder: Path) -> None:
    before = HubReader(str(folder), "hi").stamp
    assert HubReader(str(folder), "hi").stamp == before
    assert HubReader(str(folder), "hi", "dev").stamp != before
    pq.write_table(pa.table({"text": ["neu"]}), folder / "hi" / "train-00000.parquet")
    assert HubReader(str(folder), "hi").stamp != before


def test_what_breaks_off_is_explained(folder: Path) -> None:
    path = folder / "hi" / "train-00000.parquet"
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)  # the first page
    path.write_bytes(content)
    with pytest.raises(UserError, match="hi train broke off"):
        list(HubReader(str(folder), "hi").rows())


def test_offline_the_remedy_is_named_at_once() -> None:
    with pytest.raises(UserError, match=r"nobody/nothing train could not be opened: .*`files:`"):
        list(HubReader("nobody/nothing").rows())


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def dataset_info(self: HfApi, name: str, **options: Any) -> None:
        asked.append(options)
        raise ConnectionError("no route to the hub\nsecond line")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", dataset_info)
    with pytest.raises(UserError, match=r"was not found on the hub: no route to the hub\. Check"):
        list(HubReader("nobody/nothing", revision="abc").rows())
    assert asked == [{"revision": "abc", "timeout": 10.0}]
