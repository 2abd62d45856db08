"""Int8 of a small graph with a table that is embeddings and head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lit_distill.tools.delivering.deliverables.choices import Int8Spec
from lit_distill.tools.delivering.making.int8 import write_int8

pytestmark = pytest.mark.rotated(4)  # an export takes half a minute

VOCABULARY, WIDTH = 200, 16


@pytest.fixture
def table() -> Any:
    """Rows of very different sizes, as rare and common tokens have."""
    draw = np.random.default_rng(0)
    sizes = np.geomspace(1e-3, 1, VOCABULARY)[:, None]
    return (draw.normal(size=(VOCABULARY, WIDTH)) * sizes).astype(np.float32)


@pytest.fixture
def source(table: Any, tmp_path: Path) -> Path:
    """ids -> the table's rows -> their products with all rows."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0),
        helper.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "head"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", width])
        for name, width in (("rows", WIDTH), ("logits", VOCABULARY))
    ]
    graph = helper.make_graph(nodes, "g", [ids], outputs, [numpy_helper.from_array(table, "table")])
    opset = [helper.make_opsetid("", 20)]
    path = tmp_path / "source.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def run(path: Path) -> list[Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": np.arange(VOCABULARY).reshape(2, -1)})


def floats(path: Path) -> list[int]:
    """Sizes of the float weights."""
    weights = [numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    return [value.size for value in weights if value.dtype == np.float32]


def test_embeddings_have_a_scale_for_each_row(source: Path, table: Any, tmp_path: Path) -> None:
    write_int8(source, tmp_path / "small.onnx", Int8Spec())
    rows = run(tmp_path / "small.onnx")[0].reshape(VOCABULARY, WIDTH)
    assert (np.abs(rows - table) <= np.abs(table).max(1, keepdims=True) / 254 * 1.001).all()
    assert np.abs(rows - table).max() > 0
    assert max(floats(tmp_path / "small.onnx")) <= VOCABULARY  # scales, and no table


def test_a_head_that_is_the_embeddings_becomes_int8(source: Path, tmp_path: Path) -> None:
    write_int8(source, tmp_path / "small.onnx", Int8Spec())
    kinds = {node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node}
    assert "MatMulInteger" in kinds
    assert "Transpose" not in kinds
    right, found = run(source)[1], run(tmp_path / "small.onnx")[1]
    assert 0 < np.abs(right - found).max() < 0.05 * np.abs(right).max()


def test_embeddings_stay_in_float_where_that_is_asked_for(
    source: Path, table: Any, tmp_path: Path
) -> None:
    write_int8(source, tmp_path / "small.onnx", Int8Spec(embeddings=False))
    assert np.array_equal(run(tmp_path / "small.onnx")[0].reshape(VOCABULARY, WIDTH), table)
    assert max(floats(tmp_path / "small.onnx")) == table.size


def test_one_scale_for_a_matrix_is_worse_than_one_for_each_output(
    source: Path, tmp_path: Path
) -> None:
    errors = {}
    for per_channel in (True, False):
        path = tmp_path / f"{per_channel}.onnx"
        write_int8(source, path, Int8Spec(per_channel=per_channel))
        difference = np.abs(run(source)[1] - run(path)[1])
        errors[per_channel] = difference[..., : VOCABULARY // 4].max()  # of small rows
    assert errors[True] < errors[False] / 2


@pytest.mark.parametrize("transposed", [False, True])
def test_a_large_number_spoils_its_own_row_alone(tmp_path: Path, transposed: bool) -> None:
    """As some activations of decoders have it; a product with a bias is a product."""
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(96, 64)).astype(np.float32)
    bias = draw.normal(size=64).astype(np.float32)
    made = [numpy_helper.from_array(weight.T if transposed else weight, "weight")]
    made.append(numpy_helper.from_array(bias, "bias"))
    node = helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=int(transposed))
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("x", 96), ("y", 64))
    ]
    graph = helper.make_graph([node], "g", values[:1], values[1:], made)
    opset = [helper.make_opsetid("", 20)]
    source = tmp_path / "source.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), source)
    x = draw.normal(size=(5, 96)).astype(np.float32)
    x[0, 3] = 1e4
    errors = {}
    for blocks in (None, 32):
        path = tmp_path / f"{blocks}.onnx"
        write_int8(source, path, Int8Spec(blocks=blocks))
        kinds = {one.op_type for one in onnx.load(path).graph.node}
        assert ("MatMulNBits" in kinds) is (blocks is not None)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        errors[blocks] = np.abs(session.run(None, {"x": x})[0] - (x @ weight + bias))
    assert errors[32][1:].max() < 0.5 < errors[None][1:].max()
    assert max(floats(tmp_path / "32.onnx")) < weight.size
