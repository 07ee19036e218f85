"""Normalisations along the last axis. Sums run over `width` columns at once, which are added up at the end of a row."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from compilers.tvm.rules.approx import exp_bounded

LAYER_NORM, SOFTMAX = "layer_norm_out", "softmax_out"
LOWEST = -3.4028234663852886e38


def partial(value: Any, rows: tuple[Any, ...], count: int, width: int, name: str, *, largest: bool = False) -> Any:
    """[*rows, width]: the sum (or maximum) of value(*row, j * width + l) over j."""
    j = te.reduce_axis((0, count // width), "j")
    combine = te.max if largest else te.sum
    return te.compute((*rows, width), lambda *i: combine(value(*i[:-1], j * width + i[-1]), axis=[j]), name=name)


def across(lanes: Any, name: str, *, largest: bool = False) -> Any:
    """[*rows]: the sum (or maximum) over the last axis, by halves: one after the other each would wait for the one before."""
    *rows, width = (int(size) for size in lanes.shape)

    def halved(begin: int, end: int, row: tuple[Any, ...]) -> Any:
        if end - begin == 1:
            return lanes[(*row, begin)]
        middle = (begin + end) // 2
        left, right = halved(begin, middle, row), halved(middle, end, row)
        return tirx.max(left, right) if largest else left + right

    return te.compute(tuple(rows), lambda *i: halved(0, width, i), name=name)


def layer_norm(data: Any, gamma: Any, beta: Any, epsilon: float, width: int) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta along the last axis, in two passes over a row."""
    *rows, count = (int(size) for size in data.shape)
    scale = tirx.const(1.0 / count, "float32")
    total = across(partial(lambda *i: data[i], tuple(rows), count, width, "layer_norm_sums"), "layer_norm_sum")

    def centred(*i: Any) -> Any:
        return data[i] - total[i[:-1]] * scale

    spread = across(
        partial(lambda *i: centred(*i) * centred(*i), tuple(rows), count, width, "layer_norm_squares"), "layer_norm_square"
    )
    inverse = te.compute(
        tuple(rows), lambda *i: tirx.rsqrt(spread[i] * scale + tirx.const(epsilon, "float32")), name="layer_norm_inverse"
    )
    return te.compute(
        data.shape,
        lambda *i: centred(*i) * inverse[i[:-1]] * gamma[i[-1]] + beta[i[-1]],
        name=LAYER_NORM,
        attrs={"width": width},
    )


def softmax(data: Any, width: int) -> Any:
    """exp(x - max) / sum along the last axis; a row without a finite maximum gives NaN, as the definition does."""
    *rows, count = (int(size) for size in data.shape)
    top = across(
        partial(lambda *i: data[i], tuple(rows), count, width, "softmax_maxima", largest=True), "softmax_max", largest=True
    )
    powers = te.compute(data.shape, lambda *i: exp_bounded(data[i] - top[i[:-1]]), name="softmax_exp")
    total = across(partial(lambda *i: powers[i], tuple(rows), count, width, "softmax_sums"), "softmax_sum")
    nan = tirx.const(float("nan"), "float32")
    scale = te.compute(
        tuple(rows),
        lambda *i: tirx.Select(tirx.abs(top[i]) <= tirx.const(-LOWEST, "float32"), tirx.const(1.0, "float32") / total[i], nan),
        name="softmax_scale",
    )
    return te.compute(data.shape, lambda *i: powers[i] * scale[i[:-1]], name=SOFTMAX, attrs={"width": width})
