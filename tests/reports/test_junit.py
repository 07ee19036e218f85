"""JUnit XML as CI reads it: counts that add up, one case a candidate, and the reason of each that did not pass."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any
from xml.etree import ElementTree

from junitparser import Failure, JUnitXml, Skipped

from reports import junit

# junit-10.xsd of Jenkins: the attributes an element may have, those it must have, and what it may hold.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "disabled", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
        {"name", "tests"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time", "assertions", "status"},
        {"name", "classname"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, set(), set()),
    "error": ({"type", "message"}, set(), set()),
    "skipped": ({"type", "message"}, set(), set()),
    "system-out": (set(), set(), set()),
}


def check(root: ElementTree.Element) -> None:
    """What the schema demands, and that the counts are those of the cases."""
    for element in root.iter():
        allowed, needed, inside = ALLOWED[element.tag]
        assert needed <= set(element.attrib) <= allowed, element.tag
        assert {child.tag for child in element} <= inside, element.tag
    for suite in root.iter("testsuite"):
        cases = list(suite.iter("testcase"))
        seen = Counter(child.tag for case in cases for child in case)
        assert int(suite.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[name]) == seen[tag]
        assert all(len({child.tag for child in case} & {"failure", "error", "skipped"}) <= 1 for case in cases)


def test_each_candidate_is_a_case_with_its_outcome_and_reason(full: dict[str, Any]) -> None:
    (suite,) = JUnitXml.fromfile(io.StringIO(junit.render(full)))
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("resnet50", 7, 3, 0, 1)
    cases = {case.name: case for case in suite}
    assert list(cases) == [row["id"] for row in full["candidates"]]
    assert cases["openvino@local-1"].is_passed
    (rejected,) = cases["eager@local-1"].result
    assert isinstance(rejected, Failure)
    assert rejected.type == "rejected"
    assert rejected.message.startswith("p99 at 8 requests/s is 369 ms against a limit of 190 ms")
    assert cases["ort-int8@local-1"].result[0].type == "invalid"
    assert "steal time" in cases["ort-int8@local-1"].result[0].message
    assert cases["tvm@local-1"].result[0].type == "failed"
    (skipped,) = cases["tensorrt@local-1"].result
    assert isinstance(skipped, Skipped)
    assert skipped.message == "needs an NVIDIA GPU, and this machine has none"
    slo = ElementTree.fromstring(junit.render(full)).find(".//property[@name='slo']")
    assert slo is not None
    assert slo.attrib["value"] == "p99<190ms"


def test_every_edge_keeps_the_schema(edge: dict[str, Any]) -> None:
    root = ElementTree.fromstring(junit.render(edge))
    check(root)
    assert len(list(root.iter("testcase"))) == len(edge.get("candidates") or ())


def test_a_time_that_was_not_measured_is_left_out(full: dict[str, Any]) -> None:
    assert ElementTree.fromstring(junit.render(full))[0].attrib["time"] == "1984.200"
    full["run"]["duration_s"] = None
    assert "time" not in ElementTree.fromstring(junit.render(full))[0].attrib


def test_characters_that_xml_forbids_are_shown_as_replaced(full: dict[str, Any]) -> None:
    full["candidates"][5]["reason"] = "a\x00b\ufffe\uffffc\ud800]]>"
    failure = ElementTree.fromstring(junit.render(full)).find(".//failure[@type='failed']")
    assert failure is not None
    assert failure.text == "a\ufffdb\ufffd\ufffdc\ufffd]]>"
