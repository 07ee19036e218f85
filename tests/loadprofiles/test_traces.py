"""The reader of request traces: what it makes of each form, and one line with file and line number for everything else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from loadprofiles.traces import NS_PER_S, Trace, read_trace

SHARED = Path(__file__).parents[3] / "shared" / "data" / "traces"


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[str], Trace]:
    def read(text: str) -> Trace:
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        return read_trace(path)

    return read


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,count\n2026-01-01T00:00:00Z,3\n2026-01-01T00:01:00Z,0\n2026-01-01T00:02:00Z,5\n",
        "minute,count\n0,3\n1,0\n2,5\n",
        "# made by hand\nTime,Other,Requests\n60,x,3\n120,y,0\n\n180,z,5\n",
        "timestamp_ms;value\n0;3.0\n60000;0.0\n120000;5.0\n",
        "\ufefftimestamp,count\n2026-01-01 00:00+02:00,3\n2026-01-01 00:01+02,0\n2026-01-01 00:02+0200,5\n",
        "1700000000,3\n1700000060,0\n1700000120,5\n",
    ],
    ids=["utc", "minutes", "seconds", "milliseconds", "zone", "headerless"],
)
def test_counts_in_every_form_read_the_same(trace: Callable[[str], Trace], text: str) -> None:
    found = trace(text)
    assert found.counts is not None
    assert found.counts.tolist() == [3, 0, 5]
    assert (found.interval_s, found.span_ns, found.total) == (60.0, 180 * NS_PER_S, 8)
    assert found.mean_rate_per_s == pytest.approx(8 / 180)


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,tokens\n2026-01-01 23:59:59.1234567,1\n2026-01-01 23:59:59.1234568,2\n2026-01-02 00:00:00.1234567,3\n",
        "time_ns\n1700000000123456700\n1700000000123456800\n1700000001123456700\n",
        "0.25\n0.2500001\n1.25\n",
    ],
    ids=["iso", "ns", "headerless"],
)
def test_arrivals_are_exact_offsets_from_the_first(trace: Callable[[str], Trace], text: str) -> None:
    found = trace(text)
    assert found.offsets_ns is not None
    assert found.offsets_ns.tolist() == [0, 100, NS_PER_S]
    assert (found.counts, found.interval_s, found.span_ns) == (None, None, NS_PER_S + 1)


@given(st.lists(st.integers(0, 86_400 * NS_PER_S), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_iso_times_survive_to_the_microsecond(tmp_path_factory: pytest.TempPathFactory, offsets: list[int]) -> None:
    origin = datetime(2024, 2, 28, 12, tzinfo=UTC)
    micros = sorted(offset // 1000 for offset in offsets)
    path = tmp_path_factory.mktemp("iso") / "t.csv"
    path.write_text("timestamp\n" + "".join(f"{(origin + timedelta(microseconds=us)).isoformat()}\n" for us in micros))
    found = read_trace(path).offsets_ns
    assert found is not None
    assert found.tolist() == [(us - micros[0]) * 1000 for us in micros]


@pytest.mark.parametrize(
    ("begin", "hour"),
    [("08:00:00Z", 8), ("08:00:00", 8), ("08:00:00+05:30", 2.5), ("20:00:00-0800", 4), ("01:00:00+02", 23)],
)
def test_a_trace_begins_in_utc(trace: Callable[[str], Trace], begin: str, hour: float) -> None:
    assert trace(f"timestamp\n2026-01-01T{begin}\n").begins_s == hour * 3600
    assert trace("timestamp\n5\n").begins_s is None


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", None, "empty"),
        ("timestamp,count\n", None, "no rows"),
        ("colour,count\nred,3\n", 1, "no time column"),
        ("minute\n1\n2\n", 1, "numbers intervals"),
        ("timestamp,count\n0,1\n60,-2\n120,3\n", 3, "the count -2"),
        ("timestamp,count\n0,1\n60,2.5\n", 3, "the count 2.5"),
        ("timestamp,count\n0,1\n60,nan\n", 3, "the count nan"),
        ("timestamp,count\n0,1\n60\n", 3, "(nothing)"),
        ("timestamp,count\n0,1\n60,1\n180,1\n240,1\n", 4, "120 s after the row before it, where the interval is 60 s"),
        ("timestamp,count\n0,1\n120,1\n180,1\n240,1\n", 3, "120 s after"),
        ("timestamp,count\n0,1\n60,1\n60,1\n", 4, "repeats"),
        ("timestamp,count\n0,1\n", None, "at least two"),
        ("timestamp,count\n0,0\n60,0\n", None, "no requests"),
        ("timestamp\n5\n4.5\n", 3, "0.5 s before"),
        ("timestamp\n5\n-4\n", 3, "out of range"),
        ("timestamp\n5\ninf\n", 3, "no time"),
        ("timestamp\n2026-01-01T00:00:00Z\n2026-01-01T00:00:01+01:00\n", 3, "in zone +0100, those before are in UTC"),
        ("timestamp\n2026-01-01T00:00:00Z\n2026-01-01T00:00:01\n", 3, "without a zone"),
        ("timestamp\n1\n2026-01-01T00:00:01\n", 3, "those before are a number"),
        ("timestamp\n2026-13-01T00:00:00\n", 2, "no date"),
        ("timestamp\n0\n99999999\n", None, "400 days"),
    ],
)
def test_what_is_no_trace_says_where_and_why(
    trace: Callable[[str], Trace], tmp_path: Path, text: str, line: int | None, why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        trace(text)
    message = str(caught.value)
    assert str(tmp_path / "t.csv") in message
    assert why in message
    assert "\n" not in message
    assert line is None or f"line {line}:" in message


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UsageError, match="UTF-8"):
        read_trace(tmp_path / "binary.csv")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published traces are not here")
def test_a_published_trace_of_arrivals() -> None:
    found = read_trace(SHARED / "azure_llm_2023_conv.csv")
    assert found.total == 19_366
    assert found.offsets_ns is not None
    assert np.all(np.diff(found.offsets_ns) >= 0)
