"""An ONNX file in int8: matrices by onnxruntime, whole or in blocks, embeddings row by row.

Onnxruntime gives a table of embeddings one scale for all rows, by which rows of small numbers lose
their bits, and leaves the output matrix of a language model in float where that is the table of
embeddings, transposed. Both are rewritten here before onnxruntime sees the file.

Shapes: V tokens, D width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lit_distill.tools.delivering.deliverables.choices import Int8Spec
from lit_distill.tools.delivering.making.onnx_export import LARGEST, quiet

_FEWEST = 1024  # numbers of a table that are worth a scale for each row
_INT8_PRODUCTS = 4  # onnxruntime's accuracy level: activations become int8 as well


def write_int8(source: Path, target: Path, spec: Int8Spec) -> None:
    """Writes a file whose weights are int8, and whose activations become it as it runs.

    Args:
        source: the float32 file.
        target: the int8 file.
        spec: what becomes int8.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    prepared = _prepared(model, spec)
    large = sum(len(one.raw_data) for one in prepared.graph.initializer) > LARGEST
    with quiet():
        if spec.blocks:
            _in_blocks(prepared, spec.blocks).save_model_to_file(str(target), large)
            return
        quantize_dynamic(
            prepared,
            str(target),
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=spec.per_channel,
            reduce_range=spec.reduce_range,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )


def _in_blocks(model: Any, size: int) -> Any:
    """The model with a scale for every block of a weight's row, and of what it is multiplied by."""
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    _without_gemm(model.graph)
    settings = DefaultWeightOnlyQuantConfig(
        block_size=size, is_symmetric=True, accuracy_level=_INT8_PRODUCTS, bits=8
    )
    quantizer = MatMulNBitsQuantizer(model, algo_config=settings)
    quantizer.process()
    return quantizer.model


def _without_gemm(graph: Any) -> None:
    """Writes products with a bias as a product and a sum: only products are made in blocks."""
    from onnx import helper, numpy_helper

    weights = {one.name: one for one in graph.initializer}
    for node in [one for one in graph.node if one.op_type == "Gemm" and one.input[1] in weights]:
        given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if given.get("transA", 0) or {given.get("alpha", 1.0), given.get("beta", 1.0)} != {1.0}:
            continue
        place, weight = list(graph.node).index(node), node.input[1]
        if given.get("transB", 0):
            value = numpy_helper.to_array(weights[weight]).T
            weight = f"{weight}.transposed"
            if weight not in weights:
                weights[weight] = numpy_helper.from_array(np.ascontiguousarray(value), weight)
                graph.initializer.append(weights[weight])
        graph.node.remove(node)
        product = node.output[0] if len(node.input) < 3 else f"{node.output[0]}.product"
        graph.node.insert(place, helper.make_node("MatMul", [node.input[0], weight], [product]))
        if len(node.input) == 3:
            total = helper.make_node("Add", [product, node.input[2]], [node.output[0]])
            graph.node.insert(place + 1, total)
    _without_unused(graph)


def _prepared(model: Any, spec: Int8Spec) -> Any:
    """The model with transposes written out and embeddings in int8."""
    from onnx import numpy_helper

    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            value = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(value), node.output[0])
            )
            graph.node.remove(node)
    if spec.embeddings:
        for node in list(graph.node):
            table = weights.get(node.input[0]) if node.op_type == "Gather" else None
            if table is not None and _is_table(node, table):
                _by_rows(graph, node, numpy_helper.to_array(table))
    _without_unused(graph)
    return model


def _without_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    for one in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(one)


def _is_table(node: Any, table: Any) -> bool:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    floats = table.data_type == 1  # TensorProto.FLOAT
    return axis == 0 and floats and len(table.dims) == 2 and np.prod(table.dims) >= _FEWEST


def _by_rows(graph: Any, node: Any, table: Any) -> None:
    """Makes a look-up of floats one of int8 numbers and of their row's scale."""
    from onnx import helper, numpy_helper

    name, output = node.input[0], node.output[0]
    scales = np.maximum(np.abs(table).max(1, keepdims=True), 1e-12) / 127
    small = np.clip(np.rint(table / scales), -127, 127).astype(np.int8)
    known = {one.name for one in graph.initializer}
    for suffix, value in ((".rows", small), (".row_scales", scales.astype(np.float32))):
        if name + suffix not in known:  # one table may be looked up twice
            graph.initializer.append(numpy_helper.from_array(value, name + suffix))
    place = list(graph.node).index(node)
    ids, own = node.input[1], f"{output}.looked_up"  # onnxruntime's own names have no dots
    nodes = [
        helper.make_node("Gather", [f"{name}.rows", ids], [f"{own}.row"], axis=0),
        helper.make_node("Gather", [f"{name}.row_scales", ids], [f"{own}.scale"], axis=0),
        helper.make_node("Cast", [f"{own}.row"], [f"{own}.float"], to=1),
        helper.make_node("Mul", [f"{own}.float", f"{own}.scale"], [output]),
    ]
    graph.node.remove(node)
    for offset, new in enumerate(nodes):
        graph.node.insert(place + offset, new)
