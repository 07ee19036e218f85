"""The load profiles by name and by file, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.nouns import LoadProfile, Segment
from loadprofiles import registry
from loadprofiles.registry import Figures, build, find, named, needs, profile
from loadprofiles.schedule import arrivals, user_changes

NAMES = {
    "closed", "offline", "phases", "poisson", "singlestream", "smoke", "soak", "spike", "stairs", "steady", "trace",
}  # fmt: skip
FIGURES: dict[str, dict[str, Any]] = {"rate": {"rate_per_s": 20.0}, "users": {"users": 2}}


def test_each_name_makes_the_load_it_says() -> None:
    assert profile("steady", duration_s=2, rate_per_s=10) == LoadProfile(
        arrivals="constant", duration_s=2, seed=0, rate_per_s=10
    )
    assert profile("poisson", rate_per_s=10, seed=7).seed == 7
    closed = profile("closed", duration_s=2, users=4)
    assert (closed.users, closed.open_loop) == (4, False)
    assert profile("singlestream").users == 1
    assert (profile("offline").requests, profile("offline", users=3).users) == (1024, 3)
    assert profile("soak", rate_per_s=1).duration_s == 4 * 3600


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_opens_with_one_question_and_runs_when_given_what_it_needs(name: str, tmp_path: Path) -> None:
    assert set(named()) == NAMES
    found = named()[name]
    text = (Path(registry.__file__).parent / "profiles" / f"{name}.toml").read_text()
    assert text.startswith(f'question = "{found.question}"\n')
    assert found.question.endswith("?")
    if needs(found) == ("trace",):
        (tmp_path / "t.csv").write_text("timestamp\n0\n0.5\n2\n")
        load = build(name, found, Figures(trace=str(tmp_path / "t.csv")))
        assert load.trace == str(tmp_path / "t.csv")
        assert load.duration_s == pytest.approx(2)
        return
    figures = {key: value for need in needs(found) for key, value in FIGURES[need].items()}
    load = profile(name, **figures)
    assert load.duration_s > 0
    if load.open_loop:
        assert len(arrivals(load)) >= 20
    else:
        assert user_changes(load)[0, 0] == 0
    for need in needs(found):
        with pytest.raises(UsageError, match=f"^{name}: give .*{need}"):
            profile(name)


def test_a_spike_goes_up_and_back_and_stretches_with_its_duration() -> None:
    spike = profile("spike", rate_per_s=10, duration_s=120)
    assert spike.segments == tuple(
        Segment(duration_s=length, start=rate, end=rate) for length, rate in ((40, 10), (20, 50), (60, 10))
    )
    assert spike.rate_per_s is None


def test_a_profile_of_ones_own_is_a_file(tmp_path: Path) -> None:
    own = tmp_path / "ramp.toml"
    own.write_text(
        'arrivals = "poisson"\nrate_per_s = 4\n'
        "[[segments]]\nduration_s = 10\ntimes = 0\nto_times = 2\n[[segments]]\nduration_s = 5\ntimes = 2\n"
    )
    ramp = profile(str(own))
    assert ramp.segments == (Segment(duration_s=10, start=0, end=8), Segment(duration_s=5, start=8, end=8))
    assert len(arrivals(ramp)) == 80
    assert profile(str(own), rate_per_s=8).segments[1].end == 16


def test_a_trace_of_a_file_is_beside_it_and_its_speed_is_the_files_unless_given(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("minute,count\n" + "".join(f"{minute},{minute}\n" for minute in range(60)))
    own = tmp_path / "day.toml"
    own.write_text('arrivals = "trace"\ntrace = "day.csv"\ncompress = 60\n')
    assert needs(find(str(own))) == ()
    assert profile(str(own)).duration_s == 60
    assert build("day", find(str(own)), Figures(compress=120)).duration_s == 30
    assert profile(str(own), duration_s=10).duration_s == 10


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean poisson"):
        profile("poison", duration_s=1, rate_per_s=1)
    with pytest.raises(UsageError, match=r"closed, .*trace.*Or give a \.toml"):
        profile("zzz", duration_s=1, rate_per_s=1)
    with pytest.raises(UsageError, match=r"no/such\.toml: no such file"):
        profile("no/such.toml")


@pytest.mark.parametrize(
    ("name", "figures", "message"),
    [
        ("steady", {"rate_per_s": 0.0}, "rate must be above 0 and at most 1,000,000 per s"),
        ("steady", {"rate_per_s": -1.0}, "rate must be above 0"),
        ("steady", {"rate_per_s": float("nan")}, "rate must be above 0"),
        ("steady", {"rate_per_s": 1e6 + 1}, "at most 1,000,000 per s"),
        ("poisson", {}, "give a rate"),
        ("poisson", {"rate_per_s": 1.0, "users": 2}, "no users"),
        ("poisson", {"rate_per_s": 1.0, "requests": 2}, "requests is for a closed loop"),
        ("poisson", {"rate_per_s": 1.0, "compress": 2.0}, "compress is for a trace"),
        ("closed", {}, "number of users"),
        ("closed", {"users": 0}, "users must be a whole number, 1 to 10,000, not 0"),
        ("closed", {"users": 10**9}, "users must be a whole number, 1 to 10,000, not 1,000,000,000"),
        ("closed", {"users": 1, "rate_per_s": 1.0}, "no rate"),
        ("closed", {"users": 1, "requests": 0}, "requests must be a whole number, 1 to 20,000,000"),
        ("stairs", {"users": 2}, "users is in its traffic pattern"),
        ("trace", {}, "give a trace"),
        ("trace", {"rate_per_s": 2.0}, "rate is in its trace"),
        ("steady", {"rate_per_s": 1.0, "duration_s": 0.0}, "duration must be above 0"),
        ("steady", {"rate_per_s": 1.0, "duration_s": float("inf")}, "duration must be above 0"),
    ],
)
def test_figures_out_of_bounds_are_refused(name: str, figures: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, find(name), Figures(**figures))  # type: ignore[arg-type]


def test_a_negative_seed_and_a_trace_of_days_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed must be 0"):
        profile("steady", rate_per_s=1.0, seed=-1)
    week = tmp_path / "week.csv"
    week.write_text("hour,count\n" + "".join(f"{hour},5\n" for hour in range(168)))
    with pytest.raises(UsageError, match=r"week\.csv: takes 604,800 s at 1 times its speed; allowed: up to 86,400"):
        build("trace", find("trace"), Figures(trace=str(week)))
    assert build("trace", find("trace"), Figures(trace=str(week), compress=7)).duration_s == 86_400
