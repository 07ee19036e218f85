"""The comparison's figures as Markdown: `python -m tests.perf.peers.page JSON PAGE` puts them between the page's marks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from tests.perf.peers.task import QUANTILES

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
ABSENT = "–"


def tables(result: Mapping[str, Any]) -> str:
    """All parts that were measured, with date, machine and versions above them."""
    parts = [_head(result)]
    if "accuracy" in result:
        parts += [_accuracy(result["accuracy"]["rows"], result["accuracy"]["rate_per_s"]), _cpu(result["accuracy"]["cpu"])]
    if "capacity" in result:
        parts += [_capacity(result["capacity"])]
    if "resnet" in result:
        parts += [_resnet(result["resnet"])]
    return "\n\n".join(parts) + "\n"


def fill(path: Path, result: Mapping[str, Any]) -> None:
    """Replace what stands between the marks of the page. Raises UsageError when they are not there, once each and in order."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise UsageError(f"{path}: the figures go between one {BEGIN} and one {END}; put both on lines of their own")
    path.write_text(f"{before}{BEGIN}\n\n{tables(result)}\n{END}{after}", encoding="utf-8")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent; a dash for None."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"


def share(value: float | None) -> str:
    """A ratio's difference from 1 as a signed percentage."""
    return ABSENT if value is None else f"{100 * value:+.1f} %"


def _head(result: Mapping[str, Any]) -> str:
    cpu = result["environment"].get("cpu_model") or "an unnamed CPU"
    peers = ", ".join(line.replace("==", " ") for line in result["peers"].values())
    short = " A short run: it shows that everything works, its figures say nothing." if result["short"] else ""
    return (
        f"Measured {result['created_utc'][:10]} on {cpu}, server and client on a core each, "
        f"in {result['wall_s'] / 60:.0f} minutes; {peers}.{short}"
    )


def _three(values: Mapping[str, float | None] | None) -> str:
    return ABSENT if values is None else " / ".join(number(values[name]) for name in QUANTILES)


def _errors(row: Mapping[str, Any]) -> str:
    """Reported less true, in ms."""
    said = row["said"]["latency_ms"]
    shown = [
        ABSENT if said[name] is None else f"{said[name] - row['truth_ms'][name]:+.2f}" if row["truth_ms"] else ABSENT
        for name in QUANTILES
    ]
    return " / ".join(shown)


def _note(row: Mapping[str, Any]) -> str:
    """Why there is no figure, or what the tool remarks on it."""
    said = row["said"]
    if said is None:
        return row["problem"] or "no figures"
    failed = f"{said['failures']} failed" if said["failures"] else ""
    return "; ".join(part for part in (failed, said["note"]) if part)


def _accuracy(rows: Sequence[Mapping[str, Any]], rate_per_s: float) -> str:
    header = ["law", "tool", "reported p50 / p95 / p99, ms", "truth", "error, ms", "served", "requests", "wall s", "note"]
    shown = []
    for row in rows:
        said = row["said"]
        shown.append(
            [
                f"`{row['law']}`",
                row["tool"],
                _three(said and said["latency_ms"]),
                _three(row["truth_ms"]),
                ABSENT if said is None else _errors(row),
                _three(row["served_ms"]),
                ABSENT if said is None else f"{said['requests']:,}",
                number(row["wall_s"]),
                _note(row),
            ]
        )
    return f"**A known law, {rate_per_s:g} requests/s.**\n\n" + table(header, shown) + "\n\n" + _stalls(rows)


def _stalls(rows: Sequence[Mapping[str, Any]]) -> str:
    """How much of a stall a user of each tool would see: its p95 as a share of the true one."""
    seen = [
        f"{row['tool']} {100 * row['said']['latency_ms']['p95'] / row['truth_ms']['p95']:.0f} %"
        for row in rows
        if row["scenario"] == "stall" and row["said"] and row["said"]["latency_ms"]["p95"] is not None
    ]
    return "p95 under the stall as a share of the true one: " + (", ".join(seen) or "no tool gave one") + "."


def _cpu(cpu: Mapping[str, Mapping[str, float | None]]) -> str:
    rows = [[name, number(each["per_request_ms"]), number(each["runs_s"])] for name, each in cpu.items()]
    return "**CPU of the client.**\n\n" + table(
        ["tool", "ms a request while the load is on", "s in all three runs, starts included"], rows
    )


def _capacity(found: Mapping[str, Any]) -> str:
    title = f"**Capacity.** `{found['law']}` under {found['slo']}: {number(found['analytic_per_s'])}/s by arithmetic."
    rows = []
    for row in found["rows"]:
        ends = row["low"] is not None and row["high"] is not None
        rows.append(
            [
                row["tool"],
                ABSENT if row["seed"] is None else str(row["seed"]),
                number(row["value"]),
                f"{number(row['low'])} to {number(row['high'])}" if ends else ABSENT,
                share(row["error"]),
                number(row["wall_s"]),
                ABSENT if row["requests"] is None else f"{row['requests']:,}",
                row["problem"] or row["note"] or "",
            ]
        )
    every = table(["tool", "seed", "found, 1/s", "95 % interval", "error", "wall s", "requests", "note"], rows)
    whole = [
        [
            name,
            f"{each['found']} of {each['searches']}",
            _percent(each["median_error"]),
            _percent(each["largest_error"]),
            _percent(each["spread"]),
        ]
        for name, each in found["summary"].items()
    ]
    return "\n\n".join(
        [title, every, table(["tool", "found one", "median error", "largest error", "highest over lowest, less 1"], whole)]
    )


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.1f} %"


def _resnet(found: Mapping[str, Any]) -> str:
    title = (
        f"**{found['model']}** ({found['backend']}, one thread) at {number(found['rate_per_s'])}/s; "
        f"one closed-loop user sees {number(found['closed_service_ms'])} ms."
    )
    rows = [
        [
            row["tool"],
            row["body"],
            _three(row["said"] and row["said"]["latency_ms"]),
            ABSENT if row["said"] is None else f"{row['said']['requests']:,}",
            _note(row),
        ]
        for row in found["rows"]
    ]
    return title + "\n\n" + table(["tool", "body", "reported p50 / p95 / p99, ms", "requests", "note"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the figures of a comparison into a page.")
    parser.add_argument("json", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    fill(options.page, json.loads(options.json.read_text()))


if __name__ == "__main__":
    main()
