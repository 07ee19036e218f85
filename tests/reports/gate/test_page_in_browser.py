"""The gate's page in a real browser: silent, offline, whole on a phone, readable by everybody (axe-core)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.gate import page
from tests.reports.browser import DESKTOP, PHONE, Browser
from tests.reports.gate.test_outputs import NASTY, candidate, night, row
from tests.reports.test_page_in_browser import HIDDEN_OVERFLOW
from tests.reports.test_whatif_in_browser import serious

pytestmark = pytest.mark.e2e

NIGHTS: dict[str, dict[str, Any]] = {
    "pass": night(candidate(), candidate("tvm@local-2")),
    "regression": night(
        candidate(verdict="regression", metrics=[row("p50_ms", "regression", ratio=1.08)]), verdict="regression"
    ),
    "invalid": night(candidate(verdict="invalid", reason="the twin fired", metrics=[]), verdict="invalid", warnings=["loud"]),
    "hostile": night(candidate(NASTY, reason=NASTY), new_series=[NASTY], creep=[NASTY]),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nights")
    for name, document in NIGHTS.items():
        (folder / f"{name}.html").write_text(page.render(document), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in NIGHTS}


@pytest.mark.parametrize("name", NIGHTS)
def test_it_is_silent_and_asks_for_nothing(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    assert browser.ask("return document.scripts.length") == 0
    assert browser.ask("return document.querySelectorAll('img').length") == 0
    assert browser.ask("return document.querySelectorAll('main h1').length") == 1
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("chrome")] == [pages[name].as_uri()]


@pytest.mark.parametrize("name", NIGHTS)
def test_it_never_scrolls_sideways_on_a_phone(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], PHONE)
    assert browser.ask("return document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.ask(HIDDEN_OVERFLOW) == []


@pytest.mark.parametrize("name", NIGHTS)
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "dark phone"])
def test_axe_finds_no_serious_violation(
    browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int], dark: bool
) -> None:
    browser.open(pages[name], size, dark=dark)
    browser.ask("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert serious(browser) == []
