"""Reading a result: absent leaves stay absent, and every candidate is ranked or not."""

from __future__ import annotations

from typing import Any

import pytest

from reports import result as read


@pytest.mark.parametrize("value", [None, True, "7", float("nan"), float("inf"), 10**400, [], {}])
def test_number_takes_only_finite_numbers(value: Any) -> None:
    assert read.number({"a": value}, "a") is None


def test_paths_through_null_end_in_none() -> None:
    assert read.number({"a": None}, "a", "b") is None
    assert read.number({"a": {"b": 0}}, "a", "b") == 0
    assert read.mapping({"a": []}, "a") == {}
    assert read.rows({"a": [None, {"b": 1}]}, "a") == [{"b": 1}]
    assert read.text({"a": "  "}, "a") is None


def test_every_candidate_is_ranked_or_not(full: dict[str, Any]) -> None:
    names = [row["id"] for row in [*read.ranked(full), *read.unranked(full)]]
    assert sorted(names) == sorted(row["id"] for row in full["candidates"])


def test_ranked_are_ordered_by_rank(full: dict[str, Any]) -> None:
    full["candidates"].reverse()
    assert [row["rank"] for row in read.ranked(full)] == [1, 2, 3]


def test_stated_latency_falls_back_to_a_lower_percentile(full: dict[str, Any]) -> None:
    by_name = {row["id"]: row for row in full["candidates"]}
    assert read.stated_latency(full, by_name["openvino@local-1"])[0] == "p99"
    assert read.stated_latency(full, by_name["inductor@local-1"])[0] == "p95"
    assert read.stated_latency(full, by_name["tvm@local-1"]) == (None, {})


def test_stated_latency_is_never_above_the_slo_quantile(full: dict[str, Any]) -> None:
    full["slo"]["quantile"] = 0.95
    assert read.stated_latency(full, full["candidates"][0])[0] == "p95"
