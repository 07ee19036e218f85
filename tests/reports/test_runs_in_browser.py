"""The pages about several runs in a real browser: drawn, silent, offline, whole on a phone, readable in the dark, printable."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from reports import comparison, comparison_page, index_page
from reports.comparison import Run
from reports.index import Entry
from tests.reports.browser import DESKTOP, PHONE, Browser
from tests.reports.conftest import EDGES, HOSTILE
from tests.reports.pairs import at, elsewhere, slower, stored
from tests.reports.test_page_in_browser import HIDDEN_OVERFLOW
from tests.reports.test_whatif_in_browser import serious

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A comparison with verdicts, one that is refused, an index with a trend, and both with hostile names."""
    folder, result = tmp_path_factory.mktemp("pages"), stored()
    later, hostile = at(slower(result, (1.2, 0.8, 1.001)), "later", 29), EDGES["hostile"](stored())
    made = {
        "comparison": compared(result, later),
        "refused": compared(result, elsewhere(result), later),
        "index": indexed(result, later, at(elsewhere(result), "elsewhere", 25)),
        "hostile-comparison": compared(hostile, result),
        "hostile-index": index_page.render(HOSTILE, [Entry(name=HOSTILE + end, result=hostile) for end in "ab"]),
    }
    for name, page in made.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


def asked(browser: Browser) -> list[str]:
    """What the page asked for; the browser's own start page may still be at it."""
    return [url for url in browser.requests() if not url.startswith("chrome")]


def compared(*results: dict[str, object]) -> str:
    runs = [Run(letter="ABC"[place], name=f"run {place}", result=each, link="./x.html") for place, each in enumerate(results)]
    return comparison_page.render(runs, comparison.compare(runs))


def indexed(*results: dict[str, object]) -> str:
    entries = [Entry(name=f"run {place}", result=each, link="./x.html") for place, each in enumerate(results)]
    return index_page.render("runs", [*entries, Entry(name="old", reason="result.json has schema 0")])


@pytest.mark.parametrize(("name", "count"), [("comparison", 3), ("refused", 3), ("index", 3)])
def test_everything_is_drawn_in_silence_without_a_request(
    browser: Browser, pages: dict[str, Path], name: str, count: int
) -> None:
    browser.open(pages[name])
    drawn = browser.ask("return [...document.querySelectorAll('.plot')].map((p) => p.querySelectorAll('.trace').length)")
    assert len(drawn) == count
    assert all(drawn)
    assert browser.complaints() == []
    assert asked(browser) == [pages[name].as_uri()]


@pytest.mark.parametrize("name", ["hostile-comparison", "hostile-index"])
def test_foreign_text_stays_text(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], PHONE)
    assert browser.ask("return document.title") != "owned"
    assert browser.ask("return document.querySelectorAll('img, main script').length") == 0
    assert browser.ask("return document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.complaints() == []
    assert len(asked(browser)) == 1


@pytest.mark.parametrize(
    ("name", "size"), [("comparison", (320, 640)), ("refused", (768, 1024)), ("index", PHONE)], ids=lambda each: str(each)
)
def test_the_page_never_scrolls_sideways(browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    browser.open(pages[name], size)
    assert browser.ask("return document.documentElement.scrollWidth") <= size[0]
    assert browser.ask(HIDDEN_OVERFLOW) == []


@pytest.mark.parametrize("name", ["comparison", "index"])
def test_dark_mode_changes_page_and_pictures(browser: Browser, pages: dict[str, Path], name: str) -> None:
    colours = """
      return [getComputedStyle(document.body).backgroundColor,
              getComputedStyle(document.querySelector(".plot .point, .plot .js-line")).stroke,
              getComputedStyle(document.querySelector(".plot .point")).fill];
    """
    browser.open(pages[name])
    light = browser.ask(colours)
    browser.open(pages[name], dark=True)
    dark = browser.ask(colours)
    assert (light[0], dark[0]) == ("rgb(251, 251, 250)", "rgb(19, 20, 23)")
    assert light[2] != dark[2]


@pytest.mark.parametrize("name", ["comparison", "index"])
def test_a_screen_reader_finds_names_headers_and_an_order(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name])
    captions = browser.ask("return [...document.querySelectorAll('table')].map((t) => t.caption ? t.caption.textContent : '')")
    assert captions
    assert all(captions)
    assert browser.ask("return document.querySelectorAll('th:not([scope])').length") == 0
    assert browser.ask("return [...document.querySelectorAll('[role=img]')].every((p) => p.ariaLabel.length > 30)")
    levels = browser.ask("return [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", ["comparison", "index"])
def test_printing_uses_light_paper_and_few_pages(browser: Browser, pages: dict[str, Path], name: str) -> None:
    browser.open(pages[name], dark=True)
    assert 1 <= browser.pdf().count(b"/Type /Page\n") <= 6
    assert browser.ask("return document.documentElement.classList.contains('paper')") is False


@pytest.mark.parametrize("name", ["comparison", "refused", "index"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Browser, pages: dict[str, Path], name: str, dark: bool) -> None:
    browser.open(pages[name], PHONE if dark else DESKTOP, dark=dark)
    assert serious(browser) == []
