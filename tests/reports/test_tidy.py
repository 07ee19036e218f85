"""The flat table: units in the names, absent stays absent, and no cell is a formula."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.errors import InfrastructureError
from reports import tidy


def test_one_row_per_candidate_with_its_figures(full: dict[str, Any]) -> None:
    table = tidy.frame(full)
    assert table["id"].tolist() == [row["id"] for row in full["candidates"]]
    first = table.iloc[0]
    assert first["latency_p99_ms"] == full["candidates"][0]["latency_ms"]["p99"]["value"]
    assert first["capacity_per_s_low"] == 15.096
    assert first["status"] == "ranked"


def test_absent_is_nan_or_none_never_zero(full: dict[str, Any]) -> None:
    failed = tidy.frame(full).iloc[5]
    assert pd.isna(failed["latency_p99_ms"])
    assert failed["compile_cached"] is None
    assert failed["capacity_per_s_reason"] == "no load was run"


def test_columns_and_dtypes_do_not_depend_on_what_was_measured(full: dict[str, Any], edge: dict[str, Any]) -> None:
    pd.testing.assert_series_equal(tidy.frame(edge).dtypes, tidy.frame(full).dtypes)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "\n@", "\r="])
def test_csv_disarms_formulas(tmp_path: Path, full: dict[str, Any], start: str) -> None:
    full["candidates"][0]["id"] = f"{start}cmd|'/C calc'!A0"
    full["candidates"][0]["reason"] = f"{start}1+1"
    tidy.write_csv(full, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    for name in ("id", "reason"):
        assert not first[name].lstrip().startswith(("=", "+", "-", "@"))
        assert first[name].startswith("'")


def test_csv_keeps_negative_numbers_and_absence(tmp_path: Path, full: dict[str, Any]) -> None:
    full["candidates"][0]["transport_ms"] = -0.25
    tidy.write_csv(full, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert table[0]["transport_ms"] == "-0.25"
    assert table[5]["transport_ms"] == ""


def test_csv_of_every_edge_can_be_written(tmp_path: Path, edge: dict[str, Any]) -> None:
    tidy.write_csv(edge, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(edge.get("candidates") or ())


def test_csv_says_where_it_could_not_write(tmp_path: Path, full: dict[str, Any]) -> None:
    with pytest.raises(InfrastructureError, match="cannot write"):
        tidy.write_csv(full, tmp_path / "absent" / "x.csv")
