"""The figures that the projection stands on: every published result held out with all of its hardware."""

from __future__ import annotations

import math

import pytest

from harness.projection import constants, tables, validate
from harness.projection.validate import HeldOut, held_out, table, width, widths


@pytest.fixture(scope="module")
def held() -> tuple[HeldOut, ...]:
    return held_out(tables.load())


def test_the_median_error_and_the_coverage_are_what_is_stated(held: tuple[HeldOut, ...]) -> None:
    lines = {line.kind: line for line in table(held)}
    assert lines["cpu"].median <= 0.25
    assert lines["gpu"].median <= 0.35
    for line in lines.values():
        assert 0.85 <= line.coverage <= 0.95, line.kind
    assert lines["cpu"].hardware >= 20
    assert lines["gpu"].hardware >= 10


def test_the_widths_in_use_are_those_of_the_held_out_errors(held: tuple[HeldOut, ...]) -> None:
    assert dict(constants.WIDTHS) == {kind: pytest.approx(value, abs=2e-3) for kind, value in widths(held).items()}


def test_nothing_of_the_held_out_hardware_is_used() -> None:
    found = tables.load()
    without = found.without("c5 core")
    assert {each.hardware for each in found.results} - {each.hardware for each in without.results} == {"c5 core"}
    assert (
        constants.fit_cpu(found).own["tflite", "fp32", "avx512"] != constants.fit_cpu(without).own["tflite", "fp32", "avx512"]
    )


def test_the_width_is_the_stated_quantile_of_the_errors() -> None:
    def one(error: float) -> HeldOut:
        return HeldOut(kind="cpu, fp32", hardware="a", block="a", error=error)

    assert width([one((-1) ** number * number / 10) for number in range(1, 11)]) == pytest.approx(0.9)
    assert math.isinf(width([]))


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main() == 0
    said = capsys.readouterr().out
    for kind in constants.WIDTHS:
        assert kind in said
