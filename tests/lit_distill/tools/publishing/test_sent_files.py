"""What of a folder is sent: the model's own files, whole, and nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_folders import folder_with

from lit_distill.errors import UserError
from lit_distill.tools.publishing.sent_files import is_of_model, sent_files


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    return folder_with(tiny_bert, tmp_path / "model")


def test_a_models_own_files_are_sent_and_all_others_are_told(folder: Path) -> None:
    sent = sent_files(folder)
    assert {*sent.files} == {
        *("LICENSE", "README.md", "config.json", "model.safetensors", "projections/index.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert sent.files["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    left = {"optimizer.pt", "seen_texts.npy", ".env", "last.ckpt", "tensorboard/"}
    assert {*sent.left} == left


def test_a_star_ends_at_a_folder() -> None:
    assert is_of_model("1_Pooling/config.json")
    assert is_of_model("model-00001-of-00002.safetensors")
    for other in (
        "runs/old/model.safetensors",
        "checkpoints/config.json",
        "LICENSE",
        "a/README.md",
    ):
        assert not is_of_model(other)


def test_no_link_leads_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id_rsa.json").write_text("{}")
    (folder / "1_Pooling").symlink_to(secret)
    assert "1_Pooling/" in sent_files(folder).left
    (folder / "vocab.json").symlink_to(secret / "id_rsa.json")
    with pytest.raises(UserError, match=r"vocab\.json is a link to .*id_rsa\.json, which is outs"):
        sent_files(folder)
    (folder / "vocab.json").unlink()
    (folder / "vocab.json").symlink_to(folder / "nothing")
    with pytest.raises(UserError, match="a link to nothing"):
        sent_files(folder)
    (folder / "vocab.json").unlink()
    (folder / "vocab.json").symlink_to(folder / "config.json")
    assert "vocab.json" in sent_files(folder).files


def test_what_is_no_export_is_refused_with_what_is_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        sent_files(tmp_path / "nowhere")
    with pytest.raises(UserError, match=rf"no config\.json\. Give one of those .*{folder}"):
        sent_files(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no weights .* that `fit` or `export` has written"):
        sent_files(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(UserError, match="not written to its end"):
        sent_files(folder)
    (folder / "model.safetensors").write_bytes(whole)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-2.safetensors"}}))
    with pytest.raises(UserError, match=r"names model-2\.safetensors, which is not there"):
        sent_files(folder)
    index.write_text("[]")
    with pytest.raises(UserError, match="names no files of weights"):
        sent_files(folder)
