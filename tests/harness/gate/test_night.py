"""The gate's error rates, on simulated nights and on real machines' noise."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from harness.gate.decision import METRICS, Metric, Verdict
from harness.gate.night import Measured, Night, hold, hold_together
from harness.gate.pooled import pool

NOISE = Path(__file__).parents[4] / "shared" / "data" / "noise"
P50 = METRICS[0]


def simulated(shift: float, spread: float, seed: int) -> Night:
    """A night whose slices scatter by `spread` each, `shift` of which is real, in every metric alike."""

    def measure(pairs: int, schedule: int) -> Measured:
        rng = np.random.default_rng([seed, schedule])
        return {metric: rng.normal(math.log1p(shift), spread * math.sqrt(2), pairs) for metric in METRICS[:3]}

    return hold(measure, seed=seed * 10)


def tally(shift: float, spread: float, nights: int) -> Counter[Verdict]:
    return Counter(simulated(shift, spread, seed).verdict for seed in range(nights))


def test_a_quiet_night_passes_in_one_run_and_a_regression_takes_a_second() -> None:
    quiet = simulated(0.0, 0.01, 1)
    assert (quiet.verdict, quiet.runs, quiet.extended) == (Verdict.PASS, 1, False)
    slow = simulated(0.08, 0.01, 1)
    assert (slow.verdict, slow.runs) == (Verdict.REGRESSION, 2)


def test_an_open_question_is_measured_once_more() -> None:
    extended = [night for seed in range(12) if (night := simulated(0.0, 0.03, seed)).extended]
    assert extended
    assert all(night.findings[0].pairs == 24 for night in extended)


def test_a_metric_that_vanishes_between_runs_is_invalid() -> None:
    def measure(pairs: int, schedule: int) -> Measured:
        if schedule == 0:
            return {P50: np.random.default_rng(1).normal(0.09, 0.01, pairs)}
        return {}

    assert hold(measure, seed=0).verdict is Verdict.INVALID


def test_several_comparisons_share_runs_and_each_gets_only_what_it_needs() -> None:
    asked: list[tuple[tuple[str, ...], int]] = []
    shifts = {"tonight": 0.0, "twin": 0.0, "canary": 0.06}

    def measure(arms: Sequence[str], pairs: int, seed: int) -> dict[str, Measured]:
        asked.append((tuple(arms), seed))
        rng = np.random.default_rng(seed)
        return {arm: {P50: rng.normal(math.log1p(shifts[arm]), 0.01, pairs)} for arm in arms}

    nights = hold_together(measure, list(shifts), seed=4)
    assert asked == [(("tonight", "twin", "canary"), 4), (("canary",), 6)]
    assert {arm: night.verdict for arm, night in nights.items()} == {
        "tonight": Verdict.PASS,
        "twin": Verdict.PASS,
        "canary": Verdict.REGRESSION,
    }
    assert [night.runs for night in nights.values()] == [1, 1, 2]


def test_an_arm_that_vanishes_is_invalid() -> None:
    nights = hold_together(lambda arms, pairs, seed: {}, ["tonight"], seed=0)
    assert nights["tonight"].verdict is Verdict.INVALID


def test_what_could_not_be_measured_is_not_extended() -> None:
    def measure(pairs: int, seed: int) -> Measured:
        return {P50: np.random.default_rng(seed).normal(0.02, 0.08, pairs), METRICS[1]: "the server died"}

    assert hold(measure, seed=0).runs == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_error_rates_over_500_simulated_nights() -> None:
    nights = 500
    for spread in (0.01, 0.02):
        same = tally(0.0, spread, nights)
        assert same[Verdict.REGRESSION] / nights <= 0.01
        assert same[Verdict.INCONCLUSIVE] / nights <= 0.05
        assert tally(0.05, spread, nights)[Verdict.REGRESSION] / nights >= 0.95
    assert tally(0.10, 0.03, nights)[Verdict.REGRESSION] / nights >= 0.99


def tailed(shift: float, seed: int) -> Night:
    """A night of p99 alone: log-normal latencies of spread 0.3, 400 a slice; the machine makes pairs and slices scatter too."""

    def measure(pairs: int, schedule: int) -> Measured:
        rng = np.random.default_rng([seed, schedule])
        slices: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for _ in range(pairs):
            common = rng.normal(0, 0.05)
            for each, worse in zip(slices, (0.0, math.log1p(shift)), strict=True):
                each.append(np.exp(common + worse + rng.normal(0, 0.02) + 0.3 * rng.standard_normal(400)))
        return {METRICS[-1]: pool(slices[0], slices[1])}

    return hold(measure, seed=seed * 10)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_error_rates_of_the_tail_over_500_simulated_nights() -> None:
    nights = 500
    same = Counter(tailed(0.0, seed).verdict for seed in range(nights))
    assert same[Verdict.REGRESSION] / nights <= 0.01
    assert same[Verdict.INCONCLUSIVE] / nights <= 0.05
    assert Counter(tailed(0.2, seed).verdict for seed in range(nights))[Verdict.REGRESSION] / nights >= 0.95


def replayed(metric: Metric, chunks: np.ndarray, pairs: int, seed: int) -> Measured:
    """What the recorded machine showed in the run of that seed: 0 first, 1 to extend it, 2 to confirm."""
    return {metric: chunks[seed]}


def machines(name: str) -> dict[str, np.ndarray]:
    """The series of each machine, in the order measured."""
    path = NOISE / name
    if not path.is_file():
        pytest.skip("the recorded noise of cloud machines is not here")
    found: dict[str, list[tuple[str, float]]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["VM_id"], []).append((row["starttime"], float(row["value"])))
    return {vm: np.array([value for _, value in sorted(rows)]) for vm, rows in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "higher"), [("redis_get_rps_eastus_d8s.csv", True), ("postgres_ro_latency_ms_eastus_d8s.csv", False)]
)
def test_error_rates_on_the_noise_of_real_machines(name: str, higher: bool) -> None:
    """Neighbouring runs of one machine as baseline and tonight, then with a real slowdown put on tonight's."""
    metric = Metric(name="figure", threshold=0.03, higher_is_better=higher)
    worse = -1 if higher else 1
    outcomes: dict[float, Counter[Verdict]] = {shift: Counter() for shift in (0.0, 0.05, 0.10)}
    spreads = []
    for series in machines(name).values():
        for start in range(0, len(series) - 72, 72):
            part = np.log(series[start : start + 72]).reshape(36, 2)
            gaps = worse * (part[:, 1] - part[:, 0])
            spreads.append(float(np.std(gaps, ddof=1) / math.sqrt(2)))
            for shift, seen in outcomes.items():
                chunks = (gaps + math.log1p(shift)).reshape(3, 12)
                seen[hold(partial(replayed, metric, chunks), seed=0).verdict] += 1
    nights, spread = len(spreads), float(np.median(spreads))
    assert outcomes[0.0][Verdict.REGRESSION] / nights <= 0.01
    if spread <= 0.02:
        assert outcomes[0.05][Verdict.REGRESSION] / nights >= 0.95
        assert outcomes[0.0][Verdict.INCONCLUSIVE] / nights <= 0.05
    if spread <= 0.03:
        assert outcomes[0.10][Verdict.REGRESSION] / nights >= 0.99
