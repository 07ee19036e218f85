"""The what-if in a real browser: the page computes what Python computes, keeps its settings in the address, and every part of
the page can be reached and read by everybody (axe-core)."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from reports import page, text, whatif
from reports.whatif import Line, Settings
from tests.reports.browser import DESKTOP, PHONE, Browser
from tests.reports.conftest import EDGES, FIXTURE, projected

pytestmark = pytest.mark.e2e

ROWS = """
return Array.from(document.querySelectorAll("#whatif-table tbody tr")).map((row) => ({
  id: row.dataset.id,
  rank: row.cells[0].firstChild.textContent,
  tied: row.cells[0].textContent.includes("tied"),
  cells: Array.from(row.cells).slice(2).map((one) => [
    one.firstChild.textContent, one.querySelector("small")?.textContent ?? null,
  ]),
}));
"""
CHANGE = """
const [name, value] = arguments;
const form = document.getElementById("controls");
const control = form.querySelector(`[name="${name}"]`) || form.querySelector(`[data-instance="${name}"]`);
control.value = value;
control.dispatchEvent(new Event("input", { bubbles: true }));
"""
SEEN = 7
"""Probabilities are drawn in Python and integrated in the page; whole percents may differ by this many."""


def made(name: str) -> dict[str, Any]:
    full = json.loads(FIXTURE.read_bytes())
    return projected(full) if name == "projected" else spot(full) if name == "spot" else full


def spot(full: dict[str, Any]) -> dict[str, Any]:
    """Two limits, two instances, spot prices: everything that the controls know."""
    full["slo"]["limits"] = [{"quantile": 0.99, "limit_ms": 190.0}, {"quantile": 0.5, "limit_ms": 80.0}]
    for place, row in enumerate(full["candidates"]):
        row["instance"] = f"local-{1 + place % 2}"
        row["price"] = {**(row["price"] or {}), "spot_usd_per_hour": 0.02 + 0.01 * place}
    return full


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for name in ("full", "projected", "spot"):
        (folder / f"{name}.html").write_text(page.render(made(name)), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in ("full", "projected", "spot")}


def expected(model: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """What the page must show, from Python's outcome, written by the report's own rules."""
    return [shown(line) for line in whatif.outcome(model, settings) if line.row["may_rank"]]


def shown(line: Line) -> dict[str, Any]:
    cost, capacity = line.usd_per_million, line.capacity
    instances = line.instances
    return {
        "id": line.row["anchor"],
        "rank": text.DASH if line.rank is None else str(line.rank),
        "tied": line.tied,
        "cells": [
            [
                text.usd(cost.value, cost.low, cost.high),
                text.usd_interval(cost.value, cost.low, cost.high) if cost.value else None,
            ],
            [
                text.number(capacity.value, capacity.low, capacity.high),
                text.interval(capacity.value, capacity.low, capacity.high) if capacity.value else None,
            ],
            [text.DASH, None] if instances is None else [f"{instances:,}", f"{instances + 1:,} to lose one"],
            [
                text.usd(line.usd_per_month),
                None if line.safe_usd_per_month is None else f"{text.usd(line.safe_usd_per_month)} to lose one",
            ],
            [text.number(line.latency_ms), None],
        ],
    }


CASES: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("full", {"demand_per_s": 100.0}),
    ("full", {"demand_per_s": 2500.0, "share": 0.62}),
    ("full", {"limits": ((0.99, 120.0),), "demand_per_s": 40.0}),
    ("full", {"limits": ((0.95, 150.0),)}),
    ("full", {"limits": ((0.99, 5.0),)}),
    ("full", {"limits": ((0.5, 4000.0),), "objective": "throughput"}),
    ("full", {"objective": "latency"}),
    ("full", {"objective": "month", "demand_per_s": 333.0}),
    ("full", {"objective": "month"}),
    ("full", {"prices": {"local-1": 0.0123}}),
    ("projected", {}),
    ("projected", {"objective": "throughput"}),
    ("projected", {"prices": {"c7i.large": 0.31, "local-1": 0.2}, "objective": "month", "demand_per_s": 77.0}),
    ("projected", {"limits": ((0.99, 250.0),)}),
    ("spot", {"basis": "spot"}),
    ("spot", {"basis": "spot", "limits": ((0.99, 160.0), (0.5, 70.0)), "demand_per_s": 55.0}),
    ("spot", {"prices": {"local-2": 0.01}, "objective": "month", "demand_per_s": 8.0}),
]


def address(model: dict[str, Any], settings: Settings) -> str:
    """The fragment that means these settings."""
    from urllib.parse import urlencode

    own, said = whatif.original(model), list[tuple[str, str]]()
    if settings.limits != own.limits:
        said.append(("slo", ",".join(f"p{100 * quantile:g}:{limit:g}" for quantile, limit in settings.limits)))
    if settings.objective != own.objective:
        said.append(("objective", settings.objective))
    if settings.demand_per_s is not None:
        said.append(("demand", f"{settings.demand_per_s:g}"))
    said.append(("share", f"{settings.share:g}"))
    if settings.basis != own.basis:
        said.append(("basis", settings.basis))
    said += [("price", f"{name}={price:g}") for name, price in settings.prices.items()]
    return urlencode(said)


def go(browser: Browser, path: Path, fragment: str) -> None:
    """Follow a link to the page; one that is shown already only hears of the new address, as with a link inside it."""
    if browser.ask("return location.href").split("#")[0] != path.as_uri():
        browser.open(path, fragment=fragment)
        return
    browser.driver.execute_async_script(
        "addEventListener('hashchange', () => setTimeout(arguments[1], 20), { once: true });"
        "location.hash = 'objective=cost&again=' + Math.random(); setTimeout(() => (location.hash = arguments[0]), 20);",
        fragment,
    )
    browser.driver.execute_async_script("setTimeout(arguments[0], 60)")


@pytest.mark.parametrize(("name", "changed"), CASES, ids=lambda value: str(value)[:60])
def test_the_page_computes_what_python_computes(
    browser: Browser, pages: dict[str, Path], name: str, changed: dict[str, Any]
) -> None:
    model = whatif.model(made(name))
    settings = replace(whatif.original(model), **changed)
    go(browser, pages[name], address(model, settings))
    found = browser.ask(ROWS)
    chances = [row["cells"].pop()[0] for row in found]
    assert found == expected(model, settings)
    lines = [line for line in whatif.outcome(model, settings) if line.row["may_rank"]]
    for seen, line in zip(chances, lines, strict=True):
        assert (seen == text.DASH) == (line.probability_best is None)
        if line.probability_best is not None:
            assert abs(float(seen.strip("> %")) - 100 * line.probability_best) < SEEN
    assert browser.complaints() == []


def test_controls_move_the_ranking_and_the_address(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["projected"])
    before = browser.ask(ROWS)
    assert before[0]["id"] == "candidate-0"
    browser.ask(CHANGE, "demand", "100")
    browser.ask(CHANGE, "objective", "throughput")
    after = browser.ask(ROWS)
    assert after[0]["id"] == "candidate-2"
    assert after[0]["cells"][2][0] == "6"
    assert browser.ask("return location.hash") == "#objective=throughput&demand=100"
    assert "comes first" in browser.ask("return document.getElementById('whatif-said').textContent")
    assert "(projected)" in browser.ask("return document.getElementById('whatif-said').textContent")
    browser.ask("document.querySelector('#controls button[type=reset]').click()")
    browser.driver.execute_async_script("setTimeout(arguments[0], 50)")
    assert browser.ask(ROWS) == before
    assert browser.ask("return location.hash") == "#whatif"
    assert browser.complaints() == []
    assert browser.requests() == [pages["projected"].as_uri()]


def test_a_link_restores_the_view_and_a_candidate_link_keeps_it(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["full"])
    browser.ask(CHANGE, "limit-0", "120")
    browser.ask(CHANGE, "local-1", "0.5")
    wanted, link = browser.ask(ROWS), browser.ask("return location.hash.slice(1)")
    assert link == "slo=p99%3A120&price=local-1%3D0.5"
    browser.open(pages["full"], fragment=link)
    assert browser.ask(ROWS) == wanted
    assert browser.ask("return document.querySelector('[name=limit-0]').value") == "120"
    browser.driver.execute_async_script(
        "addEventListener('hashchange', () => setTimeout(arguments[0], 50));document.querySelector('#whatif-table a').click();"
    )
    assert browser.ask("return location.hash") == "#candidate-0"
    assert browser.ask(ROWS) == wanted


@pytest.mark.parametrize(
    "fragment",
    ["slo=p99:-3", "slo=p42:100", "slo=", "objective=worst", "demand=NaN", "share=7", "basis=spot", "price=nowhere=1", "%%%=1"],
)
def test_a_broken_link_shows_the_runs_own_settings(browser: Browser, pages: dict[str, Path], fragment: str) -> None:
    model = whatif.model(made("full"))
    go(browser, pages["full"], fragment)
    found = browser.ask(ROWS)
    for row in found:
        row["cells"].pop()
    assert found == expected(model, whatif.original(model))
    assert browser.complaints() == []


def test_projected_rows_are_marked_by_words_and_shape(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["projected"])
    for table in ("#ranking .ranking", "#ranking .others", "#whatif-table"):
        said = browser.ask(f"return document.querySelector('{table} tr.projected').textContent")
        assert "projected" in said
    marks = browser.ask(
        "return document.querySelector('[data-figure=cost]').data.filter((t) => (t.name || '').includes('projected'))"
        ".map((t) => t.marker.symbol)"
    )
    assert marks == ["diamond-open"]
    section = browser.ask("const d = document.getElementById('candidate-2'); d.open = true; return d.textContent")
    assert "Projected, not measured." in section


def serious(browser: Browser) -> list[tuple[str, str]]:
    """The rule and the first element of every serious or critical violation that axe-core finds."""
    # Only the script of that package is used; its own driver is another browser's.
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    browser.ask(script)
    found = browser.driver.execute_async_script("axe.run().then((found) => arguments[0](found.violations));")
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize(
    ("name", "size", "dark"),
    [
        ("as stored", DESKTOP, False),
        ("projected", DESKTOP, True),
        ("projected", PHONE, False),
        ("as stored", PHONE, True),
        ("hostile", DESKTOP, False),
    ],
    ids=lambda value: str(value),
)
def test_axe_finds_no_serious_violation(browser: Browser, tmp_path: Path, name: str, size: tuple[int, int], dark: bool) -> None:
    path = tmp_path / "report.html"
    path.write_text(page.render(EDGES[name](json.loads(FIXTURE.read_bytes()))), encoding="utf-8")
    browser.open(path, size, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert serious(browser) == []


def test_axe_notices_what_is_wrong(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["full"])
    browser.ask("const s = document.querySelector('[name=objective]'); s.closest('label').replaceWith(s)")
    assert "select-name" in [name for name, _ in serious(browser)]


def test_everything_works_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.open(pages["full"])
    demand = browser.driver.find_element(By.NAME, "demand")
    demand.send_keys("100")
    assert browser.ask(ROWS)[0]["cells"][2][0] == "7"
    demand.send_keys(Keys.TAB, Keys.ARROW_DOWN)
    assert browser.ask("return document.activeElement.name") == "objective"
    reached = browser.ask(
        "return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex]')]"
        ".filter((one) => !one.disabled && one.tabIndex < 0).length"
    )
    assert reached == 0
    assert browser.ask("const s = document.querySelector('.skip'); s.focus(); return s.getBoundingClientRect().left >= 0")
