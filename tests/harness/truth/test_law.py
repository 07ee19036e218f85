"""Every law against scipy's, against numerical integrals, and against its own draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from harness.truth.law import Bimodal, Constant, Exponential, Law, Lognormal, Pareto

LAWS: dict[str, Law] = {
    "constant": Constant(value_s=0.01),
    "exponential": Exponential(mean_s=0.01),
    "lognormal": Lognormal(median_s=0.01, sigma=0.5),
    "wide lognormal": Lognormal(median_s=0.002, sigma=1.5),
    "bimodal": Bimodal(fast_s=0.004, slow_s=0.05, slow_share=0.01),
    "pareto": Pareto(scale_s=0.005, alpha=2.5),
    "heavy pareto": Pareto(scale_s=0.005, alpha=1.5),
}
SCIPY = {
    "exponential": stats.expon(scale=0.01),
    "lognormal": stats.lognorm(0.5, scale=0.01),
    "wide lognormal": stats.lognorm(1.5, scale=0.002),
    "pareto": stats.pareto(2.5, scale=0.005),
    "heavy pareto": stats.pareto(1.5, scale=0.005),
}
SHARES = np.array([0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
TIMES_S = np.array([0.0, 1e-4, 0.0039, 0.004, 0.006, 0.01, 0.03, 0.05, 0.2, 5.0])


@pytest.mark.parametrize("name", SCIPY)
def test_continuous_laws_are_those_of_scipy(name: str) -> None:
    law, other = LAWS[name], SCIPY[name]
    np.testing.assert_allclose(law.quantiles_s(SHARES), other.ppf(SHARES), rtol=1e-12)
    np.testing.assert_allclose(law.cdf(TIMES_S), other.cdf(TIMES_S), rtol=1e-12, atol=1e-15)
    assert law.mean_s == pytest.approx(other.mean(), rel=1e-12)
    second = other.var() + other.mean() ** 2
    assert law.second_moment_s2 == (math.inf if math.isinf(second) else pytest.approx(second, rel=1e-12))


@pytest.mark.parametrize("name", LAWS)
def test_the_limited_mean_is_the_integral_of_what_lasts_longer(name: str) -> None:
    law = LAWS[name]
    for time_s, limited_s in zip(TIMES_S, law.limited_mean_s(TIMES_S), strict=True):
        grid = np.linspace(0, time_s, 200_001)
        assert limited_s == pytest.approx(integrate.trapezoid(1 - law.cdf(grid), grid), rel=1e-3, abs=time_s / 200_000)
    assert law.limited_mean_s(np.array([1e6]))[0] == pytest.approx(law.mean_s, rel=1e-3)


@pytest.mark.parametrize("name", LAWS)
def test_quantiles_of_uniform_shares_have_the_laws_moments(name: str) -> None:
    law = LAWS[name]
    draws = law.quantiles_s(np.random.default_rng(4).random(400_000))
    tolerance = 0.05 if name == "heavy pareto" else 0.01
    assert draws.mean() == pytest.approx(law.mean_s, rel=tolerance)
    if math.isfinite(law.second_moment_s2) and not name.endswith("pareto"):
        assert np.square(draws).mean() == pytest.approx(law.second_moment_s2, rel=0.08)
    for share in (0.5, 0.9, 0.99):
        assert np.quantile(draws, share, method="inverted_cdf") == pytest.approx(
            law.quantiles_s(np.array([share]))[0], rel=0.05
        )


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(list(LAWS)), share=st.floats(1e-6, 1 - 1e-6))
def test_a_quantile_is_the_first_time_that_reaches_its_share(name: str, share: float) -> None:
    law = LAWS[name]
    time_s = float(law.quantiles_s(np.array([share]))[0])
    just_below, at = law.cdf(np.array([time_s * (1 - 1e-9), time_s * (1 + 1e-12)]))
    assert at >= share - 1e-9
    assert just_below <= share + 1e-9


def test_laws_without_moments_say_infinity() -> None:
    assert Pareto(scale_s=1, alpha=1).mean_s == math.inf
    assert Pareto(scale_s=1, alpha=2).second_moment_s2 == math.inf
    assert Pareto(scale_s=1, alpha=1).limited_mean_s(np.array([math.e]))[0] == pytest.approx(2)
