"""The formulas against one another, against simulated queues, and the bounds against the formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from harness import slo
from harness.truth import queueing
from harness.truth.discipline import Stall, sojourns_ns
from harness.truth.law import Bimodal, Constant, Exponential, Law, Lognormal, Pareto, Times
from harness.truth.queueing import capacity_per_s, erlang_c, sojourn_cdf, sojourn_cdf_bounds, sojourn_mean_s, sojourn_quantile_s

MEAN_S = 0.01
EXPONENTIAL, CONSTANT = Exponential(mean_s=MEAN_S), Constant(value_s=MEAN_S)
LOGNORMAL = Lognormal(median_s=0.01, sigma=0.5)
BIMODAL = Bimodal(fast_s=0.004, slow_s=0.05, slow_share=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unnamed:
    """A law that the formulas do not recognise, so that it goes through the general computation."""

    law: Law

    @property
    def mean_s(self) -> float:
        return self.law.mean_s

    @property
    def second_moment_s2(self) -> float:
        return self.law.second_moment_s2

    def quantiles_s(self, shares: Times) -> Times:
        return self.law.quantiles_s(shares)

    def cdf(self, times_s: Times) -> Times:
        return self.law.cdf(times_s)

    def limited_mean_s(self, times_s: Times) -> Times:
        return self.law.limited_mean_s(times_s)


def test_erlang_c() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)  # a² / (2 - a) / (1 + a + a² / (2 - a)) at a = 1
    for servers, offered in ((3, 2.4), (10, 7.5), (200, 190.0)):
        terms = np.cumsum(np.log(offered / np.arange(1, servers)))
        below = 1 + math.fsum(np.exp(terms))
        last = math.exp(terms[-1]) * offered / servers * servers / (servers - offered)
        assert erlang_c(servers, offered) == pytest.approx(last / (below + last), rel=1e-9)
    with pytest.raises(ValueError, match="stable queue"):
        erlang_c(2, 2.0)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
def test_mm1_is_exponential(rho: float) -> None:
    rate = rho / MEAN_S
    mean = MEAN_S / (1 - rho)
    assert sojourn_mean_s(EXPONENTIAL, 1, rate) == pytest.approx(mean)
    for share in (0.5, 0.95, 0.99):
        assert sojourn_quantile_s(EXPONENTIAL, 1, rate, share) == pytest.approx(-mean * math.log(1 - share), rel=2e-5)


@pytest.mark.parametrize("servers", [1, 2, 3, 8])
def test_mmc_cdf_integrates_to_its_mean(servers: int) -> None:
    rate = 0.8 * servers / MEAN_S  # two servers at 0.5 each: the removable pole at servers - offered = 1 is tested below
    grid = np.linspace(0, 60 * MEAN_S, 20_001)
    beyond = [1 - sojourn_cdf(EXPONENTIAL, servers, rate, float(t)) for t in grid]
    beyond[0] = 1.0
    assert np.trapezoid(beyond, grid) == pytest.approx(sojourn_mean_s(EXPONENTIAL, servers, rate), rel=1e-4)


def test_the_pole_of_the_mmc_cdf_is_removable() -> None:
    at, near = (sojourn_cdf(EXPONENTIAL, 2, rate, 0.03) for rate in (100.0, 100.01))
    assert at == pytest.approx(near, abs=1e-4)


@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
def test_general_bounds_enclose_mm1_and_md1(rho: float) -> None:
    rate = rho / MEAN_S
    for law in (EXPONENTIAL, CONSTANT):
        for times in (1.3, 3.0, 9.7):
            exact = sojourn_cdf(law, 1, rate, times * MEAN_S)
            low, high = sojourn_cdf_bounds(Unnamed(law=law), 1, rate, times * MEAN_S)
            assert low - 1e-9 <= exact <= high + 1e-9
            assert high - low < 2e-3
            assert (low + high) / 2 == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize("law", [EXPONENTIAL, CONSTANT], ids=["M/M/1", "M/D/1"])
def test_general_quantiles_and_capacity_agree_with_the_exact_ones(law: Law) -> None:
    exact = sojourn_quantile_s(law, 1, 70.0, 0.99)
    assert sojourn_quantile_s(Unnamed(law=law), 1, 70.0, 0.99) == pytest.approx(exact, rel=5e-4)
    assert capacity_per_s(Unnamed(law=law), 1, 0.99, 0.05) == pytest.approx(capacity_per_s(law, 1, 0.99, 0.05), rel=5e-4)


@pytest.mark.parametrize(
    ("law", "servers", "rho"),
    [(EXPONENTIAL, 1, 0.7), (EXPONENTIAL, 3, 0.8), (CONSTANT, 1, 0.7), (LOGNORMAL, 1, 0.6), (BIMODAL, 1, 0.6)],
    ids=["M/M/1", "M/M/3", "M/D/1", "M/lognormal/1", "M/bimodal/1"],
)
def test_formulas_agree_with_simulated_queues(law: Law, servers: int, rho: float) -> None:
    rng = np.random.default_rng(17)
    n, rate = 400_000, rho * servers / law.mean_s
    arrivals = np.cumsum(rng.exponential(1 / rate, n))
    services = law.quantiles_s(rng.random(n))
    sojourns_s = (
        np.array(sojourns_ns((arrivals * 1e9).astype(int).tolist(), (services * 1e9).astype(int).tolist(), servers, None)) / 1e9
    )
    assert sojourns_s.mean() == pytest.approx(sojourn_mean_s(law, servers, rate), rel=0.02)
    for share in (0.5, 0.9, 0.99):
        assert (sojourns_s <= sojourn_quantile_s(law, servers, rate, share)).mean() == pytest.approx(share, abs=0.008)


def test_md1_is_the_same_as_the_default_slo_uses() -> None:
    assert capacity_per_s(CONSTANT, 1, 0.99, 5 * MEAN_S) * MEAN_S == pytest.approx(slo.md1_utilisation(0.99, 5), rel=1e-5)


@pytest.mark.parametrize(
    ("law", "servers"),
    [(EXPONENTIAL, 1), (EXPONENTIAL, 4), (CONSTANT, 1), (LOGNORMAL, 1)],
    ids=["M/M/1", "M/M/4", "M/D/1", "M/G/1"],
)
def test_at_the_capacity_the_quantile_meets_the_limit(law: Law, servers: int) -> None:
    rate = capacity_per_s(law, servers, 0.95, 0.05)
    assert sojourn_quantile_s(law, servers, rate, 0.95) == pytest.approx(0.05, rel=1e-3)
    assert rate < servers / law.mean_s


def test_capacity_where_there_is_none_or_no_end() -> None:
    assert capacity_per_s(CONSTANT, 1, 0.99, 0.009) == 0
    assert capacity_per_s(EXPONENTIAL, 1, 0.99, 0.01) == 0
    assert capacity_per_s(CONSTANT, None, 0.99, 0.02) == math.inf
    assert capacity_per_s(CONSTANT, None, 0.99, 0.002) == 0


def test_without_a_queue_the_sojourn_is_the_service() -> None:
    assert sojourn_mean_s(LOGNORMAL, None, 1e9) == LOGNORMAL.mean_s
    assert sojourn_quantile_s(LOGNORMAL, None, 1e9, 0.99) == LOGNORMAL.quantiles_s(np.array([0.99]))[0]
    assert sojourn_cdf(LOGNORMAL, None, 1e9, 0.01) == pytest.approx(0.5)


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(queueing.NoFormula, match="2 servers"):
        sojourn_mean_s(CONSTANT, 2, 10.0)
    with pytest.raises(queueing.NoFormula):
        sojourn_quantile_s(LOGNORMAL, 2, 10.0, 0.5)
    with pytest.raises(ValueError, match="grows for ever"):
        sojourn_mean_s(EXPONENTIAL, 2, 200.0)
    assert sojourn_mean_s(Pareto(scale_s=0.005, alpha=1.5), 1, 10.0) == math.inf


def test_stalls_on_paper() -> None:
    stall = Stall(length_s=1, period_s=10)
    assert queueing.stalled_quantile_s(0.002, stall, 0.5) == 0.002
    assert queueing.stalled_quantile_s(0.002, stall, 0.95) == pytest.approx(0.502)
    assert queueing.stalled_quantile_s(0.002, stall, 0.99) == pytest.approx(0.902)
    n, service = 100_000, 2_000_000
    arrivals = (np.arange(n) * (20 * 10**9 / n)).astype(int).tolist()
    held_s = np.array(sojourns_ns(arrivals, [service] * n, None, stall)) / 1e9
    assert held_s.mean() == pytest.approx(queueing.stalled_mean_s(0.002, stall), rel=1e-3)
    for share in (0.5, 0.9, 0.95, 0.99):
        truth_s = queueing.stalled_quantile_s(0.002, stall, share)
        assert np.quantile(held_s, share, method="inverted_cdf") == pytest.approx(truth_s, rel=1e-3)
