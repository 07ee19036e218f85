from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from harness.gate import schedule
from harness.gate.schedule import order


def test_two_take_turns_as_abba() -> None:
    assert "".join("".join(order(block, "AB")) for block in (0, 1)) == "ABBA"


@pytest.mark.parametrize("arms", ["AB", "ABC", "ABCD"])
def test_everyone_is_everywhere_and_after_everyone_equally_often(arms: str) -> None:
    blocks = [order(block, arms) for block in range(2 * len(arms))]
    assert all(sorted(block) == sorted(arms) for block in blocks)
    places = Counter((at, arm) for block in blocks for at, arm in enumerate(block))
    followers = Counter(pair for block in blocks for pair in pairwise(block))
    assert set(places.values()) == {2}
    assert set(followers.values()) == {2}
    assert all(blocks[at] == blocks[at + 1][::-1] for at in range(0, len(blocks), 2)), "each row is mirrored"


def test_a_slice_is_long_enough_for_its_requests_within_bounds() -> None:
    assert schedule.slice_s(1000.0, None) == schedule.SLICE_MIN_S
    assert schedule.slice_s(1.0, None) == schedule.SLICE_MAX_S
    assert schedule.slice_s(1.0, 0.7) == 0.7


def test_the_accepted_rate_is_kept_while_it_loads_the_server_as_it_should() -> None:
    assert schedule.rate_per_s(100.0, 50.0) == (50.0, True)
    assert schedule.rate_per_s(85.0, 50.0) == (50.0, True)
    assert schedule.rate_per_s(60.0, 50.0) == (30.0, False)
    assert schedule.rate_per_s(400.0, 50.0) == (200.0, False)
    assert schedule.rate_per_s(100.0, None) == (50.0, False)


def test_schedules_differ_between_blocks_runs_and_kinds_only() -> None:
    seeds = {schedule.seed(1, run, block, kind) for run in range(3) for block in range(12) for kind in range(2)}
    assert len(seeds) == 72
    assert schedule.seed(1, 0, 0, 0) == schedule.seed(1, 0, 0, 0)
