"""How long the report of a large run takes: 20 candidates, 2 million samples, in a run folder as a bench leaves it.

    python -m tests.perf.report_speed [--json out.json]

The samples are arithmetic (single queues of known services), and everything behind them is the real thing: sample files, the
state, the result computed from them, `loadstone report` on the folder, and Chromium on the page it wrote.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from harness import records, slo
from harness.bench import Outcome
from harness.candidates import enumerate_candidates
from harness.endpoint import ColdStart
from harness.findings import Findings
from harness.lanes import Lane, LanePlan
from harness.nouns import Artifact, InstanceType, LoadProfile, ModelSpec, Parity, TensorSpec
from harness.records import CLOSED, REFERENCE, SEARCH, RunRecord, VisitRecord
from harness.request import BenchRequest
from harness.resources import ResourceUse
from harness.result import RunFacts, assemble
from harness.steady import Window, judge
from harness.store import Store
from harness.timeline import Timeline
from harness.workbench import GeneratorProof
from loadprofiles import samples as sample_files
from loadprofiles.plan import Reply
from loadprofiles.samples import RECORD, SUCCEEDED, Samples

CANDIDATES, SAMPLES = 20, 2_000_000
MADE_S, OPENED_S, PAGE_BYTES = 30.0, 3.0, 6_000_000
"""What is asked: the report made, the page opened, its size."""
_OPEN_N, _STEPS = 3000, 2
_SERVICE_MS = 3.0
_TENSOR = TensorSpec(name="x", dtype="float32", shape=(1, 4))


def model() -> ModelSpec:
    return ModelSpec(
        name="synthetic",
        digest="0" * 64,
        inputs=(_TENSOR,),
        outputs=(_TENSOR,),
        parameters=4,
        flops=8,
        weights="file",
        weights_note="made by a benchmark",
        reference="arithmetic",
    )


def _samples(due_ns: Any, service_ns: Any, closed: bool) -> Samples:
    """A single first-come first-served queue (Lindley, 1952)."""
    made = np.zeros(len(due_ns), RECORD)
    ends = np.cumsum(service_ns)
    if closed:
        done = due_ns[0] + ends
        due_ns = done - service_ns
    else:
        done = ends + np.maximum.accumulate(due_ns - (ends - service_ns))
    made["due_ns"] = made["sent_ns"] = due_ns
    made["done_ns"], made["compute_us"], made["outcome"], made["status"] = done, service_ns // 1000, SUCCEEDED, 200
    made["queue_us"] = np.maximum(0, (done - due_ns - service_ns) // 1000)
    return made


def _run(folder: Path, name: str, kind: str, n: int, rate: float, service_ms: float, clock_ns: int, seed: int) -> RunRecord:
    rng, closed = np.random.default_rng(seed), kind == CLOSED
    service = (service_ms * 1e6 * rng.lognormal(0, 0.1, n)).astype(np.int64)
    due = clock_ns + (np.zeros(n) if closed else np.cumsum(rng.exponential(1e9 / rate, n))).astype(np.int64)
    found = _samples(due, service, closed)
    sample_files.write(folder / "samples" / f"{name}.bin", found)
    window_ns = int(found["done_ns"].max()) - clock_ns
    duration_s, seconds = window_ns / 1e9, max(1, round(window_ns / 1e9))
    rows: list[dict[str, float | None]] = [
        {"steal": abs(rng.normal(0, 0.004)), "server_foreign": abs(rng.normal(0, 0.002)), "cpu_pressure": 0.01}
        for _ in range(seconds)
    ]
    reply = Reply(
        planned=n,
        succeeded=n,
        failed=0,
        dropped=0,
        undrained=0,
        start_ns=clock_ns,
        window_ns=window_ns,
        active_ns=window_ns,
        cpu_s=1e-4 * n,
        cpu_peak=0.1,
        loop_lag_p99_ms=0.1,
        run_queue_wait_s=0.0,
        connections_opened_in_window=0,
        max_in_flight=1,
        in_flight_integral_ns=int((found["done_ns"] - found["sent_ns"]).sum()),
        locust_requests=n,
        locust_failures=0,
    )
    use = ResourceUse(
        wall_s=duration_s,
        server_cpus=1,
        server_cpu_s=0.9 * duration_s,
        peak_rss_bytes=300_000_000,
        steal_share=0.003,
        foreign_share=0.002,
        seconds=Timeline.of([clock_ns + second * 1_000_000_000 for second in range(seconds + 1)], rows),
    )
    profile = LoadProfile(
        arrivals="closed" if closed else "poisson",
        duration_s=duration_s,
        seed=seed,
        rate_per_s=None if closed else rate,
        users=1 if closed else None,
    )
    return RunRecord(kind=kind, profile=profile, reply=reply, resources=use, samples=f"samples/{name}.bin")


def visits(folder: Path, names: list[str]) -> list[VisitRecord]:
    """Two server starts a candidate: a long closed loop, then steps around its capacity and the common rate."""
    found, clock_ns = list[VisitRecord](), 1_000_000_000
    closed_n = SAMPLES // len(names) - _OPEN_N * (_STEPS + 1)
    for block, plan in enumerate(
        (((CLOSED, closed_n, 0.0),), ((SEARCH, _OPEN_N, 0.7), (SEARCH, _OPEN_N, 0.8), (REFERENCE, _OPEN_N, 0.4)))
    ):
        for ordinal, name in enumerate(names):
            service_ms, runs = _SERVICE_MS * (1 + 0.05 * ordinal), list[RunRecord]()
            warm_ns, windows = (
                clock_ns,
                tuple(Window(median_ms=service_ms * (1 + 0.5 * 0.2**at), per_s=300.0) for at in range(6)),
            )
            clock_ns += 4_000_000_000
            for number, (kind, n, load) in enumerate(plan):
                rate = 1e3 * load / (_SERVICE_MS if kind == REFERENCE else service_ms)
                seed = 1000 * ordinal + 10 * block + number
                runs.append(_run(folder, f"b{block}-{name}-{number}", kind, n, rate, service_ms, clock_ns, seed))
                clock_ns += runs[-1].reply.active_ns + 500_000_000
            found.append(
                VisitRecord(
                    id=f"b{block}-{name}",
                    block=block,
                    ordinal=ordinal,
                    candidate=name,
                    purpose="screen" if block == 0 else "final",
                    cold=ColdStart(start_s=1.5, load_s=0.5, first_inference_ms=50.0),
                    warmup_s=3.0,
                    steadiness=judge(windows),
                    runs=tuple(runs),
                    failure=None,
                    warmup_start_ns=warm_ns,
                    warmup_window_ms=tuple(window.median_ms for window in windows),
                )
            )
            clock_ns += 3_000_000_000
    return found


def write_run(folder: Path) -> dict[str, Any]:
    """A run folder as a bench leaves it; what it holds, and how long its result took."""
    instance = InstanceType(
        name="local-1",
        vcpus=1,
        memory_bytes=1 << 33,
        usd_per_hour=0.085,
        price_basis="given",
        price_source="a benchmark",
        price_date="",
    )
    candidates = enumerate_candidates(model(), [f"backend{number:02}" for number in range(CANDIDATES)], [instance])
    request = BenchRequest(
        model="synthetic",
        backends=tuple(each.options.backend for each in candidates),
        instances=("local-1",),
        profile="full",
        objective="cost",
        seed=1,
        slo="p99<20ms",
        command="loadstone bench synthetic --profile full --slo 'p99<20ms' --seed 1",
    )
    store = Store(folder)
    made = visits(folder, [each.id for each in candidates])
    for visit in made:
        store.add_visit(records.to_json(visit))
    begun = time.monotonic()
    findings = Findings(
        folder=folder,
        visits=tuple(made),
        given_slo=slo.parse("p99<20ms"),
        given_rate_per_s=None,
        generator_capacity_per_s=20_000.0,
        seed=1,
    )
    parity = Parity(max_abs=1e-6, max_rel=1e-6, top1_agreement=1.0, payloads=32)
    artifact = Artifact(path=folder, digest="0" * 64, size_bytes=100_000_000, compile_s=5.0, parity=parity, cached=False)
    result = assemble(
        RunFacts(
            run_id=folder.name,
            created_utc="2026-01-01T00:00:00+00:00",
            duration_s=3600.0,
            request=request,
            model=model(),
            notes=(),
            environment={"cpu_model": "synthetic", "fingerprint": "0"},
            lane_plan=LanePlan(lanes=(Lane(index=0, server_cpus=(0,), generator_cpus=(1,)),), why_screening=None),
            outcome=Outcome(
                built={each.id: artifact for each in candidates},
                findings=findings,
                generator=GeneratorProof(capacity_per_s=20_000.0, null_p50_ms=0.1),
                twin=None,
                interference=None,
                complete=True,
            ),
        ),
        candidates,
    )
    took_s = time.monotonic() - begun
    store.put("request", TypeAdapter(BenchRequest).dump_python(request, mode="json"))
    store.put("created_utc", "2026-01-01T00:00:00+00:00")
    store.put("result", result)
    store.close()
    count = sum(run.reply.planned for visit in made for run in visit.runs)
    ranked = sum(row["status"] == "ranked" for row in result["candidates"])
    return {"candidates": len(candidates), "ranked": ranked, "samples": count, "result_s": took_s}


def make_report(folder: Path) -> float:
    """Seconds of `loadstone report`, the process included."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "harness.cli", "report", str(folder), "--format", "html"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begun


def open_page(path: Path) -> tuple[float | None, str | None]:
    """Seconds until every picture of the page is drawn in a Chromium that already runs; None with the reason without one."""
    from tests.reports import browser

    if not (browser.CHROMIUM.exists() and browser.DRIVER.exists()):
        return None, f"no browser: {browser.CHROMIUM} or {browser.DRIVER} is missing"
    with tempfile.TemporaryDirectory() as profile, browser.started(Path(profile)) as started:
        started.driver.get("about:blank")
        begun = time.monotonic()
        started.driver.get(path.as_uri())
        while started.ask("return document.documentElement.dataset.ready") != "true":
            time.sleep(0.02)
        return time.monotonic() - begun, None


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        made = write_run(folder)
        report_s = make_report(folder)
        page = folder / "report.html"
        opened = [open_page(page) for _ in range(3)]
        times = [seconds for seconds, _ in opened if seconds is not None]
        return {
            **made,
            "report_s": report_s,
            "page_bytes": page.stat().st_size,
            "result_bytes": (folder / "result.json").stat().st_size,
            "open_s": sorted(times)[len(times) // 2] if times else None,
            "open_reason": opened[0][1],
            "asked": {"report_s": MADE_S, "open_s": OPENED_S, "page_bytes": PAGE_BYTES},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures; default: standard output only")
    options = parser.parse_args()
    found = measure()
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
