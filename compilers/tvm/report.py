"""What the compile pass did, kernel by kernel: the rule of each, its share of the run time, and its rate of arithmetic."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compilers.tvm.pipeline import SERIAL, Kernel
from compilers.tvm.schedules.generic import FALLBACK

_RUNS = 5
_LONG_S = 1.0
"""A model this slow is run once: the shares of its kernels are clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Of one compiled model: nanoseconds per inference by kernel, the fastest of some runs, and how often each is called."""

    kernel_ns: Mapping[str, int]
    calls: Mapping[str, int]


def measure(machine: Any, inputs: Sequence[Any], names: frozenset[str]) -> Times:
    """Run `machine`'s main on `inputs` with every kernel of `names` timed.

    The virtual machine calls back before and after each kernel; what the callback itself costs is outside the two readings.
    """
    best: dict[str, int] = {}
    calls: dict[str, int] = {}
    machine["main"](*inputs)
    started_s = time.monotonic()
    for _ in range(_RUNS):
        sums: dict[str, int] = defaultdict(int)
        counts: dict[str, int] = defaultdict(int)
        entered_ns = 0

        def observe(_function: Any, name: str, before: bool, _result: Any, *_arguments: Any) -> None:
            nonlocal entered_ns
            if before:
                entered_ns = time.perf_counter_ns()
                return
            left_ns = time.perf_counter_ns()
            if name in names:
                sums[name] += left_ns - entered_ns  # noqa: B023 - called only within this turn of the loop
                counts[name] += 1  # noqa: B023

        machine.set_instrument(observe)
        machine["main"](*inputs)
        for name, spent in sums.items():
            best[name] = min(best.get(name, spent), spent)
        calls = dict(counts)
        if time.monotonic() - started_s > _LONG_S:
            break
    return Times(kernel_ns=best, calls=calls)


def summary(kernels: Sequence[Kernel], times: Times) -> dict[str, Any]:
    """The report as JSON values: `rules` by name, `fallen_back` with reasons, `kernels` from the slowest on."""
    total = sum(times.kernel_ns.values())
    rows = [_row(kernel, times, total) for kernel in kernels if kernel.name in times.calls]
    rows.sort(key=lambda row: -row["time_share"])
    rules: dict[str, dict[str, Any]] = {}
    for row in rows:
        rule = rules.setdefault(row["rule"], {"kernels": 0, "calls": 0, "time_share": 0.0})
        rule["kernels"] += 1
        rule["calls"] += row["calls"]
        rule["time_share"] = round(rule["time_share"] + row["time_share"], 4)
    fallen = [row for row in rows if row["rule"] in (FALLBACK, SERIAL)]
    return {
        "rules": rules,
        "fallen_back": fallen,
        "fallen_back_share": round(sum(row["time_share"] for row in fallen), 4),
        "kernels": rows,
    }


def _row(kernel: Kernel, times: Times, total_ns: int) -> dict[str, Any]:
    spent_ns, calls = times.kernel_ns[kernel.name], times.calls[kernel.name]
    row: dict[str, Any] = {
        "name": kernel.name,
        "rule": kernel.rule,
        "calls": calls,
        "time_ms": round(spent_ns / 1e6, 4),
        "time_share": round(spent_ns / total_ns, 4) if total_ns else 0.0,
        # By the operator's definition: a Winograd kernel, which multiplies less, may exceed the processor's peak.
        "gflop_per_s": round(kernel.flops * calls / spent_ns, 2) if kernel.flops is not None and spent_ns else None,
    }
    return row | ({"reason": kernel.reason} if kernel.reason else {})
