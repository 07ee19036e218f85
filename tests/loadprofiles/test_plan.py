"""Plans and replies across the pipe, and what each refuses."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from harness.errors import UsageError
from harness.timeline import Timeline
from loadprofiles.plan import Plan, Reply, StopRule

OPEN = Plan(
    host="127.0.0.1",
    port=80,
    path="/v2/models/m/infer",
    headers={"Content-Type": "application/octet-stream"},
    bodies=("a", "b"),
    order="order.npy",
    samples="samples",
    duration_s=1.5,
    connections=8,
    arrivals="arrivals.npy",
    in_flight_cap=8,
)
REPLY = Reply(
    planned=10,
    succeeded=6,
    failed=1,
    dropped=2,
    undrained=1,
    start_ns=1,
    window_ns=2,
    active_ns=3,
    cpu_s=0.1,
    cpu_peak=None,
    loop_lag_p99_ms=None,
    run_queue_wait_s=None,
    connections_opened_in_window=0,
    max_in_flight=3,
    in_flight_integral_ns=4,
    locust_requests=8,
    locust_failures=2,
    seconds=Timeline(edges_ns=(1, 2, 3), values={"loop_lag_ms": (0.5, None)}),
)


@pytest.mark.parametrize("plan", [OPEN, replace(OPEN, stop_after=StopRule(limit_ms=5, count=2), expect_body_bytes=4)])
def test_a_plan_survives_the_pipe(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    assert "\n" not in plan.to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrivals": None, "in_flight_cap": None}, "either arrivals"),
        ({"users": 2}, "either arrivals"),
        ({"in_flight_cap": None}, "for None requests at a time"),
        ({"in_flight_cap": 9}, "for 9 requests at a time cannot run on 8"),
        ({"bodies": ()}, "at least one request body"),
        ({"duration_s": 0.0}, "duration"),
        ({"path": "/a b"}, "percent-encode"),
        ({"path": "/a\r\nX: y"}, "percent-encode"),
        ({"headers": {"X": "y\r\nZ: 1"}}, "line break"),
        ({"headers": {"X": "\u20ac"}}, "Latin-1"),
    ],
)
def test_a_contradictory_plan_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(OPEN, **changes)


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"bodies": []}', OPEN.to_json().replace('"port"', '"ports"')])
def test_what_is_not_a_plan_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="not a load plan"):
        Plan.from_json(line)


def test_the_head_says_the_length_once_and_keeps_given_headers() -> None:
    plan = replace(OPEN, headers={"Content-Type": "a/b", "content-length": "9", "Accept-Encoding": "gzip"})
    lines = plan.head(12).decode().split("\r\n")
    assert lines[0] == "POST /v2/models/m/infer HTTP/1.1"
    assert sorted(lines[1:-2]) == ["Accept-Encoding: gzip", "Content-Length: 12", "Content-Type: a/b", "Host: 127.0.0.1:80"]
    assert b"Host: [::1]:80\r\n" in replace(OPEN, host="::1").head(0)


def test_a_reply_survives_the_pipe_and_strangers_do_not() -> None:
    data = json.loads(json.dumps(asdict(REPLY)))
    assert Reply.from_mapping(data) == REPLY
    with pytest.raises(ValueError):
        Reply.from_mapping({**data, "more": 1})
    del data["planned"]
    with pytest.raises(ValueError):
        Reply.from_mapping(data)


def test_contradictions_are_seen() -> None:
    assert REPLY.contradiction() is None
    assert "accounted for" in str(replace(REPLY, planned=11).contradiction())
    assert "Locust counted 9" in str(replace(REPLY, locust_requests=9).contradiction())
    assert "Locust counted 1" in str(replace(REPLY, locust_failures=1).contradiction())
