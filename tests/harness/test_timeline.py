from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.timeline import Timeline

S = 1_000_000_000
THREE = Timeline(edges_ns=(0, S, 2 * S, 4 * S), values={"a": (1.0, None, 4.0), "b": (None, None, None)})


def test_the_mean_is_over_time_and_over_what_is_known() -> None:
    assert len(THREE) == 3
    assert THREE.mean("a") == pytest.approx((1.0 * 1 + 4.0 * 2) / 3)
    assert THREE.mean("b") is None
    assert THREE.mean("c") is None


def test_a_signal_without_any_value_is_unknown() -> None:
    assert THREE.seconds("a") == (1.0, None, 4.0)
    assert THREE.seconds("b") is None
    assert THREE.seconds("c") is None


@pytest.mark.parametrize(
    ("begin", "end", "edges"),
    [
        (0, 4 * S, (0, S, 2 * S, 4 * S)),
        (S // 2, 2 * S, (0, S, 2 * S)),
        (S // 2 + 1, 2 * S, (S, 2 * S)),
        (S // 4, S // 2, (0, S)),  # nothing is half inside, so the one with most of it
        (5 * S, 6 * S, ()),
    ],
)
def test_intervals_at_least_half_inside_are_kept(begin: int, end: int, edges: tuple[int, ...]) -> None:
    assert THREE.within(begin, end).edges_ns == edges


def test_nothing_of_nothing() -> None:
    assert len(Timeline().within(0, S)) == 0
    assert Timeline.of([0], []) == Timeline()


def test_values_must_fit_the_intervals() -> None:
    with pytest.raises(ValueError, match="a has 1 values for 2 intervals"):
        Timeline(edges_ns=(0, 1, 2), values={"a": (1.0,)})


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(-1e6, 1e6)), min_size=1, max_size=9))
def test_rows_survive_json(rows: list[dict[str, float | None]]) -> None:
    made = Timeline.of(range(len(rows) + 1), rows)
    assert Timeline.from_mapping(json.loads(json.dumps(asdict(made)))) == made
    for name, values in made.values.items():
        for row, value in zip(rows, values, strict=True):
            want = row.get(name)
            assert (value is None) == (want is None)
            assert value is None or want is None or value == pytest.approx(want, rel=1e-3)
