"""`autoscale`: try policies on a trace or generated days, choose the cheapest that keeps the SLO, write it ready to apply."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness import scaling
from harness import slo as slos
from harness.errors import UsageError
from harness.fleet import exports, kernel, kubernetes, measured, sweep
from harness.fleet.demand import Demand
from harness.fleet.exports import Chosen, Names
from harness.fleet.measured import Measured
from harness.fleet.nouns import Day, Fleet, Metric, Routing
from harness.fleet.sweep import Question, Trial
from harness.store import write_atomically
from loadprofiles.traces import read_trace
from reports import plots_autoscale

SCHEMA = 1
_ROUTINGS = {"random": Routing.RANDOM, "least-outstanding": Routing.LEAST_OUTSTANDING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options; see its help."""

    run: Path
    candidate: str | None
    trace: Path | None
    generate: str | None
    rate_per_s: float | None
    growth: float
    policies: tuple[str, ...]
    targets: tuple[float, ...]
    seeds: int
    slo: str | None
    routing: str
    least: int | None
    most: int | None
    queue_limit: int
    provisioning_s: float | None
    price_per_hour: float | None
    instance_type: str | None
    out: Path | None
    as_json: bool


def autoscale(asked: Asked) -> int:
    """Returns 0 when a policy keeps the SLO, 4 when none of those tried does."""
    candidate = measured.read(asked.run, asked.candidate)
    question = _question(asked, candidate)
    kinds, seeds = _kinds(asked, question), range(asked.seeds)
    sweep.require_possible(question, seeds)
    if not kernel.COMPILED:
        _say("numba is missing, so this runs some hundred times slower: pip install 'loadstone[autoscale]'")
    trials = list(sweep.sweep(question, kinds, asked.targets or sweep.SHARES, seeds, _progress))
    best = sweep.choose(trials)
    result = _result(asked, candidate, question, trials, best)
    if asked.out is not None:
        _write(asked.out, result)
    if asked.as_json:
        print(json.dumps(result, indent=1))
    else:
        _print(result, trials, best, asked.out)
    return 0 if best is not None else 4


def _question(asked: Asked, candidate: Measured) -> Question:
    price = candidate.usd_per_hour if asked.price_per_hour is None else asked.price_per_hour
    if asked.least is not None and asked.most is not None and asked.least > asked.most:
        raise UsageError(f"--min {asked.least} is above --max {asked.most}")
    return Question(
        fleet=Fleet(
            service=candidate.service,
            workers=candidate.workers,
            starts_s=candidate.starts_s,
            provisioning_s=scaling.PROVISIONING_S if asked.provisioning_s is None else asked.provisioning_s,
            routing=_ROUTINGS[asked.routing],
            queue_limit=asked.queue_limit,
        ),
        demand=_demand(asked, candidate),
        slo=candidate.slo if asked.slo is None else slos.parse(asked.slo),
        capacity_per_s=candidate.capacity_per_s,
        usd_per_hour=price,
        least=asked.least,
        most=asked.most,
    )


def _demand(asked: Asked, candidate: Measured) -> Demand:
    if (asked.trace is None) == (asked.generate is None):
        raise UsageError("what is the demand? give exactly one of --trace FILE and --generate day")
    if asked.trace is not None:
        if asked.rate_per_s is not None:
            raise UsageError("--rate is for generated days; scale a trace with --growth (0.2 is 20 % more)")
        return Demand(trace=read_trace(asked.trace), factor=1 + asked.growth)
    # Without a rate: as much as keeps three instances busy on average, so that there is something to scale.
    rate = 3 * candidate.capacity_per_s if asked.rate_per_s is None else asked.rate_per_s
    return Demand(day_mean_per_s=rate * (1 + asked.growth))


def _kinds(asked: Asked, question: Question) -> tuple[str, ...]:
    kinds = asked.policies or (sweep.TRACKING,)
    for kind in kinds:
        if kind not in sweep.KINDS:
            raise UsageError(f"unknown policy {kind!r}; known are {', '.join(sweep.KINDS)}")
    trace = question.demand.trace
    if sweep.SCHEDULED in kinds and trace is not None and trace.begins_s is None:
        raise UsageError(
            f"{trace.name} has no clock times, so nothing can be scheduled; give ISO timestamps or leave `scheduled` out"
        )
    return tuple(dict.fromkeys(kinds))


def _result(
    asked: Asked, candidate: Measured, question: Question, trials: Sequence[Trial], best: Trial | None
) -> dict[str, Any]:
    front = sweep.frontier(trials)
    demand, fleet = question.demand, question.fleet
    return {
        "schema": SCHEMA,
        "candidate": {
            "id": candidate.id,
            "model": candidate.model,
            "instance": candidate.instance,
            "workers": candidate.workers,
            "capacity_per_s": {
                "value": candidate.capacity_per_s,
                "low": candidate.capacity_low_per_s,
                "high": candidate.capacity_high_per_s,
            },
            "service_mean_ms": candidate.service.mean_s * 1e3,
            "service_source": candidate.service.source,
            "usd_per_hour": question.usd_per_hour,
        },
        "slo": {"text": str(question.slo), "max_error_ratio": question.slo.max_error_ratio},
        "demand": {"name": demand.name, "span_s": demand.span_ns / 1e9, "seeds": asked.seeds},
        "fleet": {
            "starts_s": list(candidate.starts_s),
            "provisioning_s": fleet.provisioning_s,
            "provisioning_source": "assumption, as AWS reports for a real-time endpoint"
            if asked.provisioning_s is None
            else "given",
            "routing": fleet.routing.value,
            "queue_limit": fleet.queue_limit,
        },
        "trials": [_trial(each, each in front) for each in trials],
        "chosen": None if best is None else _trial(best, best in front),
        "chosen_reason": _why(question, trials, best),
        "apply": None if best is None else _apply(asked, candidate, question, best),
        "over_time": None if best is None else _over_time(best.days[0]),
    }


def _trial(trial: Trial, on_frontier: bool) -> dict[str, Any]:
    return {
        "policy": trial.kind,
        "target_share": trial.share,
        "target_value": trial.target,
        "metric": trial.policy.metric.value,
        "min_capacity": trial.policy.limits.least,
        "max_capacity": trial.policy.limits.most,
        "seeds": len(trial.days),
        "abandoned": trial.abandoned,
        "kept_share": trial.kept_share,
        "keeps_slo": trial.keeps_slo,
        "violation_ratio": trial.violation_ratio,
        "failed_ratio": trial.failed_ratio,
        "instance_hours_per_day": trial.instance_hours_per_day,
        "usd_per_day": trial.usd_per_day,
        "frontier": on_frontier,
        "days": [{key: value for key, value in asdict(day).items() if key != "minutes"} for day in trial.days],
    }


def _over_time(day: Day) -> dict[str, Any]:
    """The chosen policy's first seed minute by minute, column by column."""
    rows = day.minutes
    return {
        "seed": day.seed,
        "minute": list(range(len(rows))),
        "load_per_s": [row.arrived_per_s for row in rows],
        "serving": [row.serving for row in rows],
        "capacity": [row.capacity for row in rows],
        "outstanding": [row.outstanding for row in rows],
        "quantile_ms": [row.quantile_ms for row in rows],
        "p99_ms": [row.p99_ms for row in rows],
        "violations": [row.violations for row in rows],
    }


def _why(question: Question, trials: Sequence[Trial], best: Trial | None) -> str:
    if best is None:
        nearest = max(trials, key=lambda trial: (trial.kept_share, -trial.violation_ratio))
        return (
            f"no policy tried keeps {question.slo} in {sweep.KEPT_SHARE:.0%} of the seeds; the nearest, {nearest.kind} at "
            f"{nearest.share:.0%}, kept it in {nearest.kept_share:.0%} of {len(nearest.days)}: try lower --targets, another "
            f"policy, or a higher --min"
        )
    said = f"cheapest of {len(trials)} that keeps {question.slo} in at least {sweep.KEPT_SHARE:.0%} of {len(best.days)} seeds"
    if best.share == max(trial.share for trial in trials):
        said += "; it is also the highest target tried, so a still higher one may do"
    return said


def _apply(asked: Asked, candidate: Measured, question: Question, best: Trial) -> dict[str, Any]:
    """Every form in which the chosen policy can be applied; None with its reason where one cannot."""
    trace = question.demand.trace
    chosen = Chosen(
        policy=best.policy,
        initial=best.days[0].minutes[0].serving,
        routing=question.fleet.routing,
        rate_per_instance_s=best.share * question.capacity_per_s,
        asynchronous=best.kind == sweep.ASYNC_ZERO,
        begins_s=0 if trace is None else trace.begins_s,
        memory_mb=candidate.memory_mb,
    )
    names = Names(
        endpoint=_slug(candidate.model),
        model=_slug(candidate.model),
        instance_type=asked.instance_type or candidate.instance,
        deployment=_slug(candidate.model),
    )
    found: dict[str, Any] = {
        "application_auto_scaling": exports.application_auto_scaling(chosen, names),
        "horizontal_pod_autoscaler": kubernetes.horizontal_pod_autoscaler(chosen, names),
        "keda_scaled_object": kubernetes.scaled_object(chosen, names),
    }
    for name, write in (("endpoint_config", exports.endpoint_config), ("inference_component", exports.inference_component)):
        try:
            found[name], found[f"{name}_reason"] = write(chosen, names), None
        except UsageError as error:
            found[name], found[f"{name}_reason"] = None, str(error)
    return found


def _write(folder: Path, result: dict[str, Any]) -> None:
    """autoscale.json and .html, and one file for each form of the policy."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be a folder ({error.strerror}); name another") from error
    write_atomically(folder / "autoscale.json", json.dumps(result, indent=1) + "\n")
    write_atomically(folder / "autoscale.html", plots_autoscale.page(result))
    for name, body in (result["apply"] or {}).items():
        if isinstance(body, dict):
            write_atomically(folder / f"{name.replace('_', '-')}.json", json.dumps(body, indent=1) + "\n")


def _print(result: dict[str, Any], trials: Sequence[Trial], best: Trial | None, out: Path | None) -> None:
    console = Console(soft_wrap=True, highlight=False)
    head = result["candidate"]
    console.print(
        f"{head['id']}: {head['capacity_per_s']['value']:.4g} requests/s an instance under {result['slo']['text']}; "
        f"{result['demand']['name']}"
    )
    table = Table(box=None, pad_edge=False)
    for title in ("policy", "target", "an instance", "USD/day", "h/day", "violations", "SLO kept", ""):
        table.add_column(title, justify="left" if title in ("policy", "") else "right", no_wrap=True)
    front = sweep.frontier(trials)
    for trial in trials:
        unit = "/min" if trial.policy.metric is Metric.INVOCATIONS else " at once"
        table.add_row(
            trial.kind,
            f"{trial.share:.0%}",
            f"{trial.target:.4g}{unit}",
            "–" if trial.usd_per_day is None else f"{trial.usd_per_day:.2f}",
            f"{trial.instance_hours_per_day:.1f}",
            f"{trial.violation_ratio:.3%}",
            f"{sum(day.keeps_slo for day in trial.days)} of {len(trial.days)}",
            "chosen" if trial is best else "given up" if trial.abandoned else "frontier" if trial in front else "",
        )
    console.print(table)
    if head["usd_per_hour"] is None:
        console.print("No price is known; give --price-per-hour for costs.")
    console.print(result["chosen_reason"])
    if out is not None:
        console.print(f"written to {out}")


def _progress(trial: Trial) -> None:
    _say(f"{trial.kind} at {trial.share:.0%}: SLO kept in {trial.kept_share:.0%} of {len(trial.days)} seeds")


def _slug(text: str) -> str:
    """A name that SageMaker and Kubernetes both allow."""
    kept = "".join(char if char.isalnum() and char.isascii() else "-" for char in text.lower()).strip("-")
    return kept[:50].rstrip("-") or "model"


def shares(text: str) -> tuple[float, ...]:
    """Shares of the capacity from `0.3,0.5,0.7`; UsageError for what is not above 0 and at most 2."""
    found = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not 0 < value <= 2:
            raise UsageError(f"--targets {text!r}: {part.strip()!r} is no share of the capacity above 0 and at most 2")
        found.append(value)
    return tuple(dict.fromkeys(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
