"""What a night decided, as the document that everything is rendered from; `harness/data/gate.schema.json` is its contract."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.gate import measure, schedule
from harness.gate.baseline import Accepted, Baseline, hardware
from harness.gate.decision import METRICS, TAIL_REQUESTS, Finding, Verdict, overall
from harness.gate.history import NIGHT
from harness.gate.measure import Seen
from harness.gate.night import Night
from harness.gate.schedule import Load
from harness.gate.selftest import SelfTest

SCHEMA = 1
EXIT = {Verdict.PASS: 0, Verdict.REGRESSION: 1, Verdict.INVALID: 3, Verdict.INCONCLUSIVE: 4}
_GRAVEST_FIRST = (Verdict.INVALID, Verdict.REGRESSION, Verdict.INCONCLUSIVE)
_MOST_WARNINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateNight:
    """One candidate's night. `why_invalid` says why nothing was decided, if so; what was measured until then is kept."""

    accepted: Accepted
    why_invalid: str | None
    digest: str | None = None
    """Of tonight's artifact."""
    nights: Mapping[str, Night] | None = None
    self_test: SelfTest | None = None
    seen: Seen | None = None
    load: Load | None = None
    kept_rate: bool = False
    canary_share: float | None = None
    duration_s: float | None = None

    @property
    def verdict(self) -> Verdict:
        if self.why_invalid is not None or self.nights is None or self.self_test is None or self.self_test.why_invalid:
            return Verdict.INVALID
        return overall(self.nights[schedule.TONIGHT].findings)

    @property
    def reason(self) -> str | None:
        """Why it is invalid as a whole."""
        return self.why_invalid or (self.self_test.why_invalid if self.self_test else None)


def verdict_of(candidates: Sequence[CandidateNight]) -> Verdict:
    """The gravest of the candidates' verdicts; nothing compared is nothing passed."""
    seen = {each.verdict for each in candidates}
    return next((verdict for verdict in _GRAVEST_FIRST if verdict in seen), Verdict.PASS if seen else Verdict.INVALID)


def document(
    baseline: Baseline, candidates: Sequence[CandidateNight], environment: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole night but for its history; `facts` are what only the command knows: time, seed, warnings …"""
    verdict = verdict_of(candidates)
    return {
        "schema": SCHEMA,
        "verdict": str(verdict),
        "exit_code": EXIT[verdict],
        **facts,
        "model": {"name": baseline.name, "digest": baseline.model_digest},
        "baseline": {name: getattr(baseline, name) for name in ("id", "promoted_utc", "by", "message", "source")},
        "environment": {
            "fingerprint": environment["fingerprint"],
            "hardware": hardware(environment),
            "cpu_model": environment["cpu_model"],
            "changed_since_baseline": changed(baseline.environment, environment),
        },
        "candidates": [_candidate(each) for each in candidates],
    }


def night_row(document: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The line that the history keeps of one candidate."""
    test = candidate["self_test"]
    return {
        "kind": NIGHT,
        "utc": document["created_utc"],
        "hardware": document["environment"]["hardware"],
        "environment": document["environment"]["fingerprint"],
        "model": document["model"]["name"],
        "candidate": candidate["id"],
        "baseline": document["baseline"]["id"],
        "verdict": candidate["verdict"],
        "reason": candidate["reason"],
        "rate_per_s": candidate["rate_per_s"],
        "metrics": {
            row["metric"]: {name: row[name] for name in ("baseline", "tonight", "ratio", "low", "high", "verdict")}
            for row in candidate["metrics"]
        },
        "self_test": {"silent": test["twin"]["silent"], "fired": test["canary"]["fired"]},
    }


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What differs between two environments: name to [before, now]."""
    names = [name for name in now if name not in ("fingerprint", "lanes", "packages")]
    found = {name: [before.get(name), now[name]] for name in names if before.get(name) != now[name]}
    packages = before.get("packages") or {}
    return found | {
        name: [packages.get(name), version]
        for name, version in (now.get("packages") or {}).items()
        if packages.get(name) != version
    }


def _candidate(found: CandidateNight) -> dict[str, Any]:
    seen = found.seen or Seen()
    tonight = found.nights[schedule.TONIGHT] if found.nights else None
    warnings = sorted(seen.warnings.items(), key=lambda each: -each[1])[:_MOST_WARNINGS]
    return {
        "id": found.accepted.id,
        "verdict": str(found.verdict),
        "reason": found.reason,
        "baseline_digest": found.accepted.digest,
        "tonight_digest": found.digest,
        "runs": tonight.runs if tonight else None,
        "extended": tonight.extended if tonight else None,
        "rate_per_s": found.load.rate_per_s if found.load else None,
        "rate_is_the_baselines": found.kept_rate,
        "slice_s": found.load.slice_s if found.load else None,
        "blocks": seen.blocks,
        "repeated": len(seen.repeated),
        "repeated_why": sorted(set(seen.repeated))[:_MOST_WARNINGS],
        "warnings": [f"{text} (in {count} blocks)" for text, count in warnings],
        "duration_s": found.duration_s,
        "metrics": _metrics(tonight, seen, schedule.TONIGHT),
        "self_test": {
            "twin": {
                "silent": found.self_test.silent if found.self_test else None,
                "metrics": _metrics(_arm(found, schedule.TWIN), seen, schedule.TWIN),
            },
            "canary": {
                "fired": found.self_test.fired if found.self_test else None,
                "extra_work": found.canary_share,
                "metrics": _metrics(_arm(found, schedule.CANARY), seen, schedule.CANARY),
            },
        },
    }


def _arm(found: CandidateNight, arm: str) -> Night | None:
    return found.nights.get(arm) if found.nights else None


def _metrics(night: Night | None, seen: Seen, arm: str) -> list[dict[str, Any]]:
    """A row for each metric, those that were not judged among them, with the reason."""
    by_name = {finding.metric: finding for finding in night.findings} if night else {}
    figures = [measure.figures(slices) for slices in seen.side_by_side(arm)]
    rows = []
    for metric in METRICS:
        finding = by_name.get(metric.name)
        row = asdict(finding or Finding(metric=metric.name, verdict=Verdict.INVALID, reason=_not_judged(night)))
        row["verdict"] = str(finding.verdict) if finding else None
        row["baseline"], row["tonight"] = (each[metric.name] for each in figures)
        row["threshold"] = metric.threshold
        row["higher_is_better"] = metric.higher_is_better
        rows.append(
            {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        )
    return rows


def _not_judged(night: Night | None) -> str:
    return "not measured" if night is None else f"not judged: fewer than {TAIL_REQUESTS:,} requests in all slices"
