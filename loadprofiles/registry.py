"""The load profiles by name, each with the question it answers. A new one is one line here."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from harness.errors import UsageError
from harness.nouns import LoadProfile

MAX_RATE_PER_S = 1e6
MAX_USERS = 10_000
MAX_DURATION_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedProfile:
    """`arrivals` is the process that `LoadProfile` knows; `question` is what a run under it answers, in one line."""

    name: str
    arrivals: str
    question: str


PROFILES = {
    entry.name: entry
    for entry in (
        NamedProfile(
            name="steady",
            arrivals="constant",
            question="How fast are replies when requests arrive evenly at a fixed rate, whatever the server does?",
        ),
        NamedProfile(
            name="poisson",
            arrivals="poisson",
            question="How fast are replies when many independent users arrive at random at a given mean rate?",
        ),
        NamedProfile(
            name="closed",
            arrivals="closed",
            question="How much can the server do when N users each wait for their reply before asking again?",
        ),
    )
}


def profile(
    name: str, *, duration_s: float, rate_per_s: float | None = None, users: int | None = None, seed: int = 0
) -> LoadProfile:
    """The load profile called `name`; `rate_per_s` is for the open loops, `users` for `closed`.

    Raises UsageError for an unknown name (with the nearest ones), a missing or superfluous figure, and one out of bounds.
    """
    entry = PROFILES.get(name)
    if entry is None:
        near = difflib.get_close_matches(name, PROFILES, n=3, cutoff=0.4) or list(PROFILES)
        raise UsageError(f"no load profile is called {name!r}; did you mean {', '.join(near)}?")
    _check(f"{name}: duration", duration_s, MAX_DURATION_S, "s")
    if seed < 0:
        raise UsageError(f"{name}: seed must be 0 or more, not {seed}")
    if entry.arrivals == "closed":
        if users is None or rate_per_s is not None:
            raise UsageError(f"{name}: give the number of users and no rate; the rate follows from the replies")
        if not 1 <= users <= MAX_USERS:
            raise UsageError(f"{name}: users must be 1 to {MAX_USERS:,}, not {users}")
    else:
        if rate_per_s is None or users is not None:
            raise UsageError(f"{name}: give a rate and no users; requests are sent when due, whoever waits")
        _check(f"{name}: rate", rate_per_s, MAX_RATE_PER_S, "per s")
    return LoadProfile(arrivals=entry.arrivals, duration_s=duration_s, seed=seed, rate_per_s=rate_per_s, users=users)


def _check(what: str, value: float, highest: float, unit: str) -> None:
    if not (math.isfinite(value) and 0 < value <= highest):
        raise UsageError(f"{what} must be above 0 and at most {highest:,.0f} {unit}, not {value:g}")
