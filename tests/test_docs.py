"""docs/result.md names every key that a bench writes: those of a whole bench on fakes, and those of the stored result."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import environment, slo
from harness.interference import Interference
from harness.twin import TwinFinding
from tests.harness import test_bench
from tests.harness.fakes import FakeWorld, constant
from tests.reports.conftest import FIXTURE

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS = ("run", "model", "environment", "slo", "generator", "recommendation", "scaling", "timeline", "decision")


def words(page: str) -> set[str]:
    """Every name that stands in a code span of a page of docs/."""
    spans = re.findall(r"`([^`]+)`", (DOCS / page).read_text(encoding="utf-8"))
    return {word for span in spans for word in re.findall(r"\w+", span)}


def keys(result: dict[str, Any]) -> Iterator[str]:
    yield from result
    for name in SECTIONS:
        yield from result.get(name) or {}
    for row in result["candidates"]:
        yield from row
        for step in row["steps"]:
            yield from step


def test_every_key_of_a_bench_is_documented(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(14.0), "tvm": constant(300.0)})
    request = replace(test_bench.REQUEST, demand_per_s=400.0)
    _, result = test_bench.run(world, tmp_path / "run", request, slo.parse("p99<100ms"))
    undocumented = {*keys(result), *environment.describe()} - words("result.md")
    undocumented |= {*TwinFinding.__slots__, *Interference.__slots__} - words("result.md")
    assert not undocumented


def test_every_key_of_the_stored_result_is_documented() -> None:
    undocumented = set(keys(json.loads(FIXTURE.read_bytes()))) - words("result.md")
    assert not undocumented


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_pages_link_to_what_exists(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in link or (DOCS / link).exists(), f"{page}: {link}"
