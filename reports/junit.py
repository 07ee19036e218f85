"""JUnit XML, as CI systems read it (the schema is junit-10.xsd of Jenkins): a test case, what became of it, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from reports import cells, markdown, summary, text
from reports import result as read
from reports.result import Result

# What XML 1.0 forbids beyond what `text.clean` takes out.
_FORBIDDEN = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`outcome` is `passed`, `failed`, `error` or `skipped`; `kind` is the failure's type, `message` its one line."""

    group: str
    name: str
    outcome: str
    kind: str = ""
    message: str = ""
    output: str = ""


def render(result: Result) -> str:
    """Each candidate as a test case: ranked passed, skipped skipped, and rejected, invalid and failed with the reason."""
    model = summary.model_name(result)
    found = {key: read.text(result, "run", key) for key in ("id", "command", "state", "loadstone_version")}
    found |= {"slo": summary.slo_text(result), "environment": read.text(result, "environment", "fingerprint")}
    return document(
        model,
        [_case(row, model) for row in read.rows(result, "candidates")],
        {name: value for name, value in found.items() if value},
        timestamp=read.text(result, "run", "created_utc"),
        duration_s=read.number(result, "run", "duration_s"),
    )


def _case(row: Mapping[str, Any], model: str) -> Case:
    status = read.text(row, "status") or "no status"
    outcome = {"ranked": "passed", "skipped": "skipped"}.get(status, "failed")
    figures = {
        "capacity_per_s": text.estimate(read.mapping(row, "capacity_per_s")),
        "p99_ms": text.estimate(read.mapping(row, "latency_ms", "p99")),
        "usd_per_million": text.estimate(read.mapping(row, "usd_per_million")),
    }
    return Case(
        group=f"{model}.{text.name(read.text(row, 'instance') or 'unnamed instance')}",
        name=cells.label(row),
        outcome=outcome,
        kind=text.name(status, 24),
        message="" if outcome == "passed" else markdown.reasons(row),
        output="\n".join(f"{name} {value}" for name, value in figures.items() if value != text.DASH),
    )


def document(
    name: str,
    cases: Sequence[Case],
    properties: Mapping[str, str],
    *,
    timestamp: str | None = None,
    duration_s: float | None = None,
) -> str:
    """One suite as an XML document; a time that was not measured is left out."""
    counts = {kind: sum(case.outcome == kind for case in cases) for kind in ("failed", "error", "skipped")}
    totals = {"tests": len(cases), "failures": counts["failed"], "errors": counts["error"], "skipped": counts["skipped"]}
    shared = {key: str(value) for key, value in totals.items()}
    if duration_s is not None:
        shared["time"] = f"{duration_s:.3f}"
    root = ElementTree.Element("testsuites", {"name": "loadstone", **{k: v for k, v in shared.items() if k != "skipped"}})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _safe(name), **shared})
    if timestamp:
        suite.set("timestamp", _safe(timestamp, 40))
    if properties:
        held = ElementTree.SubElement(suite, "properties")
        for key, value in properties.items():
            ElementTree.SubElement(held, "property", {"name": _safe(key), "value": _safe(value, 4000)})
    for case in cases:
        _append(suite, case)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _append(suite: ElementTree.Element, case: Case) -> None:
    made = ElementTree.SubElement(suite, "testcase", {"classname": _safe(case.group), "name": _safe(case.name)})
    if case.outcome == "skipped":
        ElementTree.SubElement(made, "skipped", {"message": _safe(case.message)})
    elif case.outcome != "passed":
        tag = "error" if case.outcome == "error" else "failure"
        found = ElementTree.SubElement(made, tag, {"type": _safe(case.kind), "message": _safe(case.message)})
        found.text = _safe(case.message, 4000)
    if case.output:
        ElementTree.SubElement(made, "system-out").text = _safe(case.output, 4000)


def _safe(said: str, limit: int = 600) -> str:
    return _FORBIDDEN.sub("\ufffd", text.clean(said, limit))
