"""The headline says what to serve and for how much, and what limits that."""

from __future__ import annotations

from typing import Any

from reports import cells, summary
from tests.reports.conftest import all_invalid, all_rejected, nothing_measured, partial, single


def test_one_sentence_names_the_choice_and_its_figures(full: dict[str, Any]) -> None:
    assert summary.sentence(full) == (
        "Serve resnet50 with openvino@local-1: $1.53 per million inferences at capacity, p99 138 ms against 190 ms "
        "at 8 requests/s, up to 15.4 requests/s under the SLO."
    )


def test_facts_carry_intervals_and_the_tie(full: dict[str, Any]) -> None:
    price, _month, latency, capacity, best, _visible = summary.headline(full, cells.Notes()).facts
    assert (price.cell.text, price.cell.detail) == ("$1.53", "$1.50–1.56")
    assert (latency.name, latency.cell.text, latency.remark) == ("p99 at 8 requests/s", "138", "limit 190 ms")
    assert (capacity.cell.text, capacity.cell.detail) == ("15.4", "15.1–15.7")
    assert (best.cell.text, best.remark) == ("61 %", "tied with ort@local-1")


def test_without_the_slo_percentile_a_lower_one_is_stated_and_the_reason_given(full: dict[str, Any]) -> None:
    full["recommendation"]["id"] = "inductor@local-1"
    latency = summary.headline(full, cells.Notes()).facts[2]
    assert latency.name == "p95 at 8 requests/s"
    assert latency.remark == "p99 withheld: n = 960 is too small for p99: it needs 1000"
    assert "p95 149 ms at 8 requests/s" in summary.sentence(full), "a p95 is not set against the limit of p99"


def test_an_unknown_price_is_withheld_with_its_reason(full: dict[str, Any]) -> None:
    full["candidates"][0]["usd_per_million"] = {"value": None, "reason": "no price for local-1"}
    notes = cells.Notes()
    price = summary.headline(full, notes).facts[0]
    assert (price.cell.text, price.cell.reason, price.cell.note) == ("–", "no price for local-1", 1)
    assert "$" not in summary.sentence(full)


def test_when_all_are_rejected_the_distance_is_said(full: dict[str, Any]) -> None:
    found = summary.headline(all_rejected(full), cells.Notes())
    assert not found.found
    assert found.claim == "No candidate for resnet50 meets p99<190ms."
    assert found.why == "the best one, openvino@local-1, has p99 138 ms against 100 ms.".replace("the best", "The best")


def test_nothing_measured_is_not_called_a_rejection(full: dict[str, Any]) -> None:
    assert summary.sentence(nothing_measured(full)) == "No candidate is recommended for resnet50."


def test_a_recommendation_of_nobody_is_not_believed(full: dict[str, Any]) -> None:
    full["recommendation"]["id"] = "ghost"
    found = summary.headline(full, cells.Notes())
    assert not found.found
    assert "ghost, which is not among its candidates" in found.claim


def test_single_candidate_is_not_tied(full: dict[str, Any]) -> None:
    assert summary.headline(single(full), cells.Notes()).facts[4].remark == "not tied with any other candidate"


def test_banners_warn_of_partial_screening_and_invalid(full: dict[str, Any]) -> None:
    assert summary.banners(full) == ()
    titles = [banner.title for banner in summary.banners(partial(full))]
    assert titles == ["This run is not complete", "Screening only"]
    titles = [banner.title for banner in summary.banners(all_invalid(full))]
    assert titles == ["The recommended candidate's run is invalid", "Every run is invalid"]


def test_unknown_state_is_not_taken_for_complete() -> None:
    (banner,) = summary.banners({"schema": 1})
    assert "does not say" in banner.body


def test_the_twin_says_what_difference_could_be_seen(full: dict[str, Any]) -> None:
    full["twin"] = {
        "candidate": "ort@local-1",
        "ratio": {"value": 1.0123, "low": 0.98, "high": 1.05},
        "separated": False,
        "smallest_difference": 0.034,
        "reason": None,
    }
    visible = summary.headline(full, cells.Notes()).facts[-1]
    assert (visible.name, visible.cell.text) == ("Smallest visible difference", "3.4 %")
    assert visible.remark == "a twin of ort@local-1 came out at 1.012x of it, not told apart"
    full["twin"] |= {"ratio": None, "smallest_difference": None, "reason": "its runs were invalid"}
    notes = cells.Notes()
    assert summary.headline(full, notes).facts[-1].remark is None
    assert "its runs were invalid" in notes.reasons


def test_the_reference_rate_is_rounded_for_reading(full: dict[str, Any]) -> None:
    full["reference_rate_per_s"] = 3.1697308894483043
    assert "3.17 requests/s" in summary.rate_text(full)


def test_the_month_joins_the_sentence_where_a_demand_is_stated(full: dict[str, Any]) -> None:
    assert "a month" not in summary.sentence(full)
    full["decision"]["demand_per_s"] = 100.0
    assert "$1.53 per million inferences at capacity, $434 a month for 100 requests/s, p99 138 ms" in summary.sentence(full)
    month = summary.headline(full, cells.Notes()).facts[1]
    assert (month.name, month.cell.text) == ("Price per month", "$434")
    full["candidates"][0]["usd_per_hour"] = None
    notes = cells.Notes()
    assert summary.headline(full, notes).facts[1].cell.text == "–"
    assert "no price is known for the instance" in notes.reasons


def test_a_projected_recommendation_is_a_banner(full: dict[str, Any]) -> None:
    assert summary.banners(full) == ()
    full["candidates"][0]["basis"] = "projected"
    assert summary.banners(full)[0].title == "The recommendation is projected, not measured"
