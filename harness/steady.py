"""Whether a server has settled: windows of its medians and throughput, cut where their level changes.

MSER-5 (White, 1997) says quickly how much to discard. The verdict comes from change points (PELT: Killick, Fearnhead and
Eckley, 2012) in the style of Barrett et al. (OOPSLA 2017): flat, warm-up, slowdown or no steady state. All of it works on
logarithms, so that a change is a ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from harness.statistics import lag1, mser5

TOLERANCE = 0.05
"""Levels that differ by less are the same level; three windows that agree within it have settled."""
LAST = 3
WINDOW_S = 0.5
"""The length of a window, unless so few requests fall into it that the median would be one of a handful."""
WINDOW_REQUESTS = 8

PATIENCE_S = 45.0
"""How long a warm-up must have lasted before not having settled speaks against the server and not for more patience."""
FEWEST = 12
"""Windows below which no change point is looked for: each side of one needs a few."""
FEWEST_MEASURED = 20
"""Windows below which a measured run is too short for a verdict: 10 s."""
_MIN_SEGMENT = 3
_PENALTY = 5.0
"""Times variance times log n for each change point; 2 is the Bayesian information criterion, which on short series cuts pure
noise too often."""
_NOISE_FLOOR = 0.002
_OUTLIER = 5.0
"""Deviations from the running median, in units of the noise, beyond which a window is a lone outlier."""
_RANGE_OF_THREE = 4.12
"""99 % of samples of three normal values span less than this many standard deviations (Harter, 1960)."""
_SIGNIFICANT = 3.3
"""Standard errors by which a trend must differ from none (two-sided 0.1 %)."""


class Verdict(StrEnum):
    """What a series of windows showed."""

    FLAT = "flat"
    WARM_UP = "warm-up"
    SLOWDOWN = "slowdown"
    UNSTEADY = "no steady state"
    TOO_SHORT = "too short to say"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The requests of one window: median in ms (NaN when there was none) and good answers per second."""

    median_ms: float
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The level changed before window `at`: by `ratio`, new over old."""

    at: int
    ratio: float

    def __str__(self) -> str:
        return f"{self.ratio - 1:+.1%} at window {self.at + 1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """The verdict on `windows` windows. `begins` is the first window of the steady state, None when there is none; `discard`
    what MSER-5 would leave out, None when it cannot say; `changes` those of the medians; `drift` the ratio by which the steady
    part would move over the whole series at its own pace, less 1, None when that is within the noise; `outliers` windows that
    stood alone. `reason` is why there is no steady state."""

    verdict: Verdict
    windows: int
    begins: int | None
    discard: int | None = None
    changes: tuple[Change, ...] = ()
    drift: float | None = None
    outliers: int = 0
    reason: str | None = None

    @property
    def steady(self) -> bool:
        return self.begins is not None

    def late_changes(self) -> tuple[Change, ...]:
        """Change points in the second half."""
        return tuple(change for change in self.changes if change.at > self.windows / 2)


def judge(windows: Sequence[Window]) -> Steadiness:
    """Whether a closed loop, a warm-up say, has come to its steady state, from consecutive windows of equal length."""
    count = len(windows)
    if count < LAST or not all(map(_answered, windows)):
        return _unanswered(windows, LAST)
    medians = np.log([window.median_ms for window in windows])
    rates = np.log([window.per_s for window in windows])
    for name, series in (("medians", medians), ("throughputs", rates)):
        if (spread := _apart(series)) is not None:
            reason = f"the last {LAST} windows' {name} differ by {spread:.1%}"
            return _none(Verdict.UNSTEADY, count, reason, mser5(medians))
    return _by_eye(medians) if count < FEWEST else _by_change_points(medians, rates)


def judge_measured(windows: Sequence[Window]) -> Steadiness:
    """Whether a server stayed in its steady state while it was measured: only FLAT says so.

    The rate of answers is left out, since an open loop's is its schedule's, and the last windows are not held to one another:
    they are no later than the rest of what was measured. A window in which nothing was answered is left out: at a low rate that
    happens, and a server that stalls may do so steadily; latency is where that shows.
    """
    answered = [window for window in windows if _answered(window)]
    if len(answered) < FEWEST_MEASURED:
        return _unanswered(windows, FEWEST_MEASURED)
    found = _by_change_points(np.log([window.median_ms for window in answered]), None)
    if found.verdict in (Verdict.WARM_UP, Verdict.SLOWDOWN):
        largest = max(found.changes, key=lambda change: abs(math.log(change.ratio)))
        reason = f"the level changed by {largest} of {found.windows}"
        return replace(found, verdict=Verdict.UNSTEADY, begins=None, reason=reason)
    return found


def _unanswered(windows: Sequence[Window], fewest: int) -> Steadiness:
    """The verdict on windows that are too few, or of which too many saw no answer."""
    count, empty = len(windows), sum(not _answered(window) for window in windows)
    if count < fewest:
        return _none(Verdict.TOO_SHORT, count, f"{count} windows, at least {fewest} are needed")
    return _none(Verdict.UNSTEADY, count, f"nothing was answered in {empty} of {count} windows")


def _answered(window: Window) -> bool:
    return window.median_ms > 0 and window.per_s > 0


def _by_eye(medians: NDArray[np.float64]) -> Steadiness:
    """Too few windows to look for change points: steady from where all agree with the last three."""
    levels = np.append(medians, np.median(medians[-LAST:]))
    begins = min(_settled_from(levels), medians.size - LAST)
    return Steadiness(verdict=_kind(levels, begins), windows=medians.size, begins=begins)


def _kind(levels: NDArray[np.float64], begins: int) -> Verdict:
    """What came before the steady state: nothing else, slower windows only, or a faster one too."""
    if begins == 0:
        return Verdict.FLAT
    slower = levels[-1] - levels[:begins].min() > math.log1p(TOLERANCE)
    return Verdict.SLOWDOWN if slower else Verdict.WARM_UP


def _by_change_points(medians: NDArray[np.float64], rates: NDArray[np.float64] | None) -> Steadiness:
    count = medians.size
    levels, changes, outliers = _levels(medians)
    begins = _settled_from(levels)
    if rates is not None:
        begins = max(begins, _settled_from(_levels(rates)[0]))
    kind = _kind(levels, begins)
    # The end of a warm-up still slopes: a quarter of what follows it is left out.
    drift = _drift(medians[begins + (count - begins) // 4 if kind == Verdict.WARM_UP else begins :], count)
    known = Steadiness(
        verdict=Verdict.UNSTEADY,
        windows=count,
        begins=None,
        discard=mser5(medians),
        changes=changes,
        drift=drift,
        outliers=outliers,
    )
    if begins > count / 2:
        late = [change for change in changes if change.at > count / 2]
        what = f"the level changed by {late[-1]}" if late else f"the throughput changed at window {begins + 1}"
        return replace(known, reason=f"{what} of {count}, in the second half")
    if drift is not None and abs(drift) > TOLERANCE:
        return replace(known, reason=f"it drifts by {drift:+.1%} over {count} windows")
    return replace(known, verdict=kind, begins=begins)


def levels(series: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[Change, ...]]:
    """The level of every element of a series of logarithms, and where it changed; at least 6 elements."""
    found, changes, _ = _levels(series)
    return found, changes


def noise(series: NDArray[np.float64]) -> float:
    """Standard deviation from one window to the next, by the median absolute difference: a step or a few outliers in the
    series do not raise it."""
    return max(_NOISE_FLOOR, 1.4826 * float(np.median(np.abs(np.diff(series)))) / math.sqrt(2))


def _apart(series: NDArray[np.float64]) -> float | None:
    """By how much the last windows differ when that is more than 5 %, and more than windows of this noise differ anyway."""
    last = series[-LAST:]
    spread = float(last.max() - last.min())
    by_chance = _RANGE_OF_THREE * noise(series) if series.size >= FEWEST else 0.0
    return math.expm1(spread) if spread > max(math.log1p(TOLERANCE), by_chance) else None


def _levels(series: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[Change, ...], int]:
    """The level of every window, the changes between levels, and how many lone outliers were set aside."""
    # Slow to import, and only a bench needs it.
    from ruptures import KernelCPD

    sigma = noise(series)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(series, 3, mode="reflect"), 7)
    middle = np.median(around, axis=1)
    lone = np.abs(series - middle) > _OUTLIER * sigma
    clean = np.where(lone, middle, series)
    penalty = _PENALTY * math.log(series.size) * sigma**2
    # With a linear kernel this is PELT for changes of the mean.
    ends: list[int] = KernelCPD(kernel="linear", min_size=_MIN_SEGMENT).fit(clean[:, None]).predict(pen=penalty)
    levels = np.empty_like(clean)
    changes, begin = [], 0
    for end in ends:
        levels[begin:end] = clean[begin:end].mean()
        if begin:
            changes.append(Change(at=begin, ratio=float(np.exp(levels[begin] - levels[begin - 1]))))
        begin = end
    return levels, tuple(changes), int(lone.sum())


def _settled_from(levels: NDArray[np.float64]) -> int:
    """The first window from which on every level is the last one, within the tolerance."""
    other = np.flatnonzero(np.abs(levels - levels[-1]) > math.log1p(TOLERANCE))
    return int(other[-1]) + 1 if other.size else 0


def _drift(tail: NDArray[np.float64], count: int) -> float | None:
    """Change over `count` windows at the pace of the least-squares line through `tail`; None when it may be chance.

    Neighbouring windows that resemble one another widen the standard error by sqrt((1 + r) / (1 - r)), r their correlation.
    """
    n = tail.size
    if n < FEWEST:
        return None
    at = np.arange(n) - (n - 1) / 2
    slope = float(at @ tail / (at @ at))
    rest = tail - tail.mean() - slope * at
    r = min(0.9, max(0.0, lag1(rest) or 0.0))
    error = math.sqrt(float(rest @ rest) / (n - 2) / float(at @ at) * (1 + r) / (1 - r))
    return math.expm1(slope * count) if abs(slope) > _SIGNIFICANT * max(error, 1e-12) else None


def _none(verdict: Verdict, count: int, reason: str, discard: int | None = None) -> Steadiness:
    return Steadiness(verdict=verdict, windows=count, begins=None, discard=discard, reason=reason)
