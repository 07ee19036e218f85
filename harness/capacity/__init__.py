"""The capacity under an SLO, as pure decisions: which rate to try next, what all tried rates together say, and whether fresh
runs confirm it. `next_run`, `estimate` and `confirm` are the doors; `next_rate` decides from counts alone."""

from harness.capacity.by_limit import LimitCurve, curves
from harness.capacity.decide import confirm, next_confirmation
from harness.capacity.estimate import estimate
from harness.capacity.finding import CapacityFinding, ClosedPoint, Confirmation
from harness.capacity.runs import OpenRun
from harness.capacity.search import Probe, next_rate, next_run

__all__ = [
    "CapacityFinding",
    "ClosedPoint",
    "Confirmation",
    "LimitCurve",
    "OpenRun",
    "Probe",
    "confirm",
    "curves",
    "estimate",
    "next_confirmation",
    "next_rate",
    "next_run",
]
