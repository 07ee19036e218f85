"""Two runs side by side: candidates meet by key, then by id; no figure is compared on terms that do not hold."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from harness.comparison import Verdict
from reports import comparison
from reports.comparison import Run, Versus
from tests.reports.pairs import elsewhere, slower, stored


def held(before: dict[str, Any], after: dict[str, Any]) -> Versus:
    runs = [Run(letter=letter, name=letter, result=each) for letter, each in (("A", before), ("B", after))]
    found = comparison.compare(runs)
    json.dumps(comparison.to_json(runs, found), allow_nan=False)
    return found[0]


def verdicts(versus: Versus, key: str) -> dict[str, Verdict]:
    return {str(pair.before["id"]): pair.changes[key].verdict for pair in versus.pairs}


def test_a_run_ties_with_itself(full: dict[str, Any]) -> None:
    versus = held(full, copy.deepcopy(full))
    seen = {change.verdict for pair in versus.pairs for change in pair.changes.values()}
    assert seen == {Verdict.TIED, Verdict.OPEN}
    assert (versus.refused, versus.appeared, versus.vanished, versus.differences) == ((), (), (), ())
    assert not any(pair.settings or pair.status for pair in versus.pairs)


def test_slower_and_faster_and_alike_are_told_in_every_figure(full: dict[str, Any]) -> None:
    versus = held(full, slower(full, (1.2, 0.8, 1.001)))
    for key in ("service_p50_ms", "p50_ms", "capacity_per_s", "usd_per_million"):
        assert list(verdicts(versus, key).values())[:3] == [Verdict.WORSE, Verdict.BETTER, Verdict.TIED], key
    ratio = versus.pairs[0].changes["capacity_per_s"].ratio
    assert ratio.value == pytest.approx(1 / 1.2)


def test_other_environments_are_side_by_side_without_a_ratio(full: dict[str, Any]) -> None:
    versus = held(full, elsewhere(slower(full, (2.0,))))
    assert versus.refused == ("the environments differ: kernel",)
    for pair in versus.pairs:
        for change in pair.changes.values():
            assert change.verdict is Verdict.OPEN
            assert change.ratio.value is None
    assert versus.pairs[0].changes["p50_ms"].before.value == pytest.approx(55.869)
    assert [each.name for each in versus.differences] == ["environment kernel"]


def test_screening_only_gives_no_verdict(full: dict[str, Any]) -> None:
    after = copy.deepcopy(full)
    after["run"]["screening_only"] = True
    assert held(full, after).refused == ("the run after was for screening only",)


def test_another_rate_or_slo_leaves_only_what_does_not_depend_on_it(full: dict[str, Any]) -> None:
    after = slower(full, (1.5,))
    after["reference_rate_per_s"] = 9.0
    seen = held(full, after).pairs[0].changes
    assert "--rate" in str(seen["p50_ms"].reason)
    assert seen["service_p50_ms"].verdict is seen["usd_per_million"].verdict is Verdict.WORSE
    after = slower(full, (1.5,))
    after["slo"]["text"] = "p99<250ms"
    seen = held(full, after).pairs[0].changes
    assert "--slo" in str(seen["capacity_per_s"].reason)
    assert "--slo" in str(seen["usd_per_million"].reason)
    assert seen["p50_ms"].verdict is Verdict.WORSE


def test_invalid_and_projected_rows_decide_nothing(full: dict[str, Any]) -> None:
    after = slower(full, (1.5, 1.5))
    after["candidates"][0] |= {"status": "invalid"}
    after["candidates"][1] |= {"basis": "projected"}
    versus = held(full, after)
    assert "invalid" in str(versus.pairs[0].changes["p50_ms"].reason)
    assert "projected" in str(versus.pairs[1].changes["p50_ms"].reason)
    assert versus.pairs[0].status is not None
    assert versus.pairs[0].status.startswith("ranked, now invalid")


def test_twins_that_came_apart_widen_the_tie(full: dict[str, Any]) -> None:
    after = slower(full, (1.06, 1.06, 1.06))
    assert verdicts(held(full, after), "service_p50_ms")["openvino@local-1"] is Verdict.WORSE
    after["twin"] = {"ratio": {"value": 0.9}}
    assert verdicts(held(full, after), "service_p50_ms")["openvino@local-1"] is Verdict.TIED


def test_candidates_meet_by_key_before_id_and_each_once(full: dict[str, Any]) -> None:
    before, after = full, copy.deepcopy(full)
    for place, row in enumerate(before["candidates"]):
        row["key"] = f"k{place}"
    after["candidates"][0] |= {"key": "k0", "id": "renamed", "artifact_digest": "sha256:2"}
    after["candidates"][1] |= {"key": "other", "threads": 2}
    after["candidates"][6] |= {"key": "new", "id": "openvino@local-1"}
    versus = held(before, after)
    assert comparison.label(versus.pairs[0]) == "openvino@local-1, now renamed"
    assert [each.name for each in versus.pairs[0].settings] == ["id", "artifact digest"]
    assert [each.name for each in versus.pairs[1].settings] == ["threads"]
    assert [row["id"] for row in versus.vanished] == ["tensorrt@local-1"]
    assert [row["id"] for row in versus.appeared] == ["openvino@local-1"]
    assert len(versus.pairs) + len(versus.vanished) == len(before["candidates"])


def test_what_was_asked_and_installed_is_listed(full: dict[str, Any]) -> None:
    after = copy.deepcopy(full)
    after["run"] |= {"seed": 7, "profile": "full"}
    after["model"]["digest"] = "sha256:other"
    after["environment"]["packages"]["torch"] = "2.14.0"
    names = [each.name for each in held(full, after).differences]
    assert names == ["profile", "seed", "model digest", "environment packages torch"]


def test_every_edge_can_stand_on_either_side(full: dict[str, Any], edge: dict[str, Any]) -> None:
    for versus in (held(stored(), edge), held(edge, stored())):
        rows = sum(map(len, (versus.pairs, versus.pairs, versus.appeared, versus.vanished)))
        assert rows == len(full["candidates"]) + len(edge.get("candidates") or ())
