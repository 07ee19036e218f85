"""The page as a document: one file, nothing fetched, foreign text inert, links whole."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from reports import evidence, page, shell
from tests.reports.conftest import projected


class Document(HTMLParser):
    """The elements of a page, its visible text, and the contents of its scripts."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style", "pre"):
            self._open.append(tag)
            self.scripts += [""] * (tag == "script")

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open:
            self.words.append(data)
        elif self._open[-1] == "script":
            self.scripts[-1] += data

    @property
    def text(self) -> str:
        """What can be read, but preformatted blocks: a policy may hold JSON's own null."""
        return " ".join(" ".join(self.words).split())


ALLOWED = set(
    re.findall(
        r"\w+",
        "html head meta title link style body a main header p div strong h1 h2 h3 bdi span dl dt dd section table caption "
        "thead tbody tr th td small sup ol ul li noscript button svg line figure figcaption details summary pre code i script "
        "form fieldset legend label input select option",
    )
)


def document(result: dict[str, Any]) -> Document:
    """The parsed page without plotly's own code, which takes long to parse and holds nothing of the result."""
    return Document(page.render(result).replace(shell.plotly(), ""))


@pytest.fixture(scope="module")
def parsed(edge: dict[str, Any]) -> Document:
    return document(edge)


def test_no_foreign_text_becomes_an_element_or_a_handler(parsed: Document) -> None:
    assert {tag for tag, _ in parsed.tags} <= ALLOWED
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on") or name == "src"]
    assert sum(tag == "script" for tag, _ in parsed.tags) in (5, 6)


def test_nothing_points_outside_the_page(parsed: Document) -> None:
    known = {attributes.get("id") for _, attributes in parsed.tags}
    for _, attributes in parsed.tags:
        link = attributes.get("href")
        inside = link is not None and evidence.link(link) is not None
        assert link is None or link == "data:," or inside or link.removeprefix("#") in known


def test_ids_are_unique(parsed: Document) -> None:
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_absence_never_shows_as_a_programming_word(parsed: Document) -> None:
    words = set(re.findall(r"[A-Za-z]+", parsed.text))
    assert not words & {"None", "nan", "NaN", "null", "undefined", "Undefined", "True", "False"}


def test_size_and_encoding_stay_within_bounds(edge: dict[str, Any]) -> None:
    assert len(page.render(edge).encode()) <= 6_000_000


def test_policy_names_exactly_the_scripts_of_the_page(full: dict[str, Any]) -> None:
    parsed = Document(page.render(full))
    policy = next(tag["content"] for _, tag in parsed.tags if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    kinds = [attributes.get("type") for tag, attributes in parsed.tags if tag == "script"]
    run = [body for body, kind in zip(parsed.scripts, kinds, strict=True) if kind is None]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in run]
    assert re.findall(r"'sha256-[^']+'", policy) == hashes
    assert policy.startswith("default-src 'none';")
    assert "script-src 'unsafe" not in policy


def test_page_holds_what_a_lead_and_an_engineer_look_for(full: dict[str, Any]) -> None:
    text = document(full).text
    for said in (
        "Serve resnet50 with openvino@local-1: $1.53 per million inferences",
        "needs an NVIDIA GPU, and this machine has none",
        "Keep SageMakerVariantInvocationsPerInstance at 565",
        "1 / (1 + growth × reaction time)",
        "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
    ):
        assert said in text
    for row in full["candidates"]:
        assert row["id"] in text


def test_every_candidate_of_every_edge_has_a_section(edge: dict[str, Any], parsed: Document) -> None:
    found = [attributes for tag, attributes in parsed.tags if attributes.get("class") == "candidate"]
    assert len(found) == len(edge.get("candidates") or ())


def test_banners_are_shown(full: dict[str, Any]) -> None:
    assert "This run is not complete" not in page.render(full)
    full["run"]["state"] = "partial"
    assert "This run is not complete" in page.render(full)


def test_a_page_without_pictures_leaves_plotly_out(full: dict[str, Any]) -> None:
    full["candidates"] = full["candidates"][5:]
    full["recommendation"] = None
    assert len(page.render(full)) < 200_000


@pytest.mark.parametrize("count", [60])
def test_many_candidates_fit(full: dict[str, Any], count: int) -> None:
    full["candidates"] = [full["candidates"][place % 5] | {"id": f"c{place}"} for place in range(count)]
    assert len(page.render(full).encode()) <= 6_000_000


def test_raw_samples_are_linked_beside_the_page(full: dict[str, Any]) -> None:
    links = [
        attributes["href"] for _, attributes in document(full).tags if (attributes.get("href") or "").startswith("samples/")
    ]
    wanted = [step["samples"] for row in full["candidates"] for step in row.get("steps") or []]
    assert links
    assert sorted(filter(None, links)) == sorted(wanted)


def test_the_month_is_priced_only_for_a_stated_demand(full: dict[str, Any]) -> None:
    assert "depends on the demand, which was not stated" in document(full).text
    full["decision"]["demand_per_s"] = 100.0
    said = document(full).text
    assert "$434" in said
    assert "7 instances for 100 requests/s; $496 with one more, so that one may be lost" in said


def test_what_would_change_it_is_on_the_first_screen(full: dict[str, Any]) -> None:
    said = document(full).text
    assert said.index("What would change it") < said.index("What if") < said.index("Candidates under")


def test_a_result_of_before_the_curves_renders_with_the_reason(full: dict[str, Any]) -> None:
    for row in full["candidates"]:
        for key in ("capacity_by_limit", "predicted", "between_starts"):
            del row[key]
    del full["decision"], full["timeline"]
    said = document(full).text
    assert "The limit is fixed: the result holds no curve of its capacity over the limit" in said
    assert "What was measured when, and how quiet the machine was: nothing to draw" in said


def test_projected_rows_are_told_apart_in_words(full: dict[str, Any]) -> None:
    parsed = document(projected(full))
    rows = [attributes for tag, attributes in parsed.tags if tag == "tr" and "projected" in (attributes.get("class") or "")]
    assert len(rows) == 2
    assert parsed.text.count("Projected, not measured.") == 2
    assert "ort@t3.large" in parsed.text
