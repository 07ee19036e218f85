from __future__ import annotations

import numpy as np
import pytest

from compilers.parity import compare, distinct_top1, verdict
from harness.nouns import Parity, Tolerance


def outputs(*rows: list[float]) -> list[list[np.ndarray]]:
    return [[np.array([row], np.float32)] for row in rows]


REFERENCE = outputs([1, 2, 4], [4, 1, -8])


def measured(actual: list[list[np.ndarray]], reference: list[list[np.ndarray]] = REFERENCE) -> Parity:
    parity = compare(actual, reference)
    assert isinstance(parity, Parity)
    return parity


def test_identical_outputs_have_no_error() -> None:
    parity = measured(REFERENCE)
    assert (parity.max_abs, parity.max_rel, parity.top1_agreement, parity.payloads) == (0, 0, 1, 2)
    assert verdict(parity, Tolerance()) is None


def test_error_is_relative_to_the_largest_reference_value_over_all_payloads() -> None:
    parity = measured(outputs([1, 2, 4.5], [4, 1, -8]))
    assert parity.max_abs == pytest.approx(0.5)
    assert parity.max_rel == pytest.approx(0.5 / 8)
    reason = verdict(parity, Tolerance())
    assert reason is not None
    assert "relative error 0.062 is above 0.001" in reason


def test_top1_counts_rows() -> None:
    parity = measured(outputs([5, 2, 4], [4, 1, -8]))
    assert parity.top1_agreement == 0.5
    assert "top-1 agrees on 50.0%" in str(verdict(parity, Tolerance(max_rel=10)))


def test_each_output_has_its_own_scale() -> None:
    reference = [[np.array([1000.0]), np.array([0.001])]]
    parity = measured([[np.array([1000.0]), np.array([0.002])]], reference)
    assert parity.max_rel == pytest.approx(1.0)


def test_a_reference_of_zeros_leaves_the_absolute_error() -> None:
    assert measured([[np.array([0.5])]], [[np.array([0.0])]]).max_rel == 0.5


@pytest.mark.parametrize(
    ("actual", "reason"),
    [
        (outputs([1, 2, float("nan")], [4, 1, -8]), "payload 0: output 0 holds NaN or infinity"),
        (outputs([1, 2, 4], [float("inf"), 1, -8]), "payload 1: output 0 holds NaN or infinity"),
        (outputs([1, 2], [4, 1]), "payload 0: output 0 has shape [1, 2] instead of [1, 3]"),
        ([[row[0].astype(np.float64)] for row in REFERENCE], "payload 0: output 0 is float64 instead of float32"),
        ([[*row, *row] for row in REFERENCE], "payload 0: 2 outputs instead of 1"),
        (REFERENCE[:1], "1 results for 2 payloads"),
    ],
)
def test_what_cannot_be_compared_says_why(actual: list[list[np.ndarray]], reason: str) -> None:
    assert compare(actual, REFERENCE) == reason


def test_nan_in_a_measured_error_is_a_failure() -> None:
    broken = Parity(max_abs=float("nan"), max_rel=float("nan"), top1_agreement=1, payloads=32)
    assert verdict(broken, Tolerance()) is not None


def test_distinct_top1() -> None:
    assert distinct_top1(REFERENCE) == 2
    assert distinct_top1(outputs([1, 2], [0, 5])) == 1


def test_scalars_and_integers_compare() -> None:
    assert measured([[np.array(3, np.int64)]], [[np.array(4, np.int64)]]).max_rel == 0.25
