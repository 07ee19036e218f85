"""Work of graphs whose arithmetic is known by hand."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from compilers import onnx_shapes, work
from harness.projection.nouns import Work


def test_a_matrix_product_reads_its_weights_once_and_its_activations(tmp_path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [8, 16], [0.0] * 128)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 16])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    found = work.of_graph(onnx_shapes.infer(model, tmp_path / "m.onnx"))
    assert isinstance(found, Work)
    product, relu = found.layers
    assert (product.flops, product.weights, product.activations) == (2 * 4 * 8 * 16, 128, 4 * 8 + 4 * 16)
    assert (relu.flops, relu.weights, relu.activations) == (0, 0, 2 * 4 * 16)
    assert found.operators == 1
    onnx.save(model, tmp_path / "m.onnx")
    assert work.read(tmp_path / "m.onnx") == found
