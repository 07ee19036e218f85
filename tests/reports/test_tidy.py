"""The flat table: units in the names, absent stays absent, and no cell is a formula."""

from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd
import pytest

from harness.errors import UsageError
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


def rows(result: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tidy.csv(result), newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "\n@", "\r="])
def test_csv_disarms_formulas(full: dict[str, Any], start: str) -> None:
    full["candidates"][0]["id"] = f"{start}cmd|'/C calc'!A0"
    full["candidates"][0]["reason"] = f"{start}1+1"
    first = rows(full)[0]
    for name in ("id", "reason"):
        assert not first[name].lstrip().startswith(("=", "+", "-", "@"))
        assert first[name].startswith("'")


def test_csv_keeps_negative_numbers_and_absence(full: dict[str, Any]) -> None:
    full["candidates"][0]["transport_ms"] = -0.25
    table = rows(full)
    assert table[0]["transport_ms"] == "-0.25"
    assert table[5]["transport_ms"] == ""


def test_csv_of_every_edge_can_be_written(edge: dict[str, Any]) -> None:
    tidy.csv(edge).encode()
    assert len(rows(edge)) == len(edge.get("candidates") or ())


def test_parquet_holds_the_table_with_its_types(full: dict[str, Any]) -> None:
    pytest.importorskip("pyarrow")
    seen, frame = pd.read_parquet(io.BytesIO(tidy.parquet(full))), tidy.frame(full)
    assert list(seen.columns) == list(frame.columns)
    assert seen["id"].tolist() == frame["id"].tolist()
    pd.testing.assert_series_equal(seen["latency_p99_ms"], frame["latency_p99_ms"])
    assert seen["compile_cached"].tolist()[:2] == [False, False]
    assert seen["compile_cached"].isna().tolist() == frame["compile_cached"].isna().tolist()


def test_types_of_parquet_do_not_depend_on_what_was_measured(full: dict[str, Any], edge: dict[str, Any]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    schemas = [parquet.read_schema(io.BytesIO(tidy.parquet(each))).remove_metadata() for each in (full, edge)]
    assert schemas[0] == schemas[1]


def test_parquet_without_pyarrow_says_what_to_install(full: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "parquet_possible", lambda: False)
    with pytest.raises(UsageError, match=r"pip install 'loadstone\[parquet\]'"):
        tidy.parquet(full)
