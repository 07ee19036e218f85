"""Reading an SLO, its default, and the queue that the default is derived from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import slo
from harness.errors import UsageError
from harness.nouns import SLO, LatencyLimit


def one(text: str) -> tuple[float, float, float]:
    """Quantile, limit and error ratio of an SLO with a single limit."""
    got = slo.parse(text)
    (limit,) = got.limits
    assert got.source == "given"
    return limit.quantile, limit.limit_ms, got.max_error_ratio


@pytest.mark.parametrize(
    ("text", "quantile", "limit_ms", "errors"),
    [
        ("p99<100ms", 0.99, 100.0, 0.001),
        ("p95<=0.1s", 0.95, 100.0, 0.001),
        ("p99.9 < 250 ms", 0.999, 250.0, 0.001),
        (" P50<800us ", 0.5, 0.8, 0.001),
        ("p99<100ms,errors<0.5%", 0.99, 100.0, 0.005),
        ("errors<0.5%,p99<100ms", 0.99, 100.0, 0.005),
        ("p99<100ms, error <= 0.02", 0.99, 100.0, 0.02),
        ("p99<1.5ms,errors<=0%", 0.99, 1.5, 0.0),
    ],
)
def test_parse(text: str, quantile: float, limit_ms: float, errors: float) -> None:
    assert one(text) == (quantile, limit_ms, errors)


def test_several_limits_keep_their_order_and_the_highest_quantile_stands_for_them() -> None:
    got = slo.parse("p99<100ms, p50<20ms, errors<0.5%")
    assert [(limit.quantile, limit.limit_ms) for limit in got.limits] == [(0.99, 100.0), (0.5, 20.0)]
    assert str(got) == "p99<100ms,p50<20ms,errors<0.5%"
    assert str(got.tail) == "p99<100ms"
    assert got.longest_ms == 100.0
    assert got.tail.allowed == pytest.approx(0.01)


def test_an_slo_without_a_limit_or_with_a_quantile_twice_cannot_be_made() -> None:
    for limits in ((), slo.parse("p99<1ms").limits + slo.parse("p99<2ms").limits):
        with pytest.raises(ValueError, match="at least one latency limit"):
            SLO(limits=limits)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", 'did not understand ""'),
        ("99<100ms", 'did not understand "99<100ms"'),
        ("p99>100ms", 'did not understand "p99>100ms"'),
        ("p99<100", 'did not understand "p99<100"'),
        ("p99<-1ms", 'did not understand "p99<-1ms"'),
        ("p99<nanms", 'did not understand "p99<nanms"'),
        ("p100<1ms", "not at 100"),
        ("p0<1ms", "not at 0"),
        ("p99<0ms", "longer than 0 ms"),
        ("p99<100ms,latency<1%", 'did not understand "latency<1%"'),
        ("p99<100ms,errors<1%,errors<2%", "limited more than once"),
        ("p99<100ms,p99.0<50ms", "p99 is limited more than once"),
        ("errors<1%", "at least one latency limit"),
        ("p99<100ms,", 'did not understand ""'),
        ("p99.99999999999<1ms", "nearer to 0 or 100"),
        ("p99<100ms,errors<100%", "below 100 %"),
        ("p99<100ms,errors<5", "below 100 %"),
    ],
)
def test_parse_says_what_it_did_not_understand_and_how_to_write_it(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        slo.parse(text)
    message = str(caught.value)
    assert complaint in message
    assert "p99<100ms" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


LIMITS = st.lists(
    st.tuples(st.integers(1, 10**9 - 1), st.floats(1e-3, 1e9).map(lambda ms: float(f"{ms:.12g}"))),
    min_size=1,
    max_size=4,
    unique_by=lambda pair: pair[0],
)


@given(LIMITS, st.integers(0, 10**6 - 1))
def test_a_printed_slo_reads_back(raw: list[tuple[int, float]], errors: int) -> None:
    limits = tuple(LatencyLimit(quantile=round(share / 1e9, 9), limit_ms=ms) for share, ms in raw)
    made = SLO(limits=limits, max_error_ratio=round(errors / 1e6, 12))
    assert slo.parse(str(made)) == made


@pytest.mark.parametrize(
    ("service_ms", "limit_ms"),
    [(20.0, 100.0), (10.0, 50.0), (10.1, 51.0), (22.7, 120.0), (0.2, 5.0), (1.0, 5.0), (211.3, 1100.0)],
)
def test_default_is_five_services_rounded_up_to_two_digits(service_ms: float, limit_ms: float) -> None:
    got = slo.default_slo(service_ms)
    assert [(limit.quantile, limit.limit_ms) for limit in got.limits] == [(0.99, limit_ms)]
    assert got.source.startswith("default: 5 x")


@given(st.floats(1.0, 1e5))
def test_default_is_never_tighter_than_five_services_nor_much_looser(service_ms: float) -> None:
    assert 5 * service_ms * (1 - 1e-6) <= slo.default_slo(service_ms).tail.limit_ms <= 5 * service_ms * 1.11


def test_default_of_no_service_time_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="longer than 0 ms"):
            slo.default_slo(wrong)


def test_at_five_services_an_md1_queue_is_56_percent_utilised() -> None:
    share = slo.md1_utilisation(0.99, 5)
    assert share == pytest.approx(0.561, abs=0.001)
    assert slo.md1_wait_cdf(share, 4) == pytest.approx(0.99, abs=1e-6)
    assert "56 % utilisation" in slo.default_slo(20.0).source
    assert "56 % utilisation" in str(slo.default_slo.__doc__)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_md1_waiting_time_agrees_with_a_simulated_queue(rho: float) -> None:
    rng = np.random.default_rng(11)
    walk = np.cumsum(1 - rng.exponential(1 / rho, 1_000_000))
    wait = walk - np.minimum.accumulate(walk)
    for services in (0.5, 1.0, 2.5, 4.0, 10.0, 25.0):
        assert slo.md1_wait_cdf(rho, services) == pytest.approx((wait <= services).mean(), abs=0.006)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_md1_mean_wait_is_pollaczek_khinchine(rho: float) -> None:
    grid = np.linspace(0, 120, 3001)
    tail = np.array([1 - slo.md1_wait_cdf(rho, float(w)) for w in grid])
    assert np.trapezoid(tail, grid) == pytest.approx(rho / (2 * (1 - rho)), rel=0.01)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_md1_utilisation_grows_with_the_limit(quantile: float) -> None:
    shares = [slo.md1_utilisation(quantile, limit) for limit in (0.5, 1.0, 1.5, 2, 3, 5, 10, 19, 21, 22, 50, 500)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] < 1


def test_md1_edges() -> None:
    assert slo.md1_wait_cdf(0.0, 0.0) == 1.0
    assert slo.md1_wait_cdf(0.5, -0.1) == 0.0
    assert slo.md1_wait_cdf(0.5, 0.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="stable queue"):
        slo.md1_wait_cdf(1.0, 1.0)
