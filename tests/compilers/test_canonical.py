"""The same graph in the same bytes, however it was written down."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compilers.canonical import canonical, rewrite
from tests.e2e.conftest import write_residual_net

OPTIMISE = """
import sys, onnxruntime as ort
options = ort.SessionOptions()
options.log_severity_level = 3
options.optimized_model_filepath = sys.argv[2]
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""


def diamond(seed: int) -> onnx.ModelProto:
    """Four branches, two of them equal, written down in another order and with other numbers for every seed."""
    draw = random.Random(seed)
    numbers = draw.sample(range(50), 6)
    value = [f"v_token_{number}" for number in numbers[:4]]
    weight = [f"w_token_{number}" for number in numbers[4:]]
    nodes = [
        helper.make_node("Relu", ["x"], [value[0]], name=f"relu_token_{numbers[0]}"),
        helper.make_node("Mul", ["x", weight[0]], [value[1]]),
        helper.make_node("Mul", ["x", weight[1]], [value[2]]),
        helper.make_node("Mul", ["x", weight[1]], [value[3]]),
    ]
    draw.shuffle(nodes)
    nodes.append(helper.make_node("Sum", value, ["y"], name="sum"))
    weights = [numpy_helper.from_array(np.array([number], np.float32), name) for number, name in enumerate(weight)]
    draw.shuffle(weights)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights))


def written(model: onnx.ModelProto) -> bytes:
    canonical(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_order_and_numbers_do_not_matter(seed: int) -> None:
    assert written(diamond(seed)) == written(diamond(0))


def test_what_is_computed_matters() -> None:
    other = diamond(0)
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([9], np.float32), other.graph.initializer[0].name))
    assert written(other) != written(diamond(0))


def test_once_is_enough() -> None:
    model = diamond(3)
    first = written(model)
    assert written(model) == first


def test_names_without_a_number_stay() -> None:
    model = diamond(1)
    canonical(model)
    assert [node.name for node in model.graph.node if node.op_type == "Sum"] == ["sum"]
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["x", "y"]


def test_what_a_subgraph_reads_comes_first_and_is_renamed_there() -> None:
    """An If whose branches read a value of the graph around them."""
    y = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    branches = [helper.make_graph([helper.make_node(kind, ["v_token_7"], ["out"])], kind, [], [y]) for kind in ("Relu", "Neg")]
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Abs", ["x"], ["v_token_7"]),
    ]
    x, c = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]), helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x, c], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]), ir_version=9
    )
    canonical(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Abs", "If"]
    assert {inner.node[0].input[0] for inner in (each.g for each in model.graph.node[1].attribute)} == {"v_token_1"}


def test_a_cycle_is_no_graph() -> None:
    nodes = [helper.make_node("Abs", ["a"], ["b"]), helper.make_node("Abs", ["b"], ["a"])]
    y = helper.make_tensor_value_info("b", TensorProto.FLOAT, [2])
    with pytest.raises(ValueError, match="without cycles"):
        canonical(helper.make_model(helper.make_graph(nodes, "g", [], [y])))


def test_what_onnx_runtime_writes_is_the_same_from_every_process(tmp_path: Path) -> None:
    import onnxruntime as ort

    source = write_residual_net(tmp_path / "net.onnx", blocks=3)
    images = np.random.default_rng(0).standard_normal((1, 3, 28, 28)).astype(np.float32)
    found = []
    for number in range(3):
        out = tmp_path / f"{number}.onnx"
        subprocess.run([sys.executable, "-c", OPTIMISE, str(source), str(out)], check=True, capture_output=True)
        before = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"image": images})
        rewrite(out)
        after = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"image": images})
        assert np.array_equal(before[0], after[0])
        found.append(out.read_bytes())
    assert found[0] == found[1] == found[2]
