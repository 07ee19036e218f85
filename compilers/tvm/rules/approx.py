"""Functions that a CPU has no instruction for, as arithmetic that vectorises; errors stand with each and are tested.

LLVM would otherwise call libm once per element.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import te, tirx, topi

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
_EXP_LOW, _EXP_HIGH = -87.33654, 88.72283
"""Below, exp is under the smallest normal number; above, over the largest."""
_EXP_TERMS = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""Cephes expf (Moshier): exp(r) = 1 + r + r^2 P(r) on |r| <= ln 2 / 2."""


def _f32(value: float) -> Any:
    return tirx.const(value, "float32")


def exp_bounded(x: Any) -> Any:
    """exp(x) for x <= 88.7 within 2e-7 relative; 1.2e-38 instead of less. NaN and larger x give some finite number."""
    x = tirx.max(tirx.min(x, _f32(_EXP_HIGH - 0.4)), _f32(_EXP_LOW))
    whole = tirx.floor(x * _f32(_LOG2E) + _f32(0.5))
    rest = x - whole * _f32(_LN2_HIGH) - whole * _f32(_LN2_LOW)
    value = _f32(_EXP_TERMS[0])
    for term in _EXP_TERMS[1:]:
        value = value * rest + _f32(term)
    value = value * rest * rest + rest + _f32(1.0)
    power = tirx.reinterpret("float32", (whole.astype("int32") + tirx.const(127, "int32")) << tirx.const(23, "int32"))
    return value * power


def exp(data: Any) -> Any:
    """exp of every element: 0 below the normal range, infinity above, NaN stays."""

    def value(*index: Any) -> Any:
        x = data[index]
        ordinary = tirx.Select(x < _f32(_EXP_LOW), _f32(0.0), exp_bounded(x))
        finite = tirx.Select(x > _f32(_EXP_HIGH - 0.4), _f32(math.inf), ordinary)
        return tirx.Select(x == x, finite, x)

    return te.compute(data.shape, value, name="exp")


def erf(data: Any) -> Any:
    """erf of every element by topi's rational function (Eigen's), within 5e-7."""
    return topi.fast_erf(data)


def tanh(data: Any) -> Any:
    """tanh of every element by topi's rational function (Eigen's), within 5e-7."""
    return topi.fast_tanh(data)


def sigmoid(data: Any) -> Any:
    """1 / (1 + exp(-x)) of every element, within 3e-7."""
    return te.compute(data.shape, lambda *i: _f32(1.0) / (_f32(1.0) + exp_bounded(-data[i])), name="sigmoid")
