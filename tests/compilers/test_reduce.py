from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from compilers import onnx_shapes, reduce
from tests.compilers.graphs import cnn, model, value, weight


def chain(*kinds: str) -> Any:
    """`kinds` one after the other on a vector of four, every node named after its place."""
    nodes = [helper.make_node(kind, [f"v{at}"], [f"v{at + 1}"], name=f"{kind}_{at}") for at, kind in enumerate(kinds)]
    made = model(nodes, [value("v0", [1, 4])], [value(f"v{len(kinds)}", [1, 4])])
    return onnx.shape_inference.infer_shapes(made)


def holds(*kinds: str) -> Callable[[Any], bool]:
    return lambda part: set(kinds) <= {node.op_type for node in part.graph.node}


def kinds_of(found: reduce.Reduced | None) -> list[str]:
    assert found is not None
    onnx.checker.check_model(found.model, full_check=True)
    return [node.op_type for node in found.model.graph.node]


def test_one_bad_operator_of_many_is_found_alone() -> None:
    found = reduce.smallest(chain(*["Relu"] * 40, "Exp", *["Neg"] * 40), holds("Exp"))
    assert kinds_of(found) == ["Exp"]
    assert found is not None
    assert (found.nodes, found.complete) == ((40,), True)
    assert found.trials <= 20, "bisected, not tried one by one"
    assert reduce.describe(found.model) == "Exp 'Exp_40'"


def test_two_that_fail_only_together_are_kept_and_what_is_between_them_goes() -> None:
    found = reduce.smallest(chain("Relu", "Exp", "Neg", "Relu", "Abs", "Neg"), holds("Exp", "Abs"))
    assert kinds_of(found) == ["Exp", "Abs"]
    assert found is not None
    assert reduce.describe(found.model) == "Exp 'Exp_1' → Abs 'Abs_4'"


def test_the_part_has_the_weights_and_shapes_it_needs() -> None:
    whole = onnx_shapes.infer(cnn(), Path("cnn"))
    found = reduce.smallest(whole, lambda part: any(node.name == "depthwise" for node in part.graph.node))
    assert kinds_of(found) == ["Conv"]
    assert found is not None
    assert [tensor.name for tensor in found.model.graph.initializer] == ["w2"]
    assert [spec.shape for spec in onnx_shapes.input_specs(found.model)] == [(1, 16, 16, 16)]


def test_a_failure_that_does_not_come_again_leaves_nothing() -> None:
    assert reduce.smallest(chain("Relu", "Exp"), lambda part: False) is None


def test_when_the_time_is_over_the_smallest_so_far_is_kept_and_says_so() -> None:
    asked = 0

    def fails(part: Any) -> bool:
        nonlocal asked
        asked += 1
        return holds("Exp")(part)

    found = reduce.smallest(chain(*["Relu"] * 30, "Exp", *["Neg"] * 30), fails, lambda: asked >= 4)
    assert found is not None
    assert not found.complete
    assert (found.trials, asked) == (4, 4)
    assert 1 < len(found.nodes) < 61
    assert "Exp" in kinds_of(found)
    assert reduce.describe(found.model).endswith("nodes)")


def test_a_cut_at_a_value_of_unknown_shape_is_not_made() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"], name="where"),
        helper.make_node("Cast", ["where"], ["f"], name="cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["y"], name="sum", keepdims=0),
    ]
    whole = onnx.shape_inference.infer_shapes(model(nodes, [value("x", [1, 4])], [value("y", [])]))
    found = reduce.smallest(whole, holds("Cast"))
    assert kinds_of(found) == ["NonZero", "Cast", "ReduceSum"]


@pytest.mark.parametrize("condition", [True, False])
def test_what_an_inner_graph_reads_comes_along(condition: bool) -> None:
    branch = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["m"], name="inner")], "b", [], [value("m", [1, 4])])
    nodes = [
        helper.make_node("Relu", ["v"], ["x"], name="before"),
        helper.make_node("If", ["c"], ["y"], name="if", then_branch=branch, else_branch=branch),
    ]
    whole = model(nodes, [value("v", [1, 4]), value("c", [], onnx.TensorProto.BOOL)], [value("y", [1, 4])], [weight("w", 1, 4)])
    part = reduce.subgraph(onnx.shape_inference.infer_shapes(whole), {1})
    assert part is not None
    assert [entry.name for entry in part.graph.input] == ["c", "x"]
    assert [tensor.name for tensor in part.graph.initializer] == ["w"]
