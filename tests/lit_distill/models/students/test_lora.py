"""LoRA: what trains, what is exported, and that peft reads the adapter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.models import (
    Execution,
    LanguageModel,
    LoRA,
    PretrainedStudent,
    Site,
    TeacherSpec,
    load_tokenizer,
    student_from_state,
    student_state,
    undo,
)
from lit_distill.models.students.surgery import operate

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # by peft
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]
FAMILIES = ["bert", "distilbert", "xlm-roberta", "modernbert", "gpt2", "qwen3", "gemma2", "t5"]
Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    """Compiled versions belong to a class's code, and after a few the compiler gives up."""
    torch._dynamo.reset()


def moved(model: LanguageModel) -> LanguageModel:
    """With other values in all that trains."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def trained(model: LanguageModel) -> dict[str, Tensor]:
    return {name: p for name, p in model.model.named_parameters() if p.requires_grad}


def logits(model: LanguageModel, batch: Batch) -> Tensor:
    encoded = model.encode(batch)
    return model.logits(encoded.hidden.flatten(0, 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_matrices_beside_the_attention_train(
    family: str, make_model: Make, make_batch: Make
) -> None:
    model = LanguageModel(make_model(family)).eval()
    batch = make_batch(model)
    before, plain = logits(model, batch), sum(p.numel() for p in model.parameters())
    operate(model, [LoRA(rank=2)])
    assert not any(module.training for module in model.modules())
    torch.testing.assert_close(logits(model, batch), before, rtol=0, atol=1e-5)  # B is zero
    names = trained(model)
    assert names
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    stacks = len(model.layers) + len(model.anatomy.encoder_layers(model.model))
    paths = {*model.anatomy.projection_paths.values()}
    assert len(names) == 2 * stacks * len(paths)
    assert sum(p.numel() for p in model.parameters()) == plain + sum(
        p.numel() for p in names.values()
    )
    logits(moved(model), batch).square().mean().backward()
    for name, parameter in model.model.named_parameters():
        assert (parameter.grad is not None) == (name in names), name


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_is_merged_and_peft_reads_the_adapter(
    family: str, make_model: Make, make_batch: Make, tmp_path: Path
) -> None:
    make_model(family).save_pretrained(tmp_path / "base")
    spec = PretrainedStudent(
        str(tmp_path / "base"), surgeries=[LoRA(rank=3, alpha=5, dropout=0.5, rslora=True)]
    )
    student = moved(spec.build(None, 0))
    batch = make_batch(student)
    before = logits(student, batch)
    again = student_from_state(json.loads(json.dumps(student_state(student))))
    again.load_state_dict(student.state_dict(), strict=True)
    undo(again, tmp_path)
    plain = PretrainedStudent(str(tmp_path / "base")).build(None, 0)
    assert again.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(logits(again, batch), before, rtol=0, atol=1e-5)
    assert (logits(plain, batch) - before).abs().max() > 1e-3
    adapter = tmp_path / "adapter"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(plain.model, adapter).eval()
    plain.model = theirs.get_base_model()
    torch.testing.assert_close(logits(plain, batch), before, rtol=0, atol=1e-5)
    teacher = TeacherSpec(str(adapter)).build()  # the folder stands for the merged model
    assert torch.equal(logits(teacher, batch), logits(again, batch))
    assert teacher.state_dict().keys() == again.state_dict().keys()


def test_the_product_is_scaled_as_the_papers_say(make_model: Make, tmp_path: Path) -> None:
    for lora, factor in ((LoRA(4, 8), 2.0), (LoRA(4, 8, rslora=True), 4.0)):
        (tmp_path / str(factor)).mkdir()
        model = LanguageModel(make_model("bert"))
        before = model.model.state_dict()["bert.encoder.layer.1.attention.self.query.weight"]
        before = before.double().clone()
        operate(model, [lora])
        moved(model)
        made = {n.rpartition("query.")[2]: p for n, p in trained(model).items() if ".1." in n}
        low, high = made["lora_A.default.weight"], made["lora_B.default.weight"]
        wanted = before + factor * high.detach().double() @ low.detach().double()
        undo(model, tmp_path / str(factor))
        after = model.model.state_dict()["bert.encoder.layer.1.attention.self.query.weight"]
        torch.testing.assert_close(after.double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_captured_projections_are_those_of_the_changed_model(
    family: str, make_model: Make, make_batch: Make, tmp_path: Path
) -> None:
    model = LanguageModel(make_model(family)).eval()
    operate(model, [LoRA(rank=2)])
    moved(model)
    batch, site = make_batch(model), Site("query", 1)
    before = model.encode(batch, capture=[site]).captured[site]
    assert before.requires_grad
    undo(model, tmp_path)
    after = model.encode(batch, capture=[site]).captured[site]
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.rotated(3)  # compiling takes seconds
@pytest.mark.parametrize(
    "execution",
    [Execution(gradient_checkpointing=True), Execution(compile="aot_eager")],
    ids=["checkpointed", "compiled"],
)
def test_gradients_are_the_same_however_layers_run(
    execution: Execution, make_model: Make, make_batch: Make
) -> None:
    def gradients(how: Execution | None) -> list[Tensor]:
        model = LanguageModel(make_model("bert"))
        operate(model, [LoRA(rank=2)])
        moved(model).double().train()
        model.set_dropout(0.0)
        if how is not None:
            how.apply(model)
        loss = logits(model, make_batch(model)).sin().sum()
        return list(torch.autograd.grad(loss, [*trained(model).values()]))

    for one, other in zip(gradients(None), gradients(execution), strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("family", "targets", "message"),
    [
        ("bert", ["querry"], r"BertForMaskedLM has no linear module 'querry' in its body.*'query'"),
        ("bert", ["decoder"], r"no linear module 'decoder'"),
        ("bert", ["word_embeddings"], r"no linear module 'word_embeddings'"),
        ("gpt2", ["lm_head"], r"no linear module 'lm_head' in its body: it has c_attn, c_fc"),
    ],
)
def test_targets_that_are_not_there(
    family: str, targets: list[str], message: str, make_model: Make
) -> None:
    with pytest.raises(UserError, match=message):
        operate(LanguageModel(make_model(family)), [LoRA(targets=targets)])


def test_targets_are_ends_of_names(make_model: Make) -> None:
    model = LanguageModel(make_model("bert"))
    operate(model, [LoRA(targets=["query", "layer.3.output.dense"])])
    changed = {name.partition(".lora_")[0] for name in trained(model)}
    layers = {f"bert.encoder.layer.{n}.attention.self.query" for n in range(len(model.layers))}
    assert changed == {*layers, "bert.encoder.layer.3.output.dense"}


def test_no_targets_at_all() -> None:
    for targets in ([], [" "]):
        with pytest.raises(UserError, match=r"LoRA.targets is empty"):
            LoRA(targets=targets)


def test_without_peft_one_line_says_what_to_install(
    make_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "peft"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'lit-distill\[lora\]'"):
        operate(LanguageModel(make_model("bert")), [LoRA()])


def an_adapter(folder: Path, base: str, **changes: Any) -> Path:
    student = moved(PretrainedStudent(base, surgeries=[LoRA(rank=2)]).build(None, 0))
    undo(student, folder)
    path = folder / "adapter/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder / "adapter"


def test_the_tokenizer_of_an_adapter_is_its_models(tiny_bert: Path, tmp_path: Path) -> None:
    folder = an_adapter(tmp_path, str(tiny_bert))
    text = "the river sleeps"
    assert load_tokenizer(str(folder))(text) == load_tokenizer(str(tiny_bert))(text)


def test_adapters_that_cannot_be_merged(tiny_bert: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    for name, changes, message in (
        ("kind", {"peft_type": "PREFIX_TUNING"}, r"of the type PREFIX_TUNING"),
        ("none", {"base_model_name_or_path": None}, r"names None as the model"),
        ("other", {"base_model_name_or_path": str(tiny_gpt2)}, r"does not fit .*tiny_gpt2"),
        ("gone", {"base_model_name_or_path": "/nowhere/at/all"}, r"no folder /nowhere"),
        ("wide", {"r": 5}, r"does not fit"),
    ):
        (tmp_path / name).mkdir()
        folder = an_adapter(tmp_path / name, str(tiny_bert), **changes)
        with pytest.raises(UserError, match=message):
            TeacherSpec(str(folder)).build()
    folder = an_adapter(tmp_path, str(tiny_bert))
    weights = load_file(folder / "adapter_model.safetensors")
    weights.popitem()
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"does not fit .*: Found missing adapter keys"):
        TeacherSpec(str(folder)).build()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"adapter_model.safetensors is missing"):
        TeacherSpec(str(folder)).build()


@pytest.mark.rotated(3)  # a process of its own
def test_nobody_else_imports_peft() -> None:
    """Not even by way of Transformers, where it is installed."""
    code = "import sys, lit_distill.cli.training, lit_distill.methods, data_modules, callbacks\n"
    code += "assert 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
