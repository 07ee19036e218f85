"""The load profiles by name, each a file in `profiles/`, and any other profile file by its path."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.nouns import LoadProfile, Segment
from loadprofiles import bounds, profilefile
from loadprofiles.profilefile import ProfileFile
from loadprofiles.schedule import user_changes
from loadprofiles.traces import read_trace

_FOLDER = Path(__file__).with_name("profiles")
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What whoever runs a profile says beside it; None where the profile's own figure is to count."""

    duration_s: float | None = None
    rate_per_s: float | None = None
    users: int | None = None
    requests: int | None = None
    trace: str | None = None
    compress: float | None = None


_OPTIONS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "duration_s": ("duration", bounds.DURATION),
    "rate_per_s": ("rate", bounds.RATE),
    "users": ("users", bounds.USERS),
    "requests": ("requests", bounds.REQUESTS),
    "compress": ("compress", bounds.COMPRESS),
}


@functools.cache
def named() -> Mapping[str, ProfileFile]:
    """The built-in profiles, by name, in alphabetical order."""
    return {path.stem: profilefile.read(path) for path in sorted(_FOLDER.glob("*.toml"))}


def find(name: str) -> ProfileFile:
    """The profile called `name`, or in the file of that path. Raises UsageError, with the nearest names, when there is none."""
    if name in named():
        return named()[name]
    if name.endswith(profilefile.SUFFIXES) or "/" in name:
        return profilefile.read(Path(name))
    near = difflib.get_close_matches(name, named(), n=3, cutoff=0.4) or list(named())
    raise UsageError(f"no load profile is called {name!r}; did you mean {', '.join(near)}? Or give a .toml or .json file")


def needs(found: ProfileFile) -> tuple[str, ...]:
    """The options without which a profile cannot be run."""
    if found.arrivals == "trace":
        return () if found.trace is not None else ("trace",)
    if found.arrivals == "closed":
        return () if found.users is not None or found.TrafficPattern is not None else ("users",)
    return () if found.rate_per_s is not None else ("rate",)


def profile(
    name: str, *, duration_s: float | None = None, rate_per_s: float | None = None, users: int | None = None, seed: int = 0
) -> LoadProfile:
    """The load of the profile called `name` (or in that file) with these figures; see `build`."""
    return build(name, find(name), Figures(duration_s=duration_s, rate_per_s=rate_per_s, users=users), seed)


def build(name: str, found: ProfileFile, figures: Figures, seed: int = 0) -> LoadProfile:
    """The load of a profile with `figures` in place of its own; a trace is read for its length.

    Raises UsageError, beginning with `name`, for a missing or superfluous figure and one out of bounds.
    """
    for key, (option, bound) in _OPTIONS.items():
        value = getattr(figures, key)
        try:
            _ = None if value is None else bound(value)
        except ValueError as error:
            raise UsageError(f"{name}: {option} {error}") from error
    if seed < 0:
        raise UsageError(f"{name}: seed must be 0 or more, not {seed}")
    if found.arrivals == "trace":
        return _replayed(name, found, figures, seed)
    _refuse(name, figures, "is for a trace", "trace", "compress")
    return (_closed if found.arrivals == "closed" else _open)(name, found, figures, seed)


def _open(name: str, found: ProfileFile, figures: Figures, seed: int) -> LoadProfile:
    rate = figures.rate_per_s if figures.rate_per_s is not None else found.rate_per_s
    if rate is None or figures.users is not None:
        raise UsageError(f"{name}: give a rate and no users; requests are sent when due, whoever waits")
    _refuse(name, figures, "is for a closed loop", "requests")
    segments = found.shape(rate)
    return _timed(
        name,
        found,
        figures,
        LoadProfile(arrivals=found.arrivals, duration_s=0, seed=seed, rate_per_s=None if segments else rate, segments=segments),
    )


def _closed(name: str, found: ProfileFile, figures: Figures, seed: int) -> LoadProfile:
    _refuse(name, figures, "is for an open loop: in a closed one, give the number of users and no rate", "rate_per_s")
    users = figures.users if figures.users is not None else found.users
    if found.TrafficPattern is not None:
        _refuse(name, figures, "is in its traffic pattern", "users")
    elif users is None:
        raise UsageError(f"{name}: give the number of users; the rate follows from the replies")
    segments = found.shape(users or 0)
    requests = figures.requests if figures.requests is not None else found.requests
    load = LoadProfile(arrivals="closed", duration_s=0, seed=seed, users=users or 1, segments=segments, requests=requests)
    most = int(np.cumsum(user_changes(load)[:, 1]).max(initial=0))
    if not 1 <= most <= bounds.MAX_USERS:
        raise UsageError(f"{name}: its segments come to {most:,} users; allowed: 1 to {bounds.MAX_USERS:,}")
    load = replace(load, users=most)
    return _timed(name, found, figures, load)


def _timed(name: str, found: ProfileFile, figures: Figures, load: LoadProfile) -> LoadProfile:
    """`load` with its duration: of its segments, stretched or shortened alike if another is asked for, or as it is given."""
    whole_s = sum(each.duration_s for each in load.segments)
    if whole_s > bounds.MAX_DURATION_S:
        raise UsageError(f"{name}: its segments take {whole_s:,.0f} s; allowed: up to {bounds.MAX_DURATION_S:,.0f}")
    duration_s = figures.duration_s if figures.duration_s is not None else whole_s or found.duration_s
    if duration_s is None:
        raise UsageError(f"{name}: give a duration; the profile has none")
    if not load.segments or duration_s == whole_s:
        return replace(load, duration_s=float(duration_s))
    scale = duration_s / whole_s
    segments = tuple(Segment(duration_s=each.duration_s * scale, start=each.start, end=each.end) for each in load.segments)
    return replace(load, duration_s=float(duration_s), segments=segments)


def _replayed(name: str, found: ProfileFile, figures: Figures, seed: int) -> LoadProfile:
    _refuse(name, figures, "is in its trace; give --compress to replay it faster", "rate_per_s", "users", "requests")
    path = figures.trace if figures.trace is not None else found.trace
    if path is None:
        raise UsageError(f"{name}: give a trace (--trace FILE): a CSV file of arrivals, or of counts per interval")
    compress = figures.compress if figures.compress is not None else found.compress
    whole_s = read_trace(Path(path)).span_ns / _NS_PER_S / compress
    duration_s = min((each for each in (figures.duration_s, found.duration_s) if each is not None), default=whole_s)
    if duration_s > bounds.MAX_DURATION_S:
        raise UsageError(
            f"{path}: takes {whole_s:,.0f} s at {compress:g} times its speed; allowed: up to {bounds.MAX_DURATION_S:,.0f}; "
            f"give --compress or --duration"
        )
    # A list of arrivals ends with its last one.
    return LoadProfile(
        arrivals="trace", duration_s=min(duration_s, max(whole_s, 1e-3)), seed=seed, trace=path, compress=compress
    )


def _refuse(name: str, figures: Figures, why: str, *keys: str) -> None:
    for key in keys:
        if getattr(figures, key) is not None:
            raise UsageError(f"{name}: {_OPTIONS[key][0] if key in _OPTIONS else key} {why}")
