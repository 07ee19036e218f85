"""A load profile as a file: TOML or JSON, strict keys, every figure bounded; docs/profiles.md has the format."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from harness.errors import UsageError
from harness.nouns import Segment
from loadprofiles.bounds import MAX_STEPS, Compress, Duration, Rate, Requests, Times, Users
from loadprofiles.traffic import Pattern, Phase, Staircase, Strict

SUFFIXES = (".toml", ".json")
_MAX_FILE_BYTES = 1 << 20
_MAX_PROBLEMS = 3
_NESTED: dict[str, type[Strict]] = {"TrafficPattern": Pattern, "Phases": Phase, "Stairs": Staircase}


class Stretch(Strict):
    """A segment as written: its level in multiples of the rate, in a closed loop of the users, going to `to_times` if given."""

    duration_s: Duration
    times: Times
    to_times: Times | None = None


_NESTED["segments"] = Stretch


class ProfileFile(Strict):
    """One profile. Figures that it leaves out are asked of whoever runs it."""

    question: Annotated[str, Field(min_length=1, max_length=300)] = "What does this load show?"
    arrivals: Literal["constant", "poisson", "closed", "trace"]
    rate_per_s: Rate | None = None
    users: Users | None = None
    duration_s: Duration | None = None
    requests: Requests | None = None
    segments: Annotated[tuple[Stretch, ...], Field(strict=False, max_length=MAX_STEPS)] = ()
    TrafficPattern: Pattern | None = None
    trace: str | None = None
    compress: Compress = 1.0
    headline: Literal["p90 of service", "throughput"] | None = None
    """What this load is run for, shown before all else."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key, needs in (
            ("rate_per_s", ("constant", "poisson")),
            ("users", ("closed",)),
            ("requests", ("closed",)),
            ("TrafficPattern", ("closed",)),
            ("segments", ("constant", "poisson", "closed")),
            ("trace", ("trace",)),
            ("compress", ("trace",)),
        ):
            if key in self.model_fields_set and self.arrivals not in needs:
                raise ValueError(f"{key} does not go with arrivals = {self.arrivals!r}; allowed with {', '.join(needs)}")
        shaped = [key for key in ("segments", "TrafficPattern", "duration_s") if key in self.model_fields_set]
        if len(shaped) > 1:
            raise ValueError(f"{' and '.join(shaped)} each say how long it takes; keep one")
        if self.TrafficPattern is not None and self.users is not None:
            raise ValueError("TrafficPattern says how many users there are; leave out users")
        if self.segments and not any(each.times or each.to_times for each in self.segments):
            raise ValueError("segments.times are all 0, so that nothing is ever sent; allowed: above 0 somewhere")
        return self

    def shape(self, base: float) -> tuple[Segment, ...]:
        """The level over time, `base` being the rate or the users that `times` multiplies; empty for a level that stays."""
        if self.TrafficPattern is not None:
            return self.TrafficPattern.segments()
        return tuple(
            Segment(
                duration_s=each.duration_s,
                start=base * each.times,
                end=base * (each.times if each.to_times is None else each.to_times),
            )
            for each in self.segments
        )


def read(path: Path) -> ProfileFile:
    """The profile in a TOML or JSON file, or a bare TrafficPattern of SageMaker Inference Recommender in JSON.

    Raises UsageError naming the file, the key and what is allowed.
    """
    data = _parse(path)
    if "TrafficType" in data:
        data = {"TrafficPattern": data}
    if set(data) == {"TrafficPattern"}:
        data = {"question": "How are replies under this traffic pattern?", "arrivals": "closed", **data}
    try:
        found = ProfileFile.model_validate(data)
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors(include_url=False, include_input=False)]
        more = f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
        raise UsageError(f"{path}: {'; '.join(problems[:_MAX_PROBLEMS])}{more}") from error
    if found.trace is not None:  # beside the profile, as a reader of it would expect
        found = found.model_copy(update={"trace": str(path.parent / found.trace)})
    return found


def _parse(path: Path) -> dict[str, Any]:
    """The file's mapping. Raises UsageError for what is too large, too deep or neither TOML nor JSON."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: a load profile is a .toml or .json file")
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give a load profile in TOML or JSON, or a name from `loadstone profiles`")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise UsageError(
                f"{path}: larger than {_MAX_FILE_BYTES >> 10} KiB; a load profile is a few lines, a trace is a CSV file"
            )
        text = content.decode("utf-8-sig")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # of decoding, of TOML and of JSON
        said = "nested too deeply" if isinstance(error, RecursionError) else (str(error).splitlines() or ["unreadable"])[0]
        raise UsageError(f"{path}: not {path.suffix[1:].upper()}: {said}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(data, dict) or not data:
        raise UsageError(f"{path}: holds no keys; `arrivals` is the least that a load profile needs")
    return data


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return found


def _problem(error: Any) -> str:
    """One complaint of pydantic's as `key: what is wrong`."""
    key = ".".join(str(part) for part in error["loc"]) or "the file"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed: {', '.join(_keys_beside(error['loc']))}"
    if error["type"] == "missing":
        return f"{key}: missing"
    return f"{key}: {str(error['msg']).removeprefix('Value error, ')}"


def _keys_beside(place: Sequence[int | str]) -> list[str]:
    """The keys that are known where an unknown one was found."""
    model: Any = ProfileFile
    for part in place[:-1]:
        if isinstance(part, str):
            model = _NESTED.get(part, model)
    return list(model.model_fields)
