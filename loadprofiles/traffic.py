"""SageMaker Inference Recommender's TrafficPattern, accepted as it is, with its limits lifted to what this generator can do.

A user there is a closed loop: it calls, waits for the reply and calls again. `SpawnRate` is in users per minute, as the API
reference has it. Of `Stairs.DurationInSeconds` the documentation says two things: the API reference, that it is the length of
each step; the developer guide, with a worked example (600 s in 5 steps make 120 s each), that it is the length of the whole.
The worked example is followed here.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.nouns import Segment
from loadprofiles.bounds import MAX_DURATION_S, MAX_STEPS, MAX_USERS, Duration, PerMinute, Steps, Users

_JOIN = 3
"""How many users a phase may start away from where the one before it ended (the service's own rule)."""


class Strict(BaseModel):
    """Refuses unknown keys and anything that would have to be converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Phase(Strict):
    """Starts with so many users, then more join at an even pace."""

    InitialNumberOfUsers: Users
    SpawnRate: PerMinute
    DurationInSeconds: Duration

    @property
    def final_users(self) -> float:
        return self.InitialNumberOfUsers + self.SpawnRate * self.DurationInSeconds / 60


class Staircase(Strict):
    """As many users more at every step, the whole divided into equal steps."""

    DurationInSeconds: Duration
    NumberOfSteps: Steps
    UsersPerStep: Users


class Pattern(Strict):
    """Either `Phases` or `Stairs`, as `TrafficType` says."""

    TrafficType: Literal["PHASES", "STAIRS"]
    Phases: Annotated[tuple[Phase, ...], Field(strict=False, max_length=MAX_STEPS)] | None = None
    Stairs: Staircase | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.TrafficType == "PHASES":
            if not self.Phases or self.Stairs is not None:
                raise ValueError("TrafficType PHASES needs a list Phases with at least one phase, and no Stairs")
            _require_joined(self.Phases)
        elif self.Stairs is None or self.Phases is not None:
            raise ValueError("TrafficType STAIRS needs Stairs, and no Phases")
        total = sum(each.duration_s for each in self.segments())
        if total > MAX_DURATION_S:
            raise ValueError(f"the whole takes {total:,.0f} s; allowed: up to {MAX_DURATION_S:,.0f}")
        highest = max(each.end for each in self.segments())
        if highest > MAX_USERS:
            raise ValueError(f"it comes to {highest:,.0f} users; allowed: up to {MAX_USERS:,}")
        return self

    def segments(self) -> tuple[Segment, ...]:
        """The number of users over time."""
        if self.Stairs is not None:
            step_s, more = self.Stairs.DurationInSeconds / self.Stairs.NumberOfSteps, self.Stairs.UsersPerStep
            levels = (more * (step + 1) for step in range(self.Stairs.NumberOfSteps))
            return tuple(Segment(duration_s=step_s, start=level, end=level) for level in levels)
        return tuple(
            Segment(duration_s=phase.DurationInSeconds, start=phase.InitialNumberOfUsers, end=phase.final_users)
            for phase in self.Phases or ()
        )


def _require_joined(phases: tuple[Phase, ...]) -> None:
    for number, (before, after) in enumerate(itertools.pairwise(phases), start=1):
        if abs(after.InitialNumberOfUsers - before.final_users) > _JOIN:
            low, high = max(1.0, before.final_users - _JOIN), before.final_users + _JOIN
            raise ValueError(
                f"Phases.{number}.InitialNumberOfUsers is {after.InitialNumberOfUsers}, but the phase before ends with "
                f"{before.final_users:g} users; allowed: {low:g} to {high:g}"
            )
