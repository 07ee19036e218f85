from __future__ import annotations

import math

import pytest

from harness.gate import selftest
from harness.gate.decision import Finding, Verdict
from harness.gate.night import Night


def night(*verdicts: Verdict) -> Night:
    findings = tuple(Finding(metric="p50_ms", verdict=each, reason="seen +5.0%") for each in verdicts)
    return Night(findings=findings, runs=1, extended=False)


SILENT, LOUD = night(Verdict.PASS), night(Verdict.PASS, Verdict.REGRESSION)


@pytest.mark.parametrize(
    ("twin", "canary", "said"),
    [
        (SILENT, LOUD, None),
        (night(Verdict.INCONCLUSIVE), LOUD, None),
        (LOUD, LOUD, "the baseline failed against itself (p50_ms seen +5.0%)"),
        (SILENT, SILENT, "was not caught (p50_ms: seen +5.0%)"),
        (SILENT, night(Verdict.INCONCLUSIVE), "was not caught"),
        (SILENT, night(), "it was not measured"),
        (night(), LOUD, "not compared with itself"),
    ],
)
def test_the_gate_works_only_when_the_twin_is_silent_and_the_canary_caught(
    twin: Night, canary: Night, said: str | None
) -> None:
    found = selftest.judge(twin, canary)
    if said is None:
        assert found.why_invalid is None
        assert found.silent
        assert found.fired
    else:
        assert said in (found.why_invalid or "")


def test_the_canary_makes_an_answer_5_percent_longer_whatever_of_it_is_compute() -> None:
    assert selftest.extra_work(10.0, 10.0) == pytest.approx(0.05)
    assert selftest.extra_work(10.0, 5.0) * 5.0 == pytest.approx(0.5)


@pytest.mark.parametrize("compute_ms", [0.0, 1e-6, math.nan])
def test_no_canary_is_made_of_nothing(compute_ms: float) -> None:
    with pytest.raises(ValueError, match="no canary"):
        selftest.extra_work(1.0, compute_ms)


def test_the_tally_is_a_share_with_its_wilson_interval() -> None:
    found = selftest.tally([True] * 9 + [False])
    assert (found.nights, found.good) == (10, 9)
    assert found.low == pytest.approx(0.596, abs=1e-3)
    assert found.high == pytest.approx(0.982, abs=1e-3)
    assert selftest.tally([]).low is None
