"""An ONNX file in int8: matrices by onnxruntime, embeddings row by row.

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
        quantize_dynamic(
            prepared,
            str(target),
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=spec.per_channel,
            reduce_range=spec.reduce_range,
            weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )


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
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    for one in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(one)
    return model


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
