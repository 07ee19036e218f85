"""`bench` and its resumption. Progress goes to standard error, results to standard output."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError

from compilers import intake, precision, registry
from compilers.cache import default_cache
from compilers.spec_io import PreparedModel
from harness import catalogue, environment, lanes, local, rates, slo
from harness.bench import Bench, Outcome, require_disk
from harness.candidates import enumerate_candidates, remote_candidates
from harness.commands import project as projecting
from harness.commands.report import display as showing
from harness.commands.report import publish
from harness.depth import depth
from harness.errors import InfrastructureError, Interrupted, UsageError
from harness.lanes import LanePlan
from harness.nouns import InstanceType
from harness.progress import Display
from harness.request import BenchRequest, Remote
from harness.result import RunFacts, assemble
from harness.store import STATE, Store
from harness.workbench import Cancelled, Workbench

_DISK_BYTES = 500_000_000
_REQUEST = TypeAdapter(BenchRequest)


def checked_request(
    *, backends: tuple[str, ...], instances: tuple[str, ...], precisions: tuple[str, ...] = (), **given: Any
) -> BenchRequest:
    """The request with defaults filled in and every name checked; raises UsageError, before anything is started."""
    names = () if backends == ("none",) else backends or registry.DEFAULT_BACKENDS
    for name in names:
        registry.backend(name)
    if not names and not given.get("endpoints"):
        raise UsageError("--backends none leaves only endpoints to measure; give at least one with --endpoint")
    depth(given["profile"])
    if given["slo"] is not None:
        slo.parse(given["slo"])
    demand, peak = _demands(given.pop("demand", None), given.pop("peak", None))
    model = given.pop("model")
    path = Path(model).expanduser()
    request = BenchRequest(
        model=str(path.absolute()) if path.exists() else model,
        backends=tuple(dict.fromkeys(names)),
        precisions=precision.check(precisions or (precision.FP32,)),
        instances=tuple(dict.fromkeys(instances or _default_instances())),
        demand_per_s=demand,
        peak_per_s=peak,
        **given,
    )
    _instances(request)
    _projected_onto(request)
    return request


def _demands(demand: str | None, peak: str | None) -> tuple[float | None, float | None]:
    """(what fleets carry, what scaling must reach), per second; each stands in for the other, and a peak is no less."""
    carried = None if demand is None else rates.per_second(demand, "--demand")
    highest = None if peak is None else rates.per_second(peak, "--peak")
    if carried is not None and highest is not None and highest < carried:
        raise UsageError(f"--peak {peak} is below --demand {demand}; the peak is the most that is ever asked")
    return carried or highest, highest or carried


def bench(request: BenchRequest, out: Path, *, as_json: bool, workbench: Workbench | None = None) -> int:
    """Run a new bench in a new folder of `out`; returns the exit code."""
    with cancellable() as cancelled, showing() as display:
        prepared = _prepare(request, display, cancelled)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = fresh(out / f"{stamp}-{slug(prepared.spec.name)}")
        store = Store(folder)
        try:
            store.put("request", _REQUEST.dump_python(request, mode="json"))
            store.put("created_utc", datetime.now(UTC).isoformat(timespec="seconds"))
            return _run(request, prepared, store, display, cancelled, as_json=as_json, workbench=workbench)
        finally:
            store.close()


def resume(folder: Path, *, as_json: bool, workbench: Workbench | None = None) -> int:
    """Do what a bench that was stopped or killed has not done yet; returns the exit code."""
    with cancellable() as cancelled, showing() as display, _existing(folder) as (store, request):
        then = store.get("environment")
        now = environment.describe()
        if then is not None and then["fingerprint"] != now["fingerprint"]:
            changed = [key for key, value in now.items() if key not in ("fingerprint", "lanes") and then.get(key) != value]
            raise UsageError(f"{folder} was measured in another environment ({', '.join(changed)} changed); start a new bench")
        prepared = _prepare(request, display, cancelled)
        return _run(request, prepared, store, display, cancelled, as_json=as_json, workbench=workbench)


def _run(
    request: BenchRequest,
    prepared: PreparedModel,
    store: Store,
    display: Display,
    cancelled: Cancelled,
    *,
    as_json: bool,
    workbench: Workbench | None,
) -> int:
    begun = time.monotonic()
    require_disk(store.folder, shutil.disk_usage(store.folder).free, _DISK_BYTES)
    slices, remotes = _instances(request)
    candidates = enumerate_candidates(prepared.spec, request.backends, slices, request.precisions)
    widest = max((candidate.options.threads * candidate.workers for candidate in candidates), default=1)
    candidates += remote_candidates(prepared.spec, remotes, [candidate.id for candidate in candidates])
    lane_plan = lanes.plan_lanes(environment.usable_cores(), widest, request.lanes)
    store.put("environment", environment.describe())
    projecting.keep_base(store, prepared.folder)
    outcome = Bench(
        request,
        prepared,
        candidates,
        depth(request.profile),
        None if request.slo is None else slo.parse(request.slo),
        lane_plan,
        store,
        workbench or local.workbench(default_cache(), request.compile_timeout_s),
        display,
        cancelled,
    ).run()
    spent_s = (store.get("duration_s") or 0.0) + time.monotonic() - begun
    store.put("duration_s", spent_s)
    result = assemble(_facts(request, prepared, store, outcome, lane_plan, spent_s), candidates)
    if request.project:
        result = projecting.with_projection(result, _projected_onto(request), store, request)
    store.put("result", result)
    publish(result, store.folder, display, as_json=as_json)
    return _exit_code(result, outcome, store.folder)


def _facts(
    request: BenchRequest, prepared: PreparedModel, store: Store, outcome: Outcome, lane_plan: LanePlan, spent_s: float
) -> RunFacts:
    lane_facts = [
        {"server_cpus": list(lane.server_cpus), "generator_cpus": list(lane.generator_cpus)} for lane in lane_plan.lanes
    ]
    return RunFacts(
        run_id=store.folder.name,
        created_utc=store.get("created_utc"),
        duration_s=spent_s,
        request=request,
        model=prepared.spec,
        notes=prepared.notes,
        environment={**store.get("environment"), "lanes": lane_facts},
        lane_plan=lane_plan,
        outcome=outcome,
    )


def _exit_code(result: dict[str, Any], outcome: Outcome, folder: Path) -> int:
    if not outcome.complete:
        print(f"loadstone: interrupted; go on with: loadstone bench --resume {folder}", file=sys.stderr)
        return Interrupted.exit_code
    judged = any(row["status"] in ("ranked", "rejected") for row in result["candidates"])
    return 0 if judged else InfrastructureError.exit_code


def _prepare(request: BenchRequest, display: Display, cancelled: Cancelled) -> PreparedModel:
    display.now(f"preparing {Path(request.model).name}")
    cache = default_cache()
    return intake.resolve(
        request.model,
        cache,
        payload_dir=None if request.payload_dir is None else Path(request.payload_dir),
        shapes=dict(request.shapes),
        log=cache / "logs" / f"prepare-{os.getpid()}.log",
        cancelled=cancelled,
    )


def _instances(request: BenchRequest) -> tuple[tuple[InstanceType, ...], tuple[tuple[Remote, InstanceType], ...]]:
    """The slices that candidates are served on, and the endpoints with the instances they are on, all priced."""
    cpu, memory = environment.cpu(), psutil.virtual_memory().total
    rows = catalogue.load_catalogue(None if request.catalogue is None else Path(request.catalogue))

    def known(name: str) -> InstanceType:
        if name.startswith("local-"):
            return catalogue.local_instance(name, cpu, memory, request.price_per_hour, rows)
        return catalogue.find(name, rows).instance()

    slices = tuple(catalogue.local_instance(name, cpu, memory, request.price_per_hour, rows) for name in request.instances)
    remotes = tuple((each, known(each.instance)) for each in request.endpoints)
    return slices, remotes


def _projected_onto(request: BenchRequest) -> tuple[catalogue.CatalogueRow, ...]:
    return projecting.chosen(request.project, None if request.catalogue is None else Path(request.catalogue))


def _default_instances() -> tuple[str, ...]:
    """local-1, local-2, local-4: those that leave the load generator a core of its own; always local-1."""
    cores = len(environment.usable_cores())
    return tuple(f"local-{size}" for size in (1, 2, 4) if size == 1 or size < cores)


@contextmanager
def _existing(folder: Path) -> Iterator[tuple[Store, BenchRequest]]:
    if not (folder / STATE).is_file():
        raise UsageError(f"{folder} is not a run folder (it has no {STATE}); see the folders under runs/")
    store = Store(folder)
    try:
        request = store.get("request")
        if request is None:
            raise UsageError(f"{folder} was stopped before it began; start a new bench")
        yield store, _request(request, folder)
    finally:
        store.close()


def _request(stored: Any, folder: Path) -> BenchRequest:
    """What was asked for, when every option of it is known here; half of it would measure something else."""
    known = {field.name for field in fields(BenchRequest)}
    wrong = sorted(set(stored) - known) if isinstance(stored, dict) else []
    try:
        request = _REQUEST.validate_python(stored)
    except ValidationError as error:
        wrong += sorted({str(each["loc"][0]) if each["loc"] else "the request" for each in error.errors()})
    if wrong:
        raise UsageError(
            f"{folder} was begun by another version of loadstone ({', '.join(wrong)} cannot be read here); "
            "resume it with that version"
        )
    return request


@contextmanager
def cancellable() -> Iterator[Cancelled]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into an orderly stop; the second ends us, and the kernel our children."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            os._exit(Interrupted.exit_code)
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fresh(folder: Path) -> Path:
    """`folder`, or the first of folder-2, folder-3 … that does not exist."""
    candidate, number = folder, 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "model"
