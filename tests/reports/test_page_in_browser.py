"""The page in a real browser: drawn, silent, offline, and laid out as intended on a desktop and a phone.

The stored layout (fixtures/layout.json) holds the box of every block and a coarse map of the ink in every picture. Widths and
positions across follow from the style sheet and must agree closely; heights depend on the machine's fonts and may differ.
Run with LOADSTONE_RECORD_LAYOUT=1 to store what is seen now, after looking at it.
"""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import page
from tests.reports.browser import DESKTOP, PHONE, Browser
from tests.reports.conftest import EDGES, FIXTURE

pytestmark = pytest.mark.e2e

LAYOUT = FIXTURE.with_name("layout.json")
PICTURES = ("cost", "distribution", "tail", "load", "violations", "time", "start", "timeline", "artifact", "warmup")
GRID = (24, 12)
BLOCKS = """
return Object.fromEntries(Array.from(document.querySelectorAll(
  "header, h1, .facts > div, section, .ranking, .others, .key, figure, .plot, .plot .main-svg, .candidate"
)).map((block, place) => {
  const box = block.getBoundingClientRect();
  const kind = block.id || (block.getAttribute("class") || block.tagName.toLowerCase()).split(" ")[0];
  return [place + " " + kind, [box.left, box.top + scrollY, box.width, box.height]];
}));
"""
HIDDEN_OVERFLOW = """
return Array.from(document.querySelectorAll("main *")).filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !one.closest(".scroll, .plot, pre");
}).map((one) => one.tagName + " " + one.className);
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(json.loads(FIXTURE.read_bytes()), tmp_path_factory.mktemp("report"))


def written(result: dict[str, Any], folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(page.render(result), encoding="utf-8")
    return path


def test_everything_is_drawn_in_silence_without_a_request(browser: Browser, report: Path) -> None:
    browser.open(report)
    counts = browser.ask("return [...document.querySelectorAll('.plot')].map((p) => [p.dataset.figure, p.data.length])")
    traces = "p.querySelectorAll('.scatterlayer .trace, .barlayer .trace').length"
    drawn = browser.ask(f"return [...document.querySelectorAll('.plot')].map((p) => {traces})")
    assert [name for name, _ in counts] == list(PICTURES)
    assert drawn == [count for _, count in counts]
    assert dict(counts)["cost"] == 4
    assert dict(counts)["distribution"] == 5
    assert dict(counts)["start"] == 3
    browser.ask("document.querySelectorAll('details').forEach((one) => (one.open = true)); window.scrollTo(0, 9e9)")
    assert browser.complaints() == []
    assert browser.requests() == [report.as_uri()]


def test_the_browser_itself_refuses_what_the_policy_forbids(browser: Browser, report: Path, tmp_path: Path) -> None:
    """The two checks above can fail: an injected script and an image are refused, reported, and not run."""
    spoiled = tmp_path / "spoiled.html"
    attack = "<script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x.png'></main>"
    spoiled.write_text(report.read_text(encoding="utf-8").replace("</main>", attack), encoding="utf-8")
    browser.open(spoiled)
    assert browser.ask("return document.title") == "resnet50 – Loadstone report"
    assert len(browser.complaints()) >= 2


@pytest.mark.parametrize("size", [DESKTOP, (1024, 768), (768, 1024), PHONE, (320, 640)], ids=lambda size: str(size[0]))
def test_the_page_never_scrolls_sideways(browser: Browser, report: Path, size: tuple[int, int]) -> None:
    browser.open(report, size)
    browser.ask("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert browser.ask("return document.documentElement.scrollWidth") <= size[0]
    assert browser.ask(HIDDEN_OVERFLOW) == []


@pytest.mark.parametrize("name", [name for name in EDGES if name != "as stored"], ids=lambda name: str(name).replace(" ", "-"))
def test_edges_stay_whole_on_a_phone(browser: Browser, tmp_path: Path, name: str) -> None:
    result = EDGES[name](json.loads(FIXTURE.read_bytes()))
    browser.open(written(result, tmp_path), PHONE)
    assert browser.ask("return document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.ask("return document.title") != "owned"
    assert browser.complaints() == []
    assert len(browser.requests()) == 1


def test_dark_mode_changes_page_and_pictures(browser: Browser, report: Path) -> None:
    colours = """
      const line = document.querySelector("#picture-distribution .js-line");
      return [getComputedStyle(document.body).backgroundColor, getComputedStyle(line).stroke];
    """
    browser.open(report)
    light = browser.ask(colours)
    browser.open(report, dark=True)
    dark = browser.ask(colours)
    assert light == ["rgb(251, 251, 250)", "rgb(36, 80, 200)"]
    assert dark == ["rgb(19, 20, 23)", "rgb(143, 171, 255)"]


def test_the_key_hides_and_shows_a_candidate_everywhere(browser: Browser, report: Path) -> None:
    count = "return document.querySelectorAll('#picture-distribution .js-line, #picture-tail .js-line').length"
    browser.open(report)
    before = browser.ask(count)
    press = "const b = document.querySelector('.key button'); b.click(); return b.getAttribute('aria-pressed')"
    assert browser.ask(press) == "false"
    assert browser.ask(count) == before - 2
    assert browser.ask(press) == "true"
    assert browser.ask(count) == before


def test_a_link_opens_the_candidate_it_points_to(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.ask("return document.getElementById('candidate-2').open") is False
    browser.driver.execute_async_script(
        "addEventListener('hashchange', () => setTimeout(arguments[0], 50));"
        "document.querySelector('a[href=\"#candidate-2\"]').click();"
    )
    assert browser.ask("return document.getElementById('candidate-2').open") is True


def test_accessible_names_and_headers_are_there(browser: Browser, report: Path) -> None:
    browser.open(report)
    captions = browser.ask("return [...document.querySelectorAll('table')].map((t) => t.caption ? t.caption.textContent : '')")
    assert len(captions) == 9
    assert all(captions)
    assert browser.ask("return document.querySelectorAll('th:not([scope])').length") == 0
    assert browser.ask("return [...document.querySelectorAll('[role=img]')].every((p) => p.ariaLabel.length > 30)")
    levels = browser.ask("return [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_printing_uses_light_paper_and_few_pages(browser: Browser, report: Path) -> None:
    browser.open(report, dark=True)
    pdf = browser.pdf()
    assert 3 <= pdf.count(b"/Type /Page\n") <= 16
    assert browser.ask("return document.documentElement.classList.contains('paper')") is False


def seen(browser: Browser, report: Path) -> dict[str, Any]:
    """The boxes at both sizes, and the ink of each picture on the desktop."""
    found: dict[str, Any] = {"ink": {}}
    for name, size in (("phone", PHONE), ("desktop", DESKTOP)):
        browser.open(report, size)
        found[name] = {block: [round(edge) for edge in box] for block, box in browser.ask(BLOCKS).items()}
    found["ink"] = ink(browser)
    return found


def ink(browser: Browser) -> dict[str, list[float]]:
    pictures = {name: browser.picture(f"#picture-{name} .plot") for name in PICTURES}
    browser.driver.get("about:blank")
    return {name: browser.ink(picture, *GRID) for name, picture in pictures.items()}


def differences(stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is laid out otherwise than stored: a block missing, moved across, of another width, or far from its height."""
    found = []
    for view in ("desktop", "phone"):
        if list(stored[view]) != list(now[view]):
            found.append(f"{view}: other blocks: {set(stored[view]) ^ set(now[view])}")
            continue
        for block, (left, _, width, height) in stored[view].items():
            there = now[view][block]
            if abs(there[0] - left) > 6 or abs(there[2] - width) > 6:
                found.append(f"{view} {block}: left and width {there[0]}, {there[2]} instead of {left}, {width}")
            if not 0.6 * height - 24 <= there[3] <= 1.6 * height + 24:
                found.append(f"{view} {block}: height {there[3]} instead of {height}")
        order = [now[view][block][1] for block in stored[view] if "section" in block or "figure" in block]
        found += [f"{view}: blocks out of order"] if order != sorted(order) else []
    return found + unlike(stored["ink"], now["ink"])


def unlike(stored: dict[str, list[float]], now: dict[str, list[float]]) -> list[str]:
    """The pictures whose ink does not lie where it did: correlation of the maps below 0.8, or half or twice as much ink."""
    found = []
    for name, shares in stored.items():
        likeness = float(np.corrcoef(shares, now[name])[0, 1]) if np.std(now[name]) else 0.0
        amount = sum(now[name]) / sum(shares)
        if likeness < 0.8 or not 0.5 < amount < 2:
            found.append(f"picture {name}: likeness {likeness:.2f}, {amount:.2f} times the ink")
    return found


def test_layout_is_as_stored(browser: Browser, report: Path) -> None:
    now = seen(browser, report)
    if os.environ.get("LOADSTONE_RECORD_LAYOUT") == "1":
        LAYOUT.write_text(json.dumps(now, separators=(",", ":")) + "\n", encoding="utf-8")
    assert differences(json.loads(LAYOUT.read_bytes()), now) == []


@pytest.mark.parametrize(
    ("rule", "noticed"),
    [
        (".pictures { display: block; }", "desktop [12][0-9] picture-"),
        ("main { max-width: 40rem; }", "desktop 0 header"),
        (".ranking { display: none; }", "desktop [0-9]+ ranking: left and width 0, 0"),
        (".facts { grid-template-columns: 1fr; }", "phone . div"),
        (".plot .trace { display: none; }", "picture distribution: likeness"),
    ],
    ids=["grid", "width", "ranking", "facts", "traces"],
)
def test_a_broken_layout_is_noticed(browser: Browser, report: Path, tmp_path: Path, rule: str, noticed: str) -> None:
    broken = tmp_path / "report.html"
    whole = report.read_text(encoding="utf-8")
    broken.write_text(whole.replace("</style>", f"</style><style>{rule}</style>", 1), encoding="utf-8")
    found = differences(json.loads(LAYOUT.read_bytes()), seen(browser, broken))
    assert any(re.match(noticed, said) for said in found), found
