"""Weights that are no numbers are refused where they are loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertForMaskedLM, PreTrainedModel

from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models import PretrainedStudent, TeacherSpec

NAN, INFINITY = float("nan"), float("inf")
KEY = "bert.encoder.layer.2.attention.self.key.weight"
BIAS = "cls.predictions.bias"
Broken = Callable[..., str]


@pytest.fixture
def broken(tiny_bert: Path, tmp_path: Path) -> Broken:
    """A copy of the model whose tensors hold other values at their ends."""

    def make(values: dict[str, list[float]], size: str = "1GB") -> str:
        folder = shutil.copytree(tiny_bert, tmp_path / "broken", dirs_exist_ok=True)
        model = BertForMaskedLM.from_pretrained(tiny_bert)
        for name, ends in values.items():
            model.get_parameter(name).data.view(-1)[-len(ends) :] = torch.tensor(ends)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size=size)
        return str(folder)

    return make


@pytest.mark.parametrize(("value", "kind"), [(NAN, "NaN"), (INFINITY, "inf"), (-INFINITY, "inf")])
def test_a_damaged_tensor_is_named(broken: Broken, value: float, kind: str) -> None:
    folder = broken({KEY: [value, 0.5, value]})
    expected = rf"2 of the 256 numbers of {KEY} \(model\.safetensors\) are {kind}"
    with pytest.raises(UserError, match=expected):
        TeacherSpec(folder).build()
    with pytest.raises(UserError, match=expected):
        PretrainedStudent(folder).build(None, 0)


def test_opposite_infinities_do_not_hide(broken: Broken) -> None:
    with pytest.raises(UserError, match=r"2 of the 256 numbers of .* are infinite"):
        TeacherSpec(broken({KEY: [INFINITY, -INFINITY]})).build()


def test_the_file_of_several_is_named(broken: Broken) -> None:
    folder = broken({KEY: [NAN]}, size="10KB")
    index = json.loads((Path(folder) / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    with pytest.raises(UserError) as error:
        TeacherSpec(folder).build()
    assert f"({index['weight_map'][KEY]})" in str(error.value)
    assert "\n" not in str(error.value)


def test_tokens_may_be_switched_off(broken: Broken) -> None:
    folder = broken({BIAS: [-INFINITY, -INFINITY]})
    model = TeacherSpec(folder).build().model
    assert model.get_parameter(BIAS).isneginf().sum() == 2
    for wrong in (INFINITY, NAN):
        with pytest.raises(UserError, match=rf"1 of the \d+ numbers of {BIAS}"):
            TeacherSpec(broken({BIAS: [-INFINITY, wrong]})).build()


def test_the_constant_of_an_encoder_decoder_may_switch_tokens_off(
    make_model: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    model = make_model("bart")
    model.get_buffer("final_logits_bias")[0, -2:] = -INFINITY
    model.save_pretrained(tmp_path)
    assert (
        TeacherSpec(str(tmp_path)).build().model.get_buffer("final_logits_bias").isinf().sum() == 2
    )


def test_what_float16_cannot_hold_is_said(broken: Broken) -> None:
    folder = broken({KEY: [1e5]})
    with pytest.raises(UserError, match=rf"1 of .* {KEY} .* infinite in float16.* bfloat16 or"):
        TeacherSpec(folder, dtype="float16").build()
    TeacherSpec(folder, dtype="bfloat16").build()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_large_sums_are_no_damage(broken: Broken, dtype: str) -> None:
    """Of weights whose sum leaves the range of their own type."""
    value = float(torch.finfo(getattr(torch, dtype)).max)
    TeacherSpec(broken({KEY: [value] * 8}), dtype=dtype).build()  # type: ignore[arg-type]


def test_before_the_first_step_in_one_line(
    broken: Broken, tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[4] / "configs"
    parts = [root / f"{part}.yaml" for part in ("trainer/debug", "methods/triple_loss")]
    parts += [root / "models/half.yaml", root / "data/multilingual_folder.yaml", tiny_corpus]
    options = [f"--model.teacher.name={broken({KEY: [NAN]})}", f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", *(word for part in parts for word in ("-c", str(part))), *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: The weights of ")
    assert KEY in said
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_one_read_is_enough(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole weights are not looked at entry by entry: that costs four times as much."""
    folder, looked, real = broken({}), list[int](), Tensor.isfinite
    monkeypatch.setattr(Tensor, "isfinite", lambda t: looked.append(t.numel()) or real(t))
    TeacherSpec(folder).build()
    assert len(looked) > 50
    assert set(looked) == {1}
