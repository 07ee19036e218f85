"""What `loadstone load` says: before the load what is planned, after it what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from harness.nouns import LoadProfile, Measurement, Quantile
from harness.phases import Check, Phase, verdict
from loadprofiles.plan import Reply

_LONG_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What one load showed."""

    url: str
    protocol: str
    profile_name: str
    question: str
    headline: str | None
    expected: str
    """Of a good answer, in words."""
    seen: Measurement
    reply: Reply
    phases: tuple[Phase, ...]
    checks: tuple[Check, ...] | None
    """None without an SLO."""


def planned(name: str, profile: LoadProfile) -> str:
    """The load in one line."""
    for_s = f"{profile.duration_s:g} s" if profile.duration_s < _LONG_S else f"{profile.duration_s / 60:.3g} min"
    if profile.trace is not None:
        speed = "its own speed" if profile.compress == 1 else f"{profile.compress:g} times its own speed"
        return f"{name}, {profile.trace} at {speed}, {for_s}, seed {profile.seed}"
    if profile.segments:
        unit = "/s" if profile.open_loop else " users"
        low, high = (pick(f(each.start, each.end) for each in profile.segments) for pick, f in ((min, min), (max, max)))
        return f"{name}, {low:g} to {high:g}{unit} in {len(profile.segments)} phases, {for_s}, seed {profile.seed}"
    if profile.open_loop:
        return f"{name}, {profile.rate_per_s:g}/s for {for_s}, seed {profile.seed}"
    most = f" or {profile.requests:,} requests" if profile.requests else ""
    return f"{name}, {profile.users} user{'' if profile.users == 1 else 's'} for {for_s}{most}, seed {profile.seed}"


def headline(what: str | None, seen: Measurement) -> dict[str, object] | None:
    """The one figure that a profile is run for; None when it is run for all of them."""
    if what is None:
        return None
    if what == "throughput":
        return {"what": "throughput", "value": seen.achieved_per_s, "unit": "per s"}
    p90 = seen.service_ms["p90"]
    return {"what": what, "value": p90.value, "unit": "ms", "low": p90.low, "high": p90.high, "reason": p90.reason}


def cpu_share(reply: Reply) -> float | None:
    """Share of one core that the generator used: in its busiest second, or over all of a run shorter than that."""
    if reply.cpu_peak is not None:
        return reply.cpu_peak
    return reply.cpu_s / (reply.active_ns / 1e9) if reply.active_ns else None


def show(loaded: Loaded) -> None:
    """Print it all on standard output."""
    console = Console(highlight=False, soft_wrap=True)
    for line in _lines(loaded):
        console.print(line, markup=False)
    if loaded.phases:
        console.print(_table(loaded.phases, open_loop=loaded.seen.profile.open_loop))
    for check in loaded.checks or ():
        console.print(f"  {_checked(check)}", markup=False)
    if loaded.checks:
        console.print(f"  SLO: {verdict(loaded.checks)}")


def _lines(loaded: Loaded) -> Iterator[str]:
    seen, reply = loaded.seen, loaded.reply
    loop = "open loop: latency counts from when each request was due" if seen.profile.open_loop else "closed loop"
    yield f"{loaded.url}: {planned(loaded.profile_name, seen.profile)} ({loop})"
    yield f"  {loaded.question}"
    main = headline(loaded.headline, seen)
    if main is not None:
        value = "–" if main["value"] is None else f"{main['value']:.4g} {main['unit']}"
        yield f"  {main['what']}: {value}"
    yield (
        f"  planned {seen.planned} = succeeded {seen.succeeded} + failed {seen.failed} + dropped {seen.dropped} "
        f"+ undrained {seen.undrained}"
    )
    yield f"  offered {_rate(seen.offered_per_s)}, answered {_rate(seen.achieved_per_s)}"
    for error, times in sorted(reply.errors.items(), key=lambda each: -each[1]):
        yield f"  error: {times} × {error}"
    for title, quantiles in (("latency", seen.latency_ms), ("service", seen.service_ms)):
        yield f"  {title}: {_quantiles(quantiles)}"
    if seen.lateness_ms:
        yield f"  lateness: p50 {seen.lateness_ms['p50']:.3f} ms  p99 {seen.lateness_ms['p99']:.3f} ms"
    share, each_ms = cpu_share(reply), seen.generator_cpu_ms_per_request
    yield (
        f"  generator: {'–' if each_ms is None else f'{each_ms:.3f}'} ms CPU a request, "
        f"{'–' if share is None else f'{share:.0%}'} of one core at most, {reply.connections_opened_in_window} reconnects"
    )
    yield f"  {'valid' if seen.validity.valid else 'INVALID'}"
    yield from (f"  invalid: {reason}" for reason in seen.validity.reasons)
    yield from (f"  note: {warning}" for warning in seen.validity.warnings)


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}/s"


def _quantiles(quantiles: Mapping[str, Quantile]) -> str:
    return "  ".join(f"{name} {_quantile(each)}" for name, each in quantiles.items())


def _quantile(each: Quantile) -> str:
    if each.value is None:
        return f"– ({each.reason})"
    high = "∞" if each.high is None else f"{each.high:.3g}"
    return f"{each.value:.3g} ms ({each.low:.3g}–{high})"


def _table(phases: tuple[Phase, ...], *, open_loop: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    level = "per s" if open_loop else "users"
    for title in ("phase", "from s", "for s", level, "planned", "good", "answered/s", "p50 ms", "p99 ms"):
        table.add_column(title, justify="right")
    for each in phases:
        through = f"{each.start:g}" if each.start == each.end else f"{each.start:g}→{each.end:g}"
        quantiles = (each.latency_ms[name].value for name in ("p50", "p99"))
        table.add_row(
            str(each.number),
            f"{each.begins_s:g}",
            f"{each.duration_s:g}",
            through,
            str(each.planned),
            str(each.succeeded),
            f"{each.answered_per_s:.4g}",
            *("–" if value is None else f"{value:.3g}" for value in quantiles),
        )
    return table


def _checked(check: Check) -> str:
    if check.share is None or check.low is None or check.high is None:
        return f"{check.limit}: {check.verdict}, no requests"
    broke = f"{check.share:.2%} broke it ({check.low:.2%}–{check.high:.2%})"
    return f"{check.limit}: {check.verdict}; {broke}, {check.allowed:.2%} may"
