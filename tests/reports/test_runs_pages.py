"""The pages about several runs as documents: foreign text inert, links whole, refusals in plain sight, trends that hold."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from typing import Any

import pytest

from reports import comparison, comparison_page, comparison_view, index, index_page, shell
from reports.comparison import Run
from reports.index import Entry
from tests.reports.conftest import HOSTILE
from tests.reports.pairs import at, elsewhere, slower, stored
from tests.reports.test_page import ALLOWED, Document

TAGS = ALLOWED | {"h4"}


def runs(*results: dict[str, Any]) -> list[Run]:
    return [
        Run(letter="ABCDEF"[place], name=(each.get("run") or {}).get("id") or "x", result=each, link="./x/report.html")
        for place, each in enumerate(results)
    ]


def compared(*results: dict[str, Any]) -> str:
    given = runs(*results)
    return comparison_page.render(given, comparison.compare(given))


def read(page: str) -> Document:
    return Document(page.replace(shell.plotly(), ""))


def entries(*results: dict[str, Any]) -> list[Entry]:
    return [Entry(name=each["run"]["id"], result=each, link="./x/report.html") for each in results]


def check(page: str, links: set[str]) -> Document:
    """What holds for every page: known elements alone, no handler, links that lead somewhere, scripts that the policy names."""
    document = read(page)
    assert {tag for tag, _ in document.tags} <= TAGS
    assert not [name for _, found in document.tags for name in found if name.startswith("on") or name == "src"]
    ids = [found["id"] for _, found in document.tags if "id" in found]
    assert len(ids) == len(set(ids))
    for _, found in document.tags:
        link = found.get("href")
        assert link is None or link in {"data:,", *links} or link.removeprefix("#") in ids
    policy = next(found["content"] for _, found in document.tags if found.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    kinds = [found.get("type") for tag, found in document.tags if tag == "script"]
    whole = [shell.plotly() if not body and kind is None else body for body, kind in zip(document.scripts, kinds, strict=True)]
    code = [body for body, kind in zip(whole, kinds, strict=True) if kind is None]
    wanted = [f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in code]
    assert re.findall(r"'sha256-[^']+'", policy) == wanted
    words = set(re.findall(r"[A-Za-z]+", document.text))
    assert not words & {"None", "nan", "NaN", "null", "undefined", "Undefined", "True", "False"}
    return document


def test_every_edge_makes_whole_pages(edge: dict[str, Any]) -> None:
    check(compared(stored(), edge), {"./x/report.html"})
    check(compared(edge, stored()), {"./x/report.html"})
    seen = [Entry(name=HOSTILE, result=edge), Entry(name="b", result=stored(), link="./x/report.html")]
    check(index_page.render(HOSTILE, seen), {"./x/report.html"})


def test_a_comparison_names_who_moved_by_how_much(full: dict[str, Any]) -> None:
    document = check(compared(full, at(slower(full, (1.2, 0.8)), "later", 29)), {"./x/report.html"})
    for said in (
        "In cost, run B is better than run A for 1, worse for 1 and tied for 2 candidates.",
        "Worse: openvino@local-1 1.20×.",
        "Better: ort@local-1 0.800×.",
        "Both recommend openvino@local-1.",
        "the run before is invalid and decides nothing",
        "Every candidate is in both runs.",
        "$1.53 → $1.84",
    ):
        assert said in document.text, said


def test_a_refusal_is_in_plain_sight_and_nothing_is_called_better(full: dict[str, Any]) -> None:
    page = compared(full, elsewhere(slower(full, (2.0,))))
    document = check(page, {"./x/report.html"})
    assert "Not comparable: runs A and B. The environments differ: kernel." in document.text
    assert "Runs A and B cannot be held against each other." in document.text
    assert "6.1.0-28-cloud-amd64" in document.text
    assert "55.9 → 111.7" in document.text
    assert not [found for _, found in document.tags if (found.get("class") or "").startswith("verdict")]
    assert len(page) < 200_000, "no picture, no plotly"


def test_what_stands_in_one_run_only_and_what_changed_is_listed(full: dict[str, Any]) -> None:
    after = copy.deepcopy(full)
    after["candidates"][6]["id"] = "onednn@local-1"
    after["candidates"][1]["threads"] = 4
    after["run"]["state"] = "partial"
    after["model"]["digest"] = "sha256:0"
    after["recommendation"] = None
    document = check(compared(full, after), {"./x/report.html"})
    for said in (
        "tensorrt@local-1 tensorrt · fp32 · 1 thread × 1 worker run A",
        "onednn@local-1",
        "ort@local-1 threads 1 4",
        "the run state complete partial",
        "Run B is not complete.",
        "measured two versions of resnet50.",
        "A recommends openvino@local-1, B nobody.",
    ):
        assert said in document.text, said


def test_three_runs_are_each_held_against_the_first(full: dict[str, Any]) -> None:
    document = check(compared(full, slower(full, (1.2,)), elsewhere(full)), {"./x/report.html"})
    assert "3 runs, each held against run A" in document.text
    assert "Run B against run A" in document.text
    assert "Runs A and C cannot be held against each other." in document.text


def test_the_figure_spoken_of_is_the_objectives_if_it_can_be_compared(full: dict[str, Any]) -> None:
    after = slower(full, (1.2,))
    full["objective"] = after["objective"] = "throughput"
    (versus,) = comparison.compare(runs(full, after))
    assert comparison_view.leading(versus) == "capacity_per_s"
    after["slo"]["text"] = "p99<250ms"
    (versus,) = comparison.compare(runs(full, after))
    assert comparison_view.leading(versus) == "service_p50_ms"
    assert comparison_view.sentence(versus).startswith("In service time,")


def test_the_index_lists_runs_newest_first_and_draws_one_series_an_environment(full: dict[str, Any]) -> None:
    seen = [at(full, "one", 3), at(slower(full, (1.3,)), "two", 9), at(elsewhere(full), "three", 5)]
    unread = [Entry(name="old", reason="result.json has schema 0 and this version reads 1 alone")]
    view = index.view("runs", entries(*seen) + unread)
    assert [row.name for row in view.rows] == ["two", "three", "one"]
    assert view.claim == "3 runs of 1 model, and 1 folder that cannot be read"
    (series,) = view.series
    assert view.lone == 1
    drawn = [picture.figure["data"][0]["y"] for picture in series.pictures if picture.figure]
    assert [len(values) for values in drawn] == [2, 2, 2]
    assert drawn[0][1] == pytest.approx(drawn[0][0] / 1.3)
    assert "capacity 0.769× (0.747–0.792), worse" in series.latest[0]
    assert "p99 at the run's rate 1.30× (1.20–1.41), worse" in series.latest[0]
    document = check(index_page.render("runs", entries(*seen) + unread), {"./x/report.html"})
    assert "schema 0 and this version reads 1 alone" in document.text


def test_a_series_says_what_makes_its_points_differ(full: dict[str, Any]) -> None:
    seen = [at(full, f"r{day}", day) for day in (1, 2, 3)]
    seen[1]["slo"]["text"] = "p99<250ms"
    seen[1]["run"]["state"] = "partial"
    seen[2]["model"]["digest"] = "sha256:0"
    seen[2]["recommendation"] = {"id": "ort@local-1"}
    (series,) = index.view("runs", entries(*seen)).series
    assert "SLOs differ (p99<190ms, p99<250ms)" in series.remark
    assert "the model itself changed under its name" in series.remark
    assert series.latest[0] == "The recommendation went from openvino@local-1 to ort@local-1."
    assert "capacity not compared (under p99<250ms and under p99<190ms" in series.latest[1]
    assert series.pictures[0].figure is not None
    assert series.pictures[0].figure["data"][0]["marker"]["symbol"] == ["circle", "circle-open", "circle"]


def test_runs_without_time_fingerprint_or_winner_stay_in_the_table(full: dict[str, Any]) -> None:
    seen = [at(full, f"r{day}", day) for day in (1, 2, 3)]
    seen[0]["run"]["created_utc"] = "yesterday"
    seen[1]["environment"]["fingerprint"] = None
    seen[2] |= {"recommendation": None, "recommendation_reason": "nobody met it"}
    view = index.view("runs", entries(*seen))
    assert len(view.rows) == 3
    assert view.notes == ("nobody met it", "the run states no fingerprint")
    (series,) = view.series
    assert all(picture.figure is None and "fewer than two" in (picture.absent or "") for picture in series.pictures)
    json.dumps(index.to_json(entries(*seen)), allow_nan=False)


def test_an_index_of_hundreds_of_runs_stays_small(full: dict[str, Any]) -> None:
    seen = []
    for place in range(300):
        run = at(full, f"r{place}", 1 + place % 28)
        run["model"]["name"] = f"m{place % 60}"
        seen.append(run)
    view = index.view("runs", entries(*seen))
    assert (len(view.series), view.undrawn) == (index.MOST_SERIES, 60 - index.MOST_SERIES)
    assert len(index_page.render("runs", entries(*seen)).encode()) < 7_000_000
