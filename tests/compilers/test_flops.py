from __future__ import annotations

import pytest

from compilers.flops import Operation, count
from compilers.onnx_shapes import infer, operations
from tests.compilers.graphs import CNN_FLOPS, cnn


def node(kind: str, inputs: list[tuple[int, ...] | None], output: tuple[int, ...] | None, **extra: object) -> Operation:
    return Operation(name="n", kind=kind, inputs=inputs, outputs=[output], **extra)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operation", "macs"),
    [
        (node("Conv", [(1, 3, 224, 224), (64, 3, 7, 7)], (1, 64, 112, 112)), 118_013_952),  # resnet50's stem
        (node("Conv", [(1, 32, 8, 8), (32, 1, 3, 3)], (1, 32, 8, 8)), 32 * 64 * 9),
        (node("ConvTranspose", [(1, 8, 4, 4), (8, 2, 3, 3)], (1, 2, 9, 9)), 8 * 16 * 2 * 9),
        (node("MatMul", [(2, 5, 7), (7, 11)], (2, 5, 11)), 2 * 5 * 7 * 11),
        (node("MatMul", [(7,), (7,)], ()), 7),
        (node("Gemm", [(5, 7), (11, 5)], (7, 11), transposed_a=True), 5 * 7 * 11),
        (node("Einsum", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), equation="bij,bjk->bik"), 2 * 3 * 4 * 5),
        (node("QLinearConv", [(1, 3, 8, 8), (), (), (4, 3, 3, 3)], (1, 4, 6, 6)), 4 * 36 * 27),
        (node("Relu", [None], None), 0),
    ],
)
def test_one_operation(operation: Operation, macs: int) -> None:
    assert count([operation]).flops == 2 * macs


def test_unknown_shapes_and_arithmetic_give_none_and_the_reason() -> None:
    missing = count([node("Conv", [None, None], None)])
    assert missing.flops is None
    assert "shapes of Conv node 'n'" in str(missing.reason)
    fused = count([node("Attention", [(1,)], (1,), known=False)])
    assert fused.flops is None
    assert "Attention" in str(fused.reason)


def test_a_whole_graph(tmp_path: object) -> None:
    from pathlib import Path

    assert count(operations(infer(cnn(), Path("cnn.onnx")))).flops == CNN_FLOPS
