"""The night as JUnit XML: a test case for each candidate and metric, and two for the gate's own tests.

A regression is a failure, what is inconclusive is skipped, what is invalid is an error. What was not judged has no test case.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from reports import text
from reports.gate import words
from reports.gate.words import Row

_TAGS = {"regression": "failure", "inconclusive": "skipped", "invalid": "error"}
_Case = tuple[str, str | None, str]
"""Its name, the verdict (None: passed) and what is to say."""


def render(document: Row) -> str:
    """The whole file, with its declaration."""
    root = ElementTree.Element("testsuites", name="loadstone gate")
    for candidate in document["candidates"]:
        cases = list(_cases(candidate))
        counts = {tag: sum(_TAGS.get(verdict or "") == tag for _, verdict, _ in cases) for tag in _TAGS.values()}
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=text.clean(f"{document['model']['name']} {candidate['id']}"),
            tests=str(len(cases)),
            failures=str(counts["failure"]),
            errors=str(counts["error"]),
            skipped=str(counts["skipped"]),
            time=f"{candidate['duration_s'] or 0:.3f}",
            timestamp=document["created_utc"],
        )
        for name, verdict, said in cases:
            case = ElementTree.SubElement(suite, "testcase", classname=text.clean(candidate["id"]), name=name, time="0")
            if verdict is None:
                ElementTree.SubElement(case, "system-out").text = text.clean(said, 4000)
            else:
                ElementTree.SubElement(case, _TAGS[verdict], message=text.clean(said, 4000), type=verdict)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cases(candidate: Row) -> Iterator[_Case]:
    if candidate["reason"] is not None:
        yield "measured", "invalid", candidate["reason"]
    for row in candidate["metrics"]:
        if row["verdict"] is not None:
            yield row["metric"], _kept(row["verdict"]), words.evidence(row)
    test = candidate["self_test"]
    for name, good, rows in (
        ("twin stays silent", test["twin"]["silent"], test["twin"]["metrics"]),
        ("canary is caught", test["canary"]["fired"], test["canary"]["metrics"]),
    ):
        if good is not None:
            yield (
                name,
                None if good else "invalid",
                "; ".join(words.evidence(row) for row in rows if row["verdict"] is not None),
            )


def _kept(verdict: str) -> str | None:
    return None if verdict == "pass" else verdict
