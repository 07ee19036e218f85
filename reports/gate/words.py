"""How the gate's figures are said, the same in every output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import text

Row = Mapping[str, Any]

VERDICTS = {
    "pass": "PASS",
    "regression": "REGRESSION",
    "inconclusive": "INCONCLUSIVE",
    "invalid": "INVALID",
    None: "not judged",
}
MEANINGS = {
    "pass": "nothing as large as the thresholds got worse",
    "regression": "it got worse, and a second measurement confirmed it",
    "inconclusive": "it could not be told whether it got worse",
    "invalid": "nothing was decided",
}
_UNITS = {"ms": "ms", "s": "s", "per_s": "/s"}


def label(metric: str) -> str:
    """`p50_ms` as p50."""
    return {"throughput_per_s": "throughput", "start_s": "start-up"}.get(metric, metric.partition("_")[0])


def figure(row: Row, which: str) -> str:
    """A metric's value with its unit."""
    value = row[which]
    unit = _UNITS["per_s" if row["metric"].endswith("per_s") else row["metric"].rpartition("_")[2]]
    return text.DASH if value is None else f"{text.number(value)} {unit}".replace(" /s", "/s")


def change(ratio: float | None) -> str:
    return text.DASH if ratio is None else f"{ratio - 1:+.1%}"


def interval(row: Row) -> str:
    """The 95 % interval of the change."""
    if row["low"] is None or row["high"] is None:
        return text.DASH
    return f"{change(row['low'])} … {change(row['high'])}"


def share(value: float | None) -> str:
    return text.DASH if value is None else f"{value:.1%}"


def p_value(value: float | None) -> str:
    return text.DASH if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def evidence(row: Row) -> str:
    """One line: figures, change with its interval, pairs, p, threshold and what tonight could have seen."""
    if row["ratio"] is None:
        return f"{label(row['metric'])}: {text.clean(row['reason'])}"
    return (
        f"{label(row['metric'])}: {figure(row, 'baseline')} → {figure(row, 'tonight')}, {change(row['ratio'])} "
        f"({interval(row)}), {row['pairs']} pairs, p {p_value(row['p'])}, threshold {row['threshold']:.0%}, "
        f"visible {share(row['visible'])}: {text.clean(row['reason'])}"
    )


def headline(document: Row) -> str:
    verdict = document["verdict"]
    return f"{VERDICTS[verdict]}: {text.name(document['model']['name'])} tonight, {MEANINGS[verdict]}"


def tally(document: Row) -> list[str]:
    """How often the gate passed its own tests, as sentences."""
    said = []
    for key, what in (("twin", "the baseline against itself stayed silent"), ("canary", "the canary of +5 % was caught")):
        each = document["tally"][key]
        if not each["nights"]:
            said.append(f"{what}: no night yet")
            continue
        said.append(
            f"{what} in {each['good']} of {each['nights']} measurements "
            f"(95 % interval {share(each['low'])} to {share(each['high'])})"
        )
    return said


def notes(document: Row) -> list[str]:
    """Everything a reader should know beside the verdicts: new series, creep, warnings."""
    creep = [f"{each} (a warning, it blocks nothing)" for each in document["creep"]]
    return [text.clean(each) for each in (*document["new_series"], *creep, *document["warnings"])]


def self_test(candidate: Row) -> str:
    """What became of the twin and the canary of one candidate, in a line."""
    test = candidate["self_test"]
    twin = {True: "silent", False: "fired", None: "not measured"}[test["twin"]["silent"]]
    canary = {True: "caught", False: "missed", None: "not measured"}[test["canary"]["fired"]]
    return f"twin {twin}, canary {canary}"
