"""One export that many tests look at: the exporter takes ten seconds even for a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivered import made


@pytest.fixture(scope="session")
def bert_file(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of `tiny_bert`."""
    path = tmp_path_factory.mktemp("bert_file") / "model.onnx"
    made(tiny_bert, path)
    return path
