"""How a move is said."""

from __future__ import annotations

import pytest

from harness.decision.changes import percent


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.0, "+0 %"),
        (1.123, "+12 %"),
        (0.881, "−12 %"),
        (0.0064, "−99 %"),
        (0.002, "−100 %"),
        (1.997, "+100 %"),
        (2.0, "2 times"),
        (5.123, "5.12 times"),
    ],
)
def test_a_move_is_a_share_up_to_doubling(factor: float, said: str) -> None:
    assert percent(factor) == said
