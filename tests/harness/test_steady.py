"""What is steady is called so, and what is not is not: synthetic series with known truth, two hundred of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.steady import FEWEST, FEWEST_MEASURED, Verdict, Window, judge, judge_measured, noise

Shape = Callable[[NDArray[np.float64]], NDArray[np.float64]]
NOISE = 0.02
RUNS = 200


def windows(levels: NDArray[np.float64]) -> list[Window]:
    """A closed loop with one user: the throughput is one over the time."""
    return [Window(median_ms=float(level), per_s=1e3 / float(level)) for level in levels]


def series(shape: Shape, n: int, rng: np.random.Generator, sigma: float = NOISE) -> list[Window]:
    return windows(10 * shape(np.arange(float(n))) * np.exp(rng.normal(0, sigma, n)))


def verdicts(shape: Shape, n: int, sigma: float = NOISE, of: Callable[..., object] = judge) -> Counter[Verdict]:
    rng = np.random.default_rng([n, round(sigma * 1000)])
    return Counter(of(series(shape, n, rng, sigma)).verdict for _ in range(RUNS))  # type: ignore[attr-defined]


def flat(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones(at.size)


def warming(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 + np.exp(-at / 4)


def step(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(at < at.size // 3, 1.0, 1.1)


def late_step(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(at < at.size * 2 // 3, 1.0, 1.1)


def collected(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every tenth window a collection of garbage."""
    return np.where(at % 10 == 4, 1.4, 1.0)


def swinging(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(at // 8 % 2 == 0, 1.2, 1.0)


def drifting(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 + 0.15 * at / at.size


@pytest.mark.parametrize("of", [judge, judge_measured], ids=["warm-up", "measured"])
@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("n", [24, 60, 120])
def test_flat_noise_is_flat_but_for_one_in_twenty(of: Callable[..., object], n: int, sigma: float) -> None:
    assert verdicts(flat, n, sigma, of)[Verdict.FLAT] >= 0.95 * RUNS


@pytest.mark.parametrize(
    ("shape", "n", "verdict"),
    [
        (warming, 60, Verdict.WARM_UP),
        (step, 24, Verdict.SLOWDOWN),
        (step, 60, Verdict.SLOWDOWN),
        (late_step, 24, Verdict.UNSTEADY),
        (late_step, 60, Verdict.UNSTEADY),
        (collected, 60, Verdict.FLAT),
        (swinging, 60, Verdict.UNSTEADY),
        (drifting, 60, Verdict.UNSTEADY),
    ],
)
def test_a_shape_is_recognised_95_times_in_a_hundred(shape: Shape, n: int, verdict: Verdict) -> None:
    assert verdicts(shape, n)[verdict] >= 0.95 * RUNS


@pytest.mark.parametrize("shape", [step, late_step, swinging, drifting], ids=lambda shape: shape.__name__)
def test_a_measured_window_that_moved_by_ten_per_cent_is_not_steady(shape: Shape) -> None:
    assert verdicts(shape, 60, of=judge_measured)[Verdict.UNSTEADY] >= 0.95 * RUNS


def test_the_steady_state_begins_where_the_step_was() -> None:
    rng = np.random.default_rng(1)
    found = [judge(series(step, 60, rng)) for _ in range(50)]
    assert sum(each.begins == 20 for each in found) >= 45
    (change,) = found[0].changes
    assert change.at == 20
    assert change.ratio == pytest.approx(1.1, abs=0.02)
    assert not found[0].late_changes()


def test_a_warm_up_ends_when_it_is_within_five_per_cent() -> None:
    found = judge(series(warming, 60, np.random.default_rng(2)))
    assert found.steady
    assert found.begins is not None
    assert 4 * math.log(1 / 0.10) <= found.begins <= 4 * math.log(1 / 0.01)
    assert found.discard is not None
    assert found.discard > 0
    assert found.discard % 5 == 0


def test_lone_windows_are_set_aside_and_counted() -> None:
    found = judge_measured(series(collected, 60, np.random.default_rng(3)))
    assert (found.verdict, found.outliers) == (Verdict.FLAT, 6)


def test_a_small_change_late_in_a_flat_run_is_told() -> None:
    def small(at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(at < 40, 1.0, 1.03)

    found = judge_measured(series(small, 60, np.random.default_rng(4), sigma=0.004))
    assert found.verdict == Verdict.FLAT
    (change,) = found.late_changes()
    assert change.at == 40
    assert str(change) == f"{change.ratio - 1:+.1%} at window 41"


def test_a_drift_says_how_far_it_goes() -> None:
    ripple, line = np.tile([-0.01, 0.01, 0.01, -0.01], 8), np.linspace(0, 1, 32)
    slight, plain = (judge_measured(windows(10 * np.exp(much * line + ripple))) for much in (0.04, 0.08))
    assert slight.verdict == Verdict.FLAT
    assert slight.drift == pytest.approx(math.expm1(0.04 * 32 / 31), rel=0.05)
    assert plain.verdict == Verdict.UNSTEADY
    assert plain.reason is not None


@pytest.mark.parametrize(
    ("medians", "verdict", "begins"),
    [
        ([10, 10.1], Verdict.TOO_SHORT, None),
        ([], Verdict.TOO_SHORT, None),
        ([10, 10.1, 10.2], Verdict.FLAT, 0),
        ([50, 10, 10.1, 10.2], Verdict.WARM_UP, 1),
        ([5, 10, 10.1, 10.2], Verdict.SLOWDOWN, 1),
        ([50, 30, 10, 10.1, 10.2], Verdict.WARM_UP, 2),
        ([10, 10, 11], Verdict.UNSTEADY, None),
        ([math.nan, math.nan, math.nan], Verdict.UNSTEADY, None),
        ([10, 10, 10, math.nan], Verdict.UNSTEADY, None),
    ],
)
def test_a_few_windows_are_held_to_the_last_three(medians: list[float], verdict: Verdict, begins: int | None) -> None:
    found = judge([Window(median_ms=median, per_s=50.0) for median in medians])
    assert (found.verdict, found.begins) == (verdict, begins)
    assert found.steady == (begins is not None)
    assert found.steady or found.reason


def test_throughput_counts_in_a_closed_loop_only() -> None:
    falling = [Window(median_ms=10.0, per_s=rate) for rate in np.linspace(100, 50, 30)]
    assert judge(falling).verdict == Verdict.UNSTEADY
    assert judge_measured(falling).verdict == Verdict.FLAT


def test_a_window_without_an_answer_says_nothing_of_the_others() -> None:
    full = series(flat, 60, np.random.default_rng(8))
    empty = Window(median_ms=math.nan, per_s=0.0)
    assert judge_measured([*full[:30], empty, *full[30:]]).verdict == Verdict.FLAT
    silent = judge_measured([*full[:15], *[empty] * 15])
    assert (silent.verdict, silent.reason) == (Verdict.UNSTEADY, "nothing was answered in 15 of 30 windows")
    assert judge([*full, empty]).verdict == Verdict.UNSTEADY


def test_a_measured_run_below_ten_seconds_is_too_short_to_say() -> None:
    short = [Window(median_ms=10.0, per_s=10.0)] * (FEWEST_MEASURED - 1)
    assert judge_measured(short).verdict == Verdict.TOO_SHORT
    assert judge_measured([*short, short[0]]).verdict == Verdict.FLAT


@given(st.floats(0.01, 1e4), st.integers(FEWEST, 80), st.integers(0, 2**32 - 1))
def test_the_verdict_does_not_depend_on_the_unit(scale: float, n: int, seed: int) -> None:
    levels = 10 * np.exp(np.random.default_rng(seed).normal(0, NOISE, n))
    one, other = judge(windows(levels)), judge(windows(levels * scale))
    assert (one.verdict, one.begins, one.outliers) == (other.verdict, other.begins, other.outliers)


def test_a_step_and_an_outlier_do_not_raise_the_noise() -> None:
    rng = np.random.default_rng(5)
    plain = rng.normal(0, 0.02, 100)
    stepped = plain + np.where(np.arange(100) > 50, 1.0, 0.0)
    stepped[7] += 3
    assert noise(plain) == pytest.approx(0.02, rel=0.3)
    assert noise(stepped) == pytest.approx(noise(plain), rel=0.1)
