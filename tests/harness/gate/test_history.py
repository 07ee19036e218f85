from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.gate import history


def night(at: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "kind": history.NIGHT, "utc": f"2026-01-{at + 1:02d}T00:00:00+00:00", "hardware": "h", "environment": "e", "model": "m",
        "candidate": "c", "baseline": "b", "verdict": "pass", "reason": None, "rate_per_s": 10.0,
        "metrics": {"p50_ms": {"baseline": 1.0, "tonight": 1.0, "ratio": 1.0, "low": 0.9, "high": 1.1, "verdict": "pass"}},
        "self_test": {"silent": True, "fired": True}, **more,
    }  # fmt: skip


def test_nights_are_only_added(tmp_path: Path) -> None:
    history.append(tmp_path, [night(0)])
    before = (tmp_path / history.FILE).read_bytes()
    history.append(tmp_path, [night(1), {"kind": history.ENVIRONMENT, "fingerprint": "e", "facts": {"kernel": "6"}}])
    assert (tmp_path / history.FILE).read_bytes().startswith(before)
    found = history.read(tmp_path)
    assert [each["utc"][:10] for each in found.nights] == ["2026-01-01", "2026-01-02"]
    assert found.environments == {"e": {"kernel": "6"}}
    assert history.read(tmp_path / "none").nights == ()


def test_a_line_torn_by_a_crash_costs_itself_only(tmp_path: Path) -> None:
    history.append(tmp_path, [night(0)])
    with (tmp_path / history.FILE).open("a") as file:
        file.write('{"schema": 1, "kind": "nig')
    history.append(tmp_path, [night(1)])
    found = history.read(tmp_path)
    assert len(found.nights) == 2
    assert "1 unreadable line(s) passed over (2)" in found.warnings[0]


_NAMES = st.sampled_from(["schema", "kind", "metrics", "self_test", "facts"])
_VALUES = st.recursive(
    st.none() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=60) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_line_whatever_it_holds_breaks_the_reading(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / history.FILE
    path.unlink(missing_ok=True)
    history.append(tmp_path, [night(0)])
    with path.open("ab") as file:
        file.write(junk.replace(b"\n", b" ") + b"\n")
    history.append(tmp_path, [night(1)])
    assert len(history.read(tmp_path).nights) == 2


def test_a_later_schema_and_figures_that_are_none_are_passed_over(tmp_path: Path) -> None:
    nothing = {"p50_ms": {"baseline": 1, "tonight": 0, "ratio": 1}}
    history.append(tmp_path, [night(0), {**night(1), "schema": 9}, night(2, metrics=nothing)])
    found = history.read(tmp_path)
    assert len(found.nights) == 1
    assert "(2, 3)" in found.warnings[0]


def test_the_tally_counts_what_was_measured(tmp_path: Path) -> None:
    tests = [{"silent": True, "fired": True}, {"silent": False, "fired": True}, {"silent": None, "fired": None}]
    found = history.tallies([night(at, self_test=test) for at, test in enumerate(tests)])
    assert (found["twin"].good, found["twin"].nights) == (1, 2)
    assert (found["canary"].good, found["canary"].nights) == (2, 2)


def test_a_series_is_one_candidate_on_one_hardware_in_one_environment() -> None:
    before = history.History(nights=(night(0),), environments={"e": {"kernel": "6", "packages": {"numpy": "1"}}})
    assert history.new_series(before, night(1)) is None
    assert history.new_series(before, night(1, candidate="other")) is None
    known = {**before.environments, "f": {"kernel": "7", "packages": {"numpy": "2"}}}
    said = history.new_series(history.History(nights=before.nights, environments=known), night(1, environment="f"))
    assert said is not None
    assert "kernel: 6 → 7" in said
    assert "numpy: 1 → 2" in said
