from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate import schedule
from harness.gate.schedule import LATENCY, THROUGHPUT, Load, order, turns

NS = 1e9


def test_two_take_turns_as_abba() -> None:
    assert "".join("".join(map(str, order(turn, "AB"))) for turn in (0, 1)) == "ABBA"


@pytest.mark.parametrize("arms", ["AB", "ABC", "ABCD"])
def test_everyone_is_everywhere_and_after_everyone_equally_often(arms: str) -> None:
    rows = [order(turn, arms) for turn in range(2 * len(arms))]
    assert all(sorted(map(str, row)) == sorted(arms) for row in rows)
    places = Counter((at, arm) for row in rows for at, arm in enumerate(row))
    followers = Counter(pair for row in rows for pair in pairwise(row))
    assert set(places.values()) == {2}
    assert set(followers.values()) == {2}
    assert all(rows[at] == rows[at + 1][::-1] for at in range(0, len(rows), 2)), "each row is mirrored"


loads = st.builds(
    lambda closed, share, slice_s, slower: Load(rate_per_s=share * closed, closed_per_s=closed, slice_s=slice_s, slower=slower),
    st.floats(2.0, 5000.0), st.floats(0.25, 0.5), st.floats(0.2, 3.0), st.floats(1.0, 20.0),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(load=loads, versions=st.integers(2, 4), block=st.integers(0, 11))
def test_all_versions_get_the_same_requests_in_turns_that_do_not_overlap(load: Load, versions: int, block: int) -> None:
    made = turns(load, versions, block, 3, 7)
    assert (np.diff(made.offsets_ns) >= 0).all()
    assert made.offsets_ns[-1] < made.duration_s * NS
    assert made.duration_s == pytest.approx(load.block_s(versions))
    first = None
    for version in range(versions):
        own = made.version == version
        shape = []
        for cycle in range(load.cycles):
            for kind in (LATENCY, THROUGHPUT):
                turn = own & (made.cycle == cycle) & (made.kind == kind)
                start = made.offsets_ns[turn].min()
                shape.append((np.diff(made.offsets_ns[turn]).tolist(), made.payload[turn].tolist()))
                inside = (made.offsets_ns >= start) & (made.offsets_ns <= made.offsets_ns[turn].max())
                assert (made.version[inside] == version).all()
        first = first or shape
        assert [payloads for _, payloads in shape] == [payloads for _, payloads in first]
        for (gaps, _), (same, _) in zip(shape, first, strict=True):
            assert np.abs(np.array(gaps) - np.array(same)).max(initial=0) <= 2


def test_a_block_of_a_usual_model_is_short_and_has_its_requests() -> None:
    load = Load(rate_per_s=100.0, closed_per_s=250.0)
    assert load.cycles == 20
    assert load.block_s(4) == pytest.approx(11.0, abs=1.0)
    made = turns(load, 4, 0, 1, 32)
    assert ((made.version == 0) & (made.kind == LATENCY)).sum() == 20 * 6
    slow = Load(rate_per_s=5.0, closed_per_s=12.0)
    assert slow.turn_s == pytest.approx(10 / 12)
    assert slow.cycles == 2
    assert slow.block_s(4) < 25.0


def test_there_is_room_for_a_version_that_is_much_slower() -> None:
    load = Load(rate_per_s=50.0, closed_per_s=100.0, slower=4.0)
    made = turns(load, 2, 0, 1, 4)
    for at in range(len(made.offsets_ns) - 1):
        if made.version[at] != made.version[at + 1]:
            assert made.offsets_ns[at + 1] - made.offsets_ns[at] > 2 * 0.04 * NS


def test_the_accepted_rate_is_kept_while_it_loads_the_server_as_it_should() -> None:
    assert schedule.rate_per_s(100.0, 40.0) == (40.0, True)
    assert schedule.rate_per_s(85.0, 40.0) == (40.0, True)
    assert schedule.rate_per_s(60.0, 40.0) == (24.0, False)
    assert schedule.rate_per_s(400.0, 40.0) == (160.0, False)
    assert schedule.rate_per_s(100.0, None) == (40.0, False)


def test_blocks_and_runs_differ() -> None:
    load = Load(rate_per_s=110.0, closed_per_s=220.0)
    made = [turns(load, 2, block, seed, 32).offsets_ns.tolist() for block, seed in ((0, 1), (1, 1), (0, 2), (0, 1))]
    assert made[0] == made[3]
    assert made[0] != made[1]
    assert made[0] != made[2]
