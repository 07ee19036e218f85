from __future__ import annotations

import pytest

from compilers.tvm_schedule import largest_divisor


@pytest.mark.parametrize(
    ("extent", "limit", "want"), [(112, 16, 16), (56, 16, 14), (7, 16, 7), (13, 8, 1), (1, 16, 1), (64, 8, 8)]
)
def test_largest_divisor(extent: int, limit: int, want: int) -> None:
    assert largest_divisor(extent, limit) == want
