"""The named profiles and what they refuse."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.nouns import LoadProfile
from loadprofiles.registry import PROFILES, profile
from loadprofiles.schedule import arrivals


def test_each_name_makes_the_load_it_says() -> None:
    assert profile("steady", duration_s=2, rate_per_s=10) == LoadProfile(
        arrivals="constant", duration_s=2, seed=0, rate_per_s=10
    )
    assert profile("poisson", duration_s=2, rate_per_s=10, seed=7).seed == 7
    closed = profile("closed", duration_s=2, users=4)
    assert (closed.users, closed.open_loop) == (4, False)


@pytest.mark.parametrize("name", list(PROFILES))
def test_each_is_one_the_schedule_knows_and_asks_one_question(name: str) -> None:
    entry = PROFILES[name]
    assert entry.name == name
    assert entry.question.endswith("?")
    assert "\n" not in entry.question
    if entry.arrivals != "closed":
        assert len(arrivals(profile(name, duration_s=1, rate_per_s=100))) > 50


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean poisson"):
        profile("poison", duration_s=1, rate_per_s=1)
    with pytest.raises(UsageError, match="steady, poisson, closed"):
        profile("zzz", duration_s=1, rate_per_s=1)


@pytest.mark.parametrize(
    ("name", "figures", "message"),
    [
        ("steady", {"rate_per_s": 0.0}, "rate must be above 0"),
        ("steady", {"rate_per_s": -1.0}, "rate must be above 0"),
        ("steady", {"rate_per_s": float("nan")}, "rate must be above 0"),
        ("steady", {"rate_per_s": 1e6 + 1}, "at most 1,000,000 per s"),
        ("poisson", {}, "give a rate"),
        ("poisson", {"rate_per_s": 1.0, "users": 2}, "no users"),
        ("closed", {}, "number of users"),
        ("closed", {"users": 0}, "users must be 1"),
        ("closed", {"users": 10**9}, "users must be 1"),
        ("closed", {"users": 1, "rate_per_s": 1.0}, "no rate"),
        ("steady", {"rate_per_s": 1.0, "duration_s": 0.0}, "duration must be above 0"),
        ("steady", {"rate_per_s": 1.0, "duration_s": float("inf")}, "duration must be above 0"),
        ("steady", {"rate_per_s": 1.0, "seed": -1}, "seed must be 0"),
    ],
)
def test_figures_out_of_bounds_are_refused(name: str, figures: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        profile(name, **{"duration_s": 1.0, **figures})  # type: ignore[arg-type]
