from __future__ import annotations

import numpy as np
import pytest

from compilers.tvm.packing import pack_conv, pack_dense, pack_depthwise
from compilers.tvm.winograd import matrices, transform_weight

RANDOM = np.random.default_rng(0)


def test_conv_panels_are_read_in_sequence() -> None:
    weight = RANDOM.standard_normal((32, 12, 3, 2)).astype("f")
    packed = pack_conv(weight, in_chunk=4, panel=16)
    assert packed.shape == (2, 3, 3, 2, 4, 16)
    assert packed.flags.c_contiguous
    for o, i, y, x in ((0, 0, 0, 0), (17, 5, 2, 1), (31, 11, 1, 0)):
        assert packed[o // 16, i // 4, y, x, i % 4, o % 16] == weight[o, i, y, x]


def test_depthwise() -> None:
    weight = RANDOM.standard_normal((24, 1, 5, 3)).astype("f")
    packed = pack_depthwise(weight, chunk=8)
    assert packed.shape == (3, 5, 3, 8)
    assert packed[2, 4, 1, 3] == weight[19, 0, 4, 1]


@pytest.mark.parametrize("columns", [1, 16, 17, 50])
def test_dense_panels_are_filled_up_with_zeros(columns: int) -> None:
    weight = RANDOM.standard_normal((7, columns)).astype("f")
    packed = pack_dense(weight, panel=16)
    whole = packed.transpose(1, 0, 2).reshape(7, -1)
    np.testing.assert_array_equal(whole[:, :columns], weight)
    assert not whole[:, columns:].any()


@pytest.mark.parametrize("m", [2, 4])
def test_winograd_is_an_identity_over_the_integers(m: int) -> None:
    """Correlation of small integers is exact, so that the matrices must reproduce it to the last digit of float64."""
    a, b, g = matrices(m)
    for _ in range(50):
        data = RANDOM.integers(-8, 9, (m + 2, m + 2)).astype(float)
        weight = RANDOM.integers(-8, 9, (3, 3)).astype(float)
        want = np.array([[(data[y : y + 3, x : x + 3] * weight).sum() for x in range(m)] for y in range(m)])
        got = a.T @ ((g @ weight @ g.T) * (b.T @ data @ b)) @ a
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("m", [2, 4])
def test_the_data_transforms_hold_small_integers_only(m: int) -> None:
    a, b, _ = matrices(m)
    for matrix in (a, b):
        assert np.array_equal(matrix, np.round(matrix))
        assert np.abs(matrix).max() <= 8


def test_transformed_weights_stand_where_the_kernel_reads_them() -> None:
    weight = RANDOM.standard_normal((16, 8, 3, 3)).astype("f")
    _, _, g = matrices(4)
    packed = transform_weight(weight, 4, in_chunk=4, panel=8)
    assert packed.shape == (6, 6, 2, 2, 4, 8)
    want = g @ weight[13, 6].astype(float) @ g.T
    np.testing.assert_allclose(packed[:, :, 1, 1, 2, 5], want, rtol=1e-6, atol=1e-7)
