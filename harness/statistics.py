"""Quantiles, shares and their intervals: the only statistics that decide anything.

Every quantile is a nearest-rank order statistic of raw samples. Its interval is exact for independent samples, whatever
their distribution; for correlated ones `effective_n` says how many independent samples they are worth.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from harness.nouns import Quantile

CONFIDENCE = 0.95
Z_95 = float(stats.norm.ppf(0.975))
"""Half-width of a two-sided 95 % normal interval in standard deviations."""

BEYOND = 10
"""Fewest samples that must lie beyond a quantile before it is shown."""

MSER_BATCH = 5


def nearest_rank(n: int, p: float) -> int:
    """The 1-based rank ceil(p n) of the p-quantile among n sorted samples.

    Rounding to nine decimals first keeps 0.07 × 100 at rank 7; the binary product is slightly above 7.
    """
    _check_share(p)
    if n < 1:
        raise ValueError("a rank needs at least one sample")
    return max(1, math.ceil(round(p * n, 9)))


def order_interval(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """1-based ranks (low, high) whose samples enclose the p-quantile with at least `confidence`, or None when n is too small.

    Order-statistic interval with equal tails: the number of samples below the quantile is Binomial(n, p) (Thompson, 1936;
    David and Nagaraja, Order Statistics, section 7.1).
    """
    _check_share(p)
    tail = (1 - confidence) / 2
    low = int(stats.binom.ppf(tail, n, p))
    high = int(stats.binom.ppf(1 - tail, n, p)) + 1
    return (low, high) if low >= 1 and high <= n else None


def samples_needed(p: float, confidence: float = CONFIDENCE) -> int:
    """Smallest n whose p-quantile is shown: `BEYOND` samples beyond it on its thinner side, and an order-statistic interval."""
    _check_share(p)
    beyond = math.ceil(round(BEYOND / min(p, 1 - p), 9))
    exists = math.ceil(math.log((1 - confidence) / 2) / math.log(max(p, 1 - p)))
    return max(beyond, exists)


def quantile(values_ms: ArrayLike, p: float, *, failures: int = 0) -> Quantile:
    """The p-quantile (ms) of raw samples (ms) and `failures` requests that count as infinitely slow.

    The failures occupy the upper ranks. A value or bound that falls among them is None and `reason` says so; with too few
    samples all three are None.
    """
    values = np.sort(np.asarray(values_ms, dtype=float))
    n = values.size + failures
    label, needed = f"p{p * 100:g}", samples_needed(p)
    if n < needed:
        return Quantile(value=None, low=None, high=None, n=n, reason=f"n={n}: {label} needs {needed}")
    ranks = order_interval(n, p)
    if ranks is None:
        return Quantile(value=None, low=None, high=None, n=n, reason=f"n={n}: {label} has no 95 % interval")
    low, value, high = (float(values[r - 1]) if r <= values.size else None for r in (ranks[0], nearest_rank(n, p), ranks[1]))
    reason = None
    if value is None:
        reason = f"{100 * failures / n:.3g} % of requests failed"
    elif high is None:
        reason = f"{100 * failures / n:.3g} % of requests failed, so {label} has no upper bound"
    return Quantile(value=value, low=low, high=high, n=n, reason=reason)


def clopper_pearson(events: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided bounds (0..1) of a binomial share (Clopper and Pearson, 1934); never too narrow, often too wide."""
    _check_count(events, n)
    tail = (1 - confidence) / 2
    low = 0.0 if events == 0 else float(stats.beta.ppf(tail, events, n - events + 1))
    high = 1.0 if events == n else float(stats.beta.ppf(1 - tail, events + 1, n - events))
    return low, high


def wilson(events: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Score interval (0..1) of a binomial share (Wilson, 1927); its coverage is near `confidence` on average."""
    _check_count(events, n)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share, shrink = events / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def samples_to_prove(p: float, events: int, confidence: float = CONFIDENCE) -> int:
    """Smallest n for which `events` violations still prove, at one-sided `confidence`, a violation share of at most 1 - p.

    Exact binomial: the smallest n with P(Binomial(n, 1 - p) <= events) <= 1 - confidence.
    """
    _check_share(p)
    low = high = events + 1
    while stats.binom.cdf(events, high, 1 - p) > 1 - confidence:
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        if stats.binom.cdf(events, middle, 1 - p) <= 1 - confidence:
            high = middle
        else:
            low = middle + 1
    return high


def mser5(values: ArrayLike) -> int | None:
    """How many leading values to discard as warm-up, a multiple of 5; None when no steady state can be seen.

    MSER-5 (White, 1997): over means of five values, the truncation that minimises the squared standard error of the rest. A
    minimum in the second half, or fewer than ten batches, means the series is too short to say.
    """
    series = np.asarray(values, dtype=float)
    count = series.size // MSER_BATCH
    if count < 10:
        return None
    batches = series[: count * MSER_BATCH].reshape(count, MSER_BATCH).mean(axis=1)
    batches = batches - batches.mean()
    left = np.arange(count, 0, -1)
    sums, squares = np.cumsum(batches[::-1])[::-1], np.cumsum((batches**2)[::-1])[::-1]
    # Cancellation can leave a tiny negative sum of squares for a constant series.
    error = np.maximum(squares - sums**2 / left, 0.0) / left.astype(float) ** 2
    # The last few batches agree by chance; the usual remedy is not to look at them.
    best = int(np.argmin(error[: count - 5]))
    return best * MSER_BATCH if best <= count // 2 else None


def block_indices(n: int, block: int, replicates: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices, shape (replicates, n), of moving-block bootstrap series (Künsch, 1989): blocks of consecutive samples, drawn
    with replacement, joined and cut to n."""
    if not 1 <= block <= n:
        raise ValueError(f"a block of {block} does not fit {n} samples")
    blocks = -(-n // block)
    starts = rng.integers(0, n - block + 1, size=(replicates, blocks, 1))
    joined = (starts + np.arange(block)).reshape(replicates, blocks * block)
    return np.asarray(joined[:, :n], dtype=np.int64)


def autocorrelation(values: ArrayLike) -> NDArray[np.float64] | None:
    """Autocorrelation at lags 0..n-1 (biased estimate, by FFT); None for fewer than two values or a constant series."""
    series = np.asarray(values, dtype=float)
    if series.size < 2:
        return None
    centred = series - series.mean()
    size = 2 ** math.ceil(math.log2(2 * series.size))
    spectrum = np.fft.rfft(centred, size)
    covariance = np.fft.irfft(spectrum * np.conj(spectrum), size)[: series.size]
    if covariance[0] <= 1e-12 * max(1.0, float(np.square(series).sum())):
        return None
    return np.asarray(covariance / covariance[0], dtype=np.float64)


def lag1(values: ArrayLike) -> float | None:
    """Autocorrelation of neighbours, -1..1; None when it is undefined."""
    correlation = autocorrelation(values)
    return None if correlation is None else float(correlation[1])


def effective_n(values: ArrayLike) -> float:
    """How many independent samples a series is worth: n / tau, between 1 and n.

    tau = 1 + 2 Σ rho_k, summed over Geyer's initial monotone sequence (1992): sums of neighbouring pairs, made non-increasing,
    as long as they are positive. A constant series shows no correlation and counts in full.
    """
    correlation = autocorrelation(values)
    if correlation is None:
        return float(np.size(values))
    pairs = correlation[: correlation.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    kept = np.minimum.accumulate(pairs[: negative[0]] if negative.size else pairs)
    tau = 2 * float(kept.sum()) - 1
    return float(np.clip(correlation.size / max(tau, 1.0), 1.0, correlation.size))


def _check_share(p: float) -> None:
    if not 0 < p < 1:
        raise ValueError(f"a quantile lies between 0 and 1, got {p}")


def _check_count(events: int, n: int) -> None:
    if not 0 <= events <= n or n < 1:
        raise ValueError(f"{events} events among {n} trials")
