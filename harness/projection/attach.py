"""Adds projected rows to a result and ranks everything again, measured and projected, from the rows themselves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness import scaling
from harness.catalogue import CatalogueRow
from harness.decision import decide
from harness.nouns import Estimate, Quantile
from harness.projection import constants, machines, rows, speed
from harness.projection.nouns import CPU, Hardware, Tables, Work
from harness.projection.rows import Z_LEVEL
from harness.ranking import Entry, Ranking, rank
from harness.statistics import Z_95

MEASURED, PROJECTED = "measured", "projected"
ACCELERATED = "tensorrt"
"""What stands for the backend of a row on an accelerator: the runtime of its anchors."""
_MB_PER_GIB = 1073.741824


def attach(
    result: Mapping[str, Any],
    instances: Sequence[CatalogueRow],
    here: Hardware | str,
    work: Work | str,
    tables: Tables,
    *,
    seed: int,
    growth_per_min: float | None,
    peak_per_s: float | None,
) -> dict[str, Any]:
    """The result with a row for each of `instances` and each way of serving measured here; earlier projections are replaced.

    `here` and `work` may be the reason why they are not known; then every row is `skipped` with it.
    """
    measured = [row for row in result["candidates"] if row.get("basis") != PROJECTED]
    added = []
    for instance in instances:
        added += _rows(instance, measured, here, work, tables, result.get("reference_rate_per_s"))
    candidates = [*measured, *added]
    again = _ranked(candidates, result, seed)
    found = {**result, "candidates": _placed(candidates, again)}
    found |= _recommended(found, again, result, growth_per_min, peak_per_s)
    found["decision"] = decide.again(found, (result.get("decision") or {}).get("demand_per_s"))
    return found


def _rows(
    instance: CatalogueRow,
    measured: Sequence[Mapping[str, Any]],
    here: Hardware | str,
    work: Work | str,
    tables: Tables,
    rate_per_s: float | None,
) -> list[dict[str, Any]]:
    there = machines.there(instance)
    accelerated = not isinstance(there, str) and there.kind != CPU
    bases = _bases(measured, instance, fastest=accelerated)
    if not bases:
        return []
    why_not = next((reason for reason in (there, here, work) if isinstance(reason, str)), None)
    made = []
    for base in bases:
        if why_not is not None or isinstance(there, str) or isinstance(here, str) or isinstance(work, str):
            made.append(rows.refused(base, instance, why_not or ""))
            continue
        if accelerated:
            as_gpu = {
                **base,
                "id": f"{ACCELERATED}@{instance.name}",
                "backend": ACCELERATED,
                "precision": "fp16",
                "threads": None,
            }
            found = speed.on_gpu(work, base, there, tables)
            servers: int | str = there.cores
        else:
            as_gpu = dict(base)
            found = speed.on_cpu(work, base, here, there, constants.fit_cpu(tables))
            servers = _servers(base, instance, there.cores)
        reason = found if isinstance(found, str) else servers if isinstance(servers, str) else None
        if reason is not None or isinstance(found, str) or isinstance(servers, str):
            made.append(rows.refused(as_gpu, instance, reason or ""))
            continue
        row = rows.projected(as_gpu, instance, found, servers, rate_per_s)
        row["projection"]["from"] = base["id"]
        made.append(row)
    return made


def _bases(measured: Sequence[Mapping[str, Any]], instance: CatalogueRow, *, fastest: bool) -> list[Mapping[str, Any]]:
    """What is projected: of each way of serving here that was ranked, the slice with the most capacity a core that fits; for an
    accelerator only the fastest of all, since nothing of how it was compiled goes there."""
    served = [row for row in measured if row["status"] == "ranked" and not row.get("endpoint") and row.get("threads")]
    if fastest:
        known = [row for row in served if ((row.get("service_ms") or {}).get("p50") or {}).get("value")]
        return sorted(known, key=lambda row: (row["service_ms"]["p50"]["value"], row["id"]))[:1]
    best: dict[str, Mapping[str, Any]] = {}
    for row in sorted(served, key=lambda row: row["id"]):
        way = row["id"].rsplit("@", 1)[0]
        if way not in best or _merit(row, instance) > _merit(best[way], instance):
            best[way] = row
    return list(best.values())


def _merit(row: Mapping[str, Any], instance: CatalogueRow) -> tuple[bool, float]:
    cores = row["threads"] * (row.get("workers") or 1)
    return cores <= (instance.physical_cores or 0), (row["capacity_per_s"]["value"] or 0.0) / cores


def _servers(base: Mapping[str, Any], instance: CatalogueRow, cores: int) -> int | str:
    """How many servers like `base` fit on an instance, by cores and memory, or why none does."""
    own = int(base["threads"] * (base.get("workers") or 1))
    if own > cores:
        return f"{base['id']} takes {own} cores, {instance.name} has {cores}"
    fitting = cores // own
    if base.get("memory_mb") and instance.memory_gib:
        fitting = min(fitting, int(instance.memory_gib * _MB_PER_GIB / base["memory_mb"]))
    if not fitting:
        return f"{base['id']} takes {base['memory_mb']:.0f} MB, {instance.name} has {instance.memory_gib:g} GiB"
    return fitting


def _ranked(candidates: Sequence[Mapping[str, Any]], result: Mapping[str, Any], seed: int) -> Ranking:
    return rank(
        [_entry(row) for row in candidates if row["status"] == "ranked"],
        result["objective"],
        np.random.default_rng(seed),
        reference_rate_per_s=result.get("reference_rate_per_s"),
        tie_ratio=(result.get("decision") or {}).get("tie_ratio") or 1.02,
    )


def _entry(row: Mapping[str, Any]) -> Entry:
    """What a row may be ranked by; projected intervals widened to the 95 % that the ranking takes them for."""
    projected = row["basis"] == PROJECTED
    starts = row.get("between_starts") or {}
    return Entry(
        id=row["id"],
        usd_per_million=_estimate(row["usd_per_million"], projected),
        capacity_per_s=_estimate(row["capacity_per_s"], projected),
        latency_ms={label: _quantile(each, projected) for label, each in (row.get("latency_ms") or {}).items()},
        replicate_log_sd=starts.get("log_sd"),
        replicates=max(1, starts.get("starts") or 1),
        projected=projected,
    )


def _estimate(found: Mapping[str, Any], projected: bool) -> Estimate:
    value = found["value"]
    low, high = (_wider(value, found[end]) if projected else found[end] for end in ("low", "high"))
    return Estimate(value=value, low=low, high=high, reason=found.get("reason"))


def _quantile(found: Mapping[str, Any], projected: bool) -> Quantile:
    value = found["value"]
    low, high = (_wider(value, found[end]) if projected else found[end] for end in ("low", "high"))
    return Quantile(value=value, low=low, high=high, n=found["n"], reason=found.get("reason"))


def _wider(value: float | None, end: float | None) -> float | None:
    return None if not value or not end else float(value * (end / value) ** (Z_95 / Z_LEVEL))


def _placed(candidates: Sequence[dict[str, Any]], ranking: Ranking) -> list[dict[str, Any]]:
    """Every row with its place or why it has none; ranked ones first, in order."""
    places = {place.id: place for place in ranking.places}
    without = {each.id: each.reason for each in ranking.unranked}
    made = []
    for row in candidates:
        place = places.get(row["id"])
        if place is not None:
            made.append(
                row
                | {
                    "rank": place.rank,
                    "tie_group": place.tie_group,
                    "probability_best": place.probability_best,
                    "reason": place.reason,
                }
            )
        elif row["id"] in without:
            nothing = {"rank": None, "tie_group": None, "probability_best": None}
            made.append(row | nothing | {"status": "rejected", "reason": without[row["id"]]})
        else:
            made.append(row)
    order = [place.id for place in ranking.places]
    return sorted(made, key=lambda row: order.index(row["id"]) if row["id"] in order else len(order))


def _recommended(
    found: Mapping[str, Any],
    ranking: Ranking,
    before: Mapping[str, Any],
    growth_per_min: float | None,
    peak_per_s: float | None,
) -> dict[str, Any]:
    """The recommendation, saying what it rests on, and the suggestion for it."""
    winner = ranking.winner
    if winner is None:
        return {"recommendation": None}
    row = next(each for each in found["candidates"] if each["id"] == winner.id)
    said = {"id": winner.id, "why": ranking.why, "probability_best": winner.probability_best, "basis": row["basis"]}
    if row["basis"] == PROJECTED:
        best = next((each["id"] for each in found["candidates"] if each["basis"] == MEASURED and each["rank"]), None)
        rest = f"; the best that was measured is {best}" if best else ""
        said["why"] = f"projected, not measured ({row['projection']['class']}): {ranking.why}{rest}; reach it with --endpoint"
    if before.get("recommendation") and before["recommendation"]["id"] == winner.id:
        return {"recommendation": said}
    capacity = Estimate(**{key: row["capacity_per_s"][key] for key in ("value", "low", "high", "reason")})
    suggestion = scaling.suggest(capacity, row["start_s"], growth_per_min, peak_per_s, endpoint=found["model"]["name"])
    return {"recommendation": said, "recommendation_reason": None, "scaling": suggestion.to_json()}


def base_to_json(here: Hardware | str, work: Work | str) -> dict[str, Any]:
    """What a run keeps of this machine and its model, to be projected from later and elsewhere."""
    return {"here": here if isinstance(here, str) else asdict(here), "work": work if isinstance(work, str) else asdict(work)}
