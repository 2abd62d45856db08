from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import load_file, save_file
from transformers import (
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertModel,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
)
from transformers.utils import logging

from lit_distill.errors import UserError
from lit_distill.models import LanguageModel, PretrainedStudent
from lit_distill.models.loading import pretrained
from lit_distill.models.loading.pretrained import Source, locate, open_model


def open_float32(folder: Path, fresh_head: bool = False) -> LanguageModel:
    return LanguageModel(open_model(str(folder), None, torch.float32, fresh_head))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a user's machine, but every look-up of a host fails the test."""
    monkeypatch.setattr(pretrained.constants, "HF_HUB_OFFLINE", False)
    # The hub's client asks once a day what programs it may be run by; as if it had asked today.
    known: dict[str, Any] = {"standardEnvVars": [], "harnesses": {}}
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", known)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: pytest.fail("a network look-up"))


def answer(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[str]:
    """The hub's first answer; returns the list of addresses asked."""
    asked: list[str] = []

    def head(url: str, timeout: float) -> None:
        assert timeout <= 10
        asked.append(url)
        if error is not None:
            raise error

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", head)
    return asked


def test_a_saved_model_comes_back_in_the_asked_dtype(saved: Path):
    verbosity = logging.get_verbosity()
    model = open_model(str(saved), None, torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert not model.training
    assert logging.get_verbosity() == verbosity
    assert open_model(str(saved), None, torch.float32).dtype == torch.float32


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("name", ["runs/teacher/student", "./teacher", "/no/such/folder", "~/nope"])
def test_a_missing_folder_is_one_error_before_any_look_up(name: str):
    started = time.perf_counter()
    with pytest.raises(UserError, match=rf"There is no folder {name} \(seen from /"):
        PretrainedStudent(name).build(None, 0)
    assert time.perf_counter() - started < 1


def test_offline_names_say_what_to_do():
    with pytest.raises(
        UserError,
        match=r"no folder owner/some-model, the config .* not in the cache, and offline mode is "
        r"on: give a local folder, or run `hf download owner/some-model`",
    ):
        PretrainedStudent("owner/some-model").build(None, 0)


@pytest.mark.usefixtures("online")
def test_an_unreachable_hub_fails_in_seconds(monkeypatch: pytest.MonkeyPatch):
    asked = answer(monkeypatch, ConnectionError("no route"))
    started = time.perf_counter()
    with pytest.raises(UserError, match=r"the hub cannot be reached: give a local folder"):
        PretrainedStudent("owner/some-model", revision="v1").build(None, 0)
    assert time.perf_counter() - started < 2
    assert len(asked) == 1
    assert asked[0].endswith("owner/some-model/resolve/v1/config.json")


@pytest.mark.usefixtures("online")
def test_the_hubs_refusals_are_explained(monkeypatch: pytest.MonkeyPatch):
    response: Any = SimpleNamespace(headers={}, request=None)
    answer(monkeypatch, RepositoryNotFoundError("404", response=response))
    with pytest.raises(UserError, match=r"neither a local folder nor on the hub.*HF_TOKEN"):
        locate("owner/private")
    answer(monkeypatch, RevisionNotFoundError("404", response=response))
    with pytest.raises(UserError, match=r"owner/model has no revision 'v9' on the hub"):
        locate("owner/model", "v9")
    answer(monkeypatch, EntryNotFoundError("no config.json, for example a tokenizer"))
    assert locate("owner/model", "v1") == Source("owner/model", "v1", cached_only=False)
    answer(monkeypatch, None)
    assert not locate("owner/model").cached_only


def test_a_folder_has_no_revision(saved: Path):
    with pytest.raises(UserError, match=r"is a local folder and has no revision 'v1'"):
        open_model(str(saved), "v1", torch.float32)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, r"The config in .* cannot be read: .*The folder holds model.safe"),
        ("config.json", b"{}", r"The config in .*: there is no config\.json with a model_type"),
        ("config.json", b"{bad", r"The config in .* cannot be read: .*not a valid JSON"),
        ("model.safetensors", None, r"The model in .* cannot be read: .*The folder holds config"),
        ("model.safetensors", b"", r"The model in .* cannot be read: .*header"),
    ],
)
def test_broken_folders_say_what_is_broken(
    saved: Path, file: str, content: bytes | None, message: str
):
    if content is None:
        (saved / file).unlink()
    else:
        (saved / file).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_float32(saved)
    assert "\n" not in str(caught.value)


def test_unsupported_types_are_named_before_the_weights_are_read(saved: Path):
    (saved / "model.safetensors").unlink()
    edit_config(saved, model_type="gpt_neox")
    with pytest.raises(UserError, match=r"'gpt_neox' is not supported.*Supported: bert, distil"):
        open_float32(saved)


def test_code_from_a_checkpoint_is_never_run(saved: Path):
    edit_config(saved, auto_map={"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"})
    (saved / "evil.py").write_text("raise SystemExit('ran')")
    assert open_float32(saved).config.model_type == "bert"


@pytest.mark.parametrize("other", [BertModel, BertForNextSentencePrediction])
def test_a_missing_head_is_refused_unless_asked_for(
    bert: LanguageModel, tmp_path: Path, other: type
):
    source = other(bert.config)
    source.save_pretrained(tmp_path)
    with pytest.raises(
        UserError,
        match=r"has no language-model head \(missing: cls\.predictions.*\), so its logits would be "
        r"random.*BertForMaskedLM.*fresh_head=true",
    ):
        open_float32(tmp_path)
    student = PretrainedStudent(str(tmp_path), fresh_head=True).build(None, 0)
    body = source.base_model.state_dict()
    for name, value in student.model.bert.state_dict().items():
        assert torch.equal(value, body[name])


def test_parts_that_are_not_used_are_no_error(bert: LanguageModel, tmp_path: Path):
    """bert-base's own files hold a pooler and a next-sentence head."""
    source = BertForPreTraining(bert.config).eval()
    source.save_pretrained(tmp_path)
    model = open_float32(tmp_path)
    ids = torch.randint(5, 40, (2, 6))
    batch: Any = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    logits = model.logits(model.encode(batch).rows(torch.arange(12)))
    assert torch.equal(logits, source(ids).prediction_logits.flatten(0, 1))


def test_files_of_old_versions_load(saved: Path, bert: LanguageModel):
    """Norms called gamma and beta, saved position ids, a pooler, and every tied weight."""
    path = saved / "model.safetensors"
    weights = {name: value.clone() for name, value in bert.model.state_dict().items()}
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in weights.items()
        if name != "cls.predictions.decoder.bias"  # was a parameter called cls.predictions.bias
    }
    old["bert.embeddings.position_ids"] = torch.arange(20).unsqueeze(0)
    old["bert.pooler.dense.weight"] = torch.ones(16, 16)
    save_file(old, path, metadata={"format": "pt"})
    loaded = open_float32(saved).model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 3}, r"16 without a place \(bert\.encoder\.layer\.3\."),
        ({"num_hidden_layers": 5}, r"16 missing \(bert\.encoder\.layer\.4\."),
        ({"intermediate_size": 48}, r"12 of another shape \(bert\.encoder\.layer\.0\.inter"),
        ({"vocab_size": 41}, r"of another shape .*bert\.embeddings\.word_embeddings"),
    ],
)
def test_weights_that_do_not_fit_the_config_are_refused(
    saved: Path, changes: dict[str, int], message: str
):
    edit_config(saved, **changes)
    with pytest.raises(UserError, match=rf"do not fit its config\.json: .*{message}"):
        open_float32(saved)


def test_layers_left_out_of_a_bare_body_are_seen_too(bert: LanguageModel, tmp_path: Path):
    BertModel(bert.config).save_pretrained(tmp_path)
    edit_config(tmp_path, num_hidden_layers=3)
    with pytest.raises(UserError, match=r"16 without a place \(encoder\.layer\.3\."):
        open_float32(tmp_path, fresh_head=True)


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model."])
def test_the_text_model_of_a_gemma_that_sees_is_opened(tmp_path: Path, prefix: str) -> None:
    """4B and larger; files of before and after Transformers' change of names."""
    text = {
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 24, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 3,
    }  # fmt: skip
    sight = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=sight, mm_tokens_per_image=4)
    config.eos_token_id = [1, 7]
    whole = Gemma3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    whole.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    named = {name.replace("language_model.model.", prefix): w for name, w in weights.items()}
    save_file(named, tmp_path / "model.safetensors", {"format": "pt"})
    student = PretrainedStudent(str(tmp_path)).build(None, 0)
    assert type(student.model).__name__ == "Gemma3ForCausalLM"
    assert student.config.eos_token_id == [1, 7]
    ids = torch.tensor([[2, 5, 9, 12, 7, 8]])
    seen = whole(input_ids=ids, token_type_ids=torch.zeros_like(ids)).logits
    torch.testing.assert_close(student.model(input_ids=ids).logits, seen)
