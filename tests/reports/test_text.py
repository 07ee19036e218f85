"""Digits follow the interval, absence is a dash, and foreign text cannot disguise itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import text


@pytest.mark.parametrize(
    ("value", "low", "high", "shown", "span"),
    [
        (121.34, 118.2, 126.9, "121", "118–127"),
        (11.234, 11.12, 11.35, "11.23", "11.12–11.35"),
        (1234.5, 900.0, 1500.0, "1,200", "900–1,500"),
        (0.5, 0.004, 40.0, "0.50", "0.004–40.00"),
        (99.96, 99.0, 101.0, "100.0", "99.0–101.0"),
        (8.0, None, None, "8.00", None),
        (8.0, None, 9.0, "8.00", "?–9.00"),
        (0.0, None, None, "0", None),
        (2.5e-7, None, None, "2.5×10⁻⁷", None),
    ],
)
def test_number_shows_the_digits_that_the_interval_supports(
    value: float, low: float | None, high: float | None, shown: str, span: str | None
) -> None:
    assert text.number(value, low, high) == shown
    assert text.interval(value, low, high) == span


@given(st.floats(min_value=1e-12, max_value=1e12), st.floats(min_value=1e-9, max_value=10))
def test_rounding_keeps_within_a_twentieth_and_never_shows_zero(value: float, relative: float) -> None:
    shown = text.number(value, value * (1 - relative), value * (1 + relative))
    if "×" not in shown:
        assert math.isclose(float(shown.replace(",", "")), value, rel_tol=0.051)
    assert shown != "0"


def test_absent_is_a_dash_and_never_a_number() -> None:
    written = [text.number(None), text.usd(None), text.percent(None), text.size(None), text.duration(None), text.compact(None)]
    assert set(written) == {"–"}


@pytest.mark.parametrize(("value", "shown"), [(4.1, "$4.10"), (42.123, "$42.12"), (0.0132, "$0.0132"), (1234.0, "$1,234")])
def test_money(value: float, shown: str) -> None:
    assert text.usd(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.9994, ">99.9 %"), (0.997, ">99 %"), (0.83, "83 %"), (0.0012, "0.12 %")],
)
def test_percent_is_not_rounded_to_certainty(share: float, shown: str) -> None:
    assert text.percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.85, "850 ms"), (12.34, "12.3 s"), (300.0, "5 min"), (305.0, "5 min 5 s"), (3720.0, "1 h 2 min")]
)
def test_duration(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_size_and_count_have_prefixes() -> None:
    assert text.size(102_400_000) == "97.7 MiB"
    assert text.compact(25_557_032) == "25.6 M"


@given(st.text())
def test_cleaned_text_holds_nothing_that_hides_or_reorders(said: str) -> None:
    shown = text.clean(said)
    assert not any(mark in shown for mark in "\u202e\u2066\u200b\x1b\x00\x9b\r")
    shown.encode()


def test_long_names_keep_both_ends() -> None:
    shown = text.name("start" + "x" * 10_000 + "end")
    assert len(shown) == 64
    assert shown.startswith("start")
    assert shown.endswith("end")


def test_lone_surrogates_can_be_written() -> None:
    assert text.clean("a\ud800b").encode() == b"a\xef\xbf\xbdb"


@pytest.mark.parametrize(
    ("stamp", "shown"),
    [
        ("2026-11-22T10:30:12+01:00", "2026-11-22 09:30 UTC"),
        ("2026-11-22T10:30:12", "2026-11-22T10:30:12"),
        ("0001-01-01T00:00:00+23:00", "0001-01-01T00:00:00+23:00"),
        ("last week", "last week"),
        (None, None),
    ],
)
def test_instants_with_a_zone_are_shown_in_utc(stamp: str | None, shown: str | None) -> None:
    assert text.instant(stamp) == shown
