"""`loadstone gate`: tonight's version of every accepted candidate against the accepted one, and what comes of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from compilers import intake
from compilers.cache import default_cache
from compilers.spec_io import PAYLOADS, PreparedModel, read_spec
from harness import catalogue, environment, local
from harness.bench import require_disk
from harness.commands.gate_history import remembered
from harness.commands.run import cancellable, fresh, slug
from harness.errors import MeasurementInvalid, UsageError
from harness.gate import baseline as baselines
from harness.gate import interpreter, measure, result, schedule, selftest
from harness.gate.baseline import Accepted, Baseline
from harness.gate.measure import Version
from harness.gate.night import PAIRS, hold_together
from harness.gate.result import CandidateNight
from harness.gate.schedule import BASELINE, CANARY, MOST_APART, SLICE_S, TONIGHT, TWIN, Load
from harness.gate.stage import stage
from harness.nouns import Artifact, Candidate
from harness.progress import Display
from harness.store import write_atomically
from harness.workbench import Cancelled, Workbench
from reports.gate import junit, markdown, page, terminal

DOCUMENT = "gate.json"
_DISK_BYTES = 500_000_000
_TEST_ARMS = (TONIGHT, TWIN, CANARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """The options of `loadstone gate`, as given."""

    baseline: Path
    model: str | None = None
    candidates: tuple[str, ...] = ()
    artifacts: Mapping[str, Path] | None = None
    """Tonight's artifacts by candidate id, instead of fresh ones."""
    pairs: int = PAIRS
    slice_s: float | None = None
    seed: int | None = None
    """None: another every night."""
    python: Path | None = None
    """The interpreter that serves the baseline, with the packages of its lock."""
    out: Path = Path("runs")
    compile_timeout_s: float = 900.0


MakeWorkbench = Callable[[Path, float], Workbench]


def gate(asked: GateRequest, *, as_json: bool, workbench: MakeWorkbench | None = None) -> int:
    """Hold the gate, keep the night, and return the exit code of its verdict.

    Raises UsageError and MeasurementInvalid when there is no baseline to compare with, and Interrupted.
    """
    begun = time.monotonic()
    with cancellable() as cancelled, Display(Console(stderr=True)) as shown:
        accepted = baselines.current(asked.baseline, _name(asked.model))
        chosen = baselines.chosen(accepted, asked.candidates)
        baselines.chosen(accepted, tuple(asked.artifacts or ()))
        now = environment.describe()
        _require_same_hardware(accepted, now)
        python = "" if asked.python is None else interpreter.checked(asked.python, accepted.lock)
        prepared = _prepared(asked, accepted, shown, cancelled)
        stamp = datetime.now(UTC)
        folder = fresh(asked.out / f"{stamp:%Y%m%dT%H%M%SZ}-gate-{slug(accepted.name)}")
        folder.mkdir(parents=True)
        require_disk(folder, shutil.disk_usage(folder).free, _DISK_BYTES)
        seed = asked.seed if asked.seed is not None else int(stamp.timestamp())
        night = _Night(asked, accepted, prepared, workbench or local.workbench, folder, seed, python, shown, cancelled)
        nights = night.hold(chosen)
        facts = {
            "created_utc": stamp.isoformat(timespec="seconds"),
            "duration_s": round(time.monotonic() - begun, 3),
            "seed": seed,
            "pairs": asked.pairs,
            "warnings": [*interpreter.differences(accepted.lock, now["packages"], python), *night.warnings],
        }
        document = result.document(accepted, nights, now, facts)
        document = remembered(asked.baseline, document, now)
        _publish(document, folder)
        shown.close()
        print(json.dumps(document, indent=1, allow_nan=False)) if as_json else terminal.show(document, Console(), folder)
        return int(document["exit_code"])


class _Night:
    """All candidates of one night, one after the other."""

    def __init__(
        self,
        asked: GateRequest,
        accepted: Baseline,
        prepared: PreparedModel,
        workbench: MakeWorkbench,
        folder: Path,
        seed: int,
        python: str,
        shown: Display,
        cancelled: Cancelled,
    ) -> None:
        self._asked, self._accepted, self._prepared = asked, accepted, prepared
        self._folder, self._seed, self._python = folder, seed, python
        self._shown, self._cancelled = shown, cancelled
        self._compiled = folder / "compiled"
        self._bench = workbench(self._compiled, asked.compile_timeout_s)
        self._served = baselines.model_folder(asked.baseline, accepted)
        self.warnings: list[str] = []

    def hold(self, chosen: Sequence[Accepted]) -> list[CandidateNight]:
        try:
            return [self._candidate(each) for each in chosen]
        finally:
            shutil.rmtree(self._compiled, ignore_errors=True)  # what it was is in its digest

    def _candidate(self, accepted: Accepted) -> CandidateNight:
        """One candidate's night; whatever keeps it from being measured makes it invalid, not the others."""
        begun = time.monotonic()
        base = _candidate(accepted, self._prepared)
        night = CandidateNight(accepted=accepted, why_invalid=None)
        try:
            before = baselines.artifact(self._asked.baseline, accepted)
            after = self._tonight(accepted, base)
            night = replace(night, digest=after.digest)
            night = self._measured(night, base, before, after)
        except MeasurementInvalid as error:
            night = replace(night, why_invalid=str(error))
        self._shown.say(f"  {accepted.id}: {night.verdict}{f', {night.reason}' if night.reason else ''}")
        return replace(night, duration_s=round(time.monotonic() - begun, 3))

    def _tonight(self, accepted: Accepted, candidate: Candidate) -> Artifact:
        """Tonight's artifact: the one given, else compiled now. Raises MeasurementInvalid when there is none."""
        given = (self._asked.artifacts or {}).get(accepted.id)
        if given is not None:
            return baselines.given_artifact(given, accepted)
        self._shown.now(f"compiling {accepted.id}")
        log = self._folder / "logs" / f"compile-{accepted.id}.log"
        built = self._bench.build(candidate, self._prepared, log, self._cancelled)
        if not isinstance(built, Artifact):
            raise MeasurementInvalid(f"{accepted.id} has vanished: tonight it could not be compiled: {built.reason}")
        return built

    def _measured(self, night: CandidateNight, base: Candidate, before: Artifact, after: Artifact) -> CandidateNight:
        accepted = night.accepted
        cores = accepted.options.threads * accepted.workers
        with stage(
            self._folder, base.model.name, self._served, cores, self._bench, self._seed, self._cancelled, self._shown.now
        ) as (bay, setting):
            then = Version(candidate=replace(base, python=self._python), artifact=before)
            seen = measure.look(then, accepted.id, bay, setting)
            rate, kept = schedule.rate_per_s(seen.closed_per_s, accepted.rate_per_s)
            if not kept:
                self.warnings.append(
                    f"{accepted.id}: the baseline answers {seen.closed_per_s:.4g}/s tonight, so it is loaded with {rate:.4g}/s "
                    f"instead of {accepted.rate_per_s:.4g}/s; absolute figures start a new series"
                )
            now = Version(candidate=base, artifact=after)
            slower = seen.closed_per_s / measure.look(now, f"{accepted.id}-tonight", bay, setting).closed_per_s
            load = Load(
                rate_per_s=rate,
                closed_per_s=seen.closed_per_s,
                slice_s=self._asked.slice_s or SLICE_S,
                slower=min(max(1.0, slower), MOST_APART),
                faster=min(max(1.0, 1 / slower), MOST_APART),
            )
            share = _canary_share(seen)
            versions = {
                BASELINE: then,
                TONIGHT: now,
                TWIN: then,
                CANARY: replace(then, candidate=replace(then.candidate, extra_work=share)),
            }
            bench = measure.Bench(accepted.id, versions, load, bay, setting, partial(_expect, self._shown, load))
            night = replace(night, load=load, kept_rate=kept, canary_share=share, seen=bench.seen)
            try:
                nights = hold_together(bench.measure, _TEST_ARMS, self._seed, self._asked.pairs)
            except MeasurementInvalid as error:
                return replace(night, why_invalid=str(error))
        return replace(night, nights=nights, self_test=selftest.judge(nights[TWIN], nights[CANARY]))


def _canary_share(seen: measure.Look) -> float:
    try:
        return selftest.extra_work(seen.service_ms, seen.compute_ms or 0.0)
    except ValueError as error:
        raise MeasurementInvalid(str(error)) from error


def _expect(shown: Display, load: Load, left: int, versions: int) -> None:
    """About how long the run still takes, for whoever watches."""
    each_s = load.block_s(versions) + versions * (measure.WARM_S + 0.7)
    shown.expect({f"block {number}": each_s for number in range(left)})


def _candidate(accepted: Accepted, prepared: PreparedModel) -> Candidate:
    instance = catalogue.local_instance(accepted.instance, environment.cpu(), psutil.virtual_memory().total, None)
    return Candidate(
        id=accepted.id,
        key=accepted.digest,
        model=prepared.spec,
        options=accepted.options,
        instance=instance,
        workers=accepted.workers,
    )


def _require_same_hardware(accepted: Baseline, now: Mapping[str, Any]) -> None:
    if baselines.hardware(accepted.environment) != baselines.hardware(now):
        names = [name for name in baselines.HARDWARE if accepted.environment.get(name) != now.get(name)]
        what = ", ".join(f"{name} {accepted.environment.get(name)} → {now.get(name)}" for name in names)
        raise MeasurementInvalid(
            f"baseline {accepted.id} was accepted on other hardware ({what}); run the gate there, or promote a baseline here"
        )


def _prepared(asked: GateRequest, accepted: Baseline, shown: Display, cancelled: Cancelled) -> PreparedModel:
    """Tonight's model, which must be the baseline's."""
    model = asked.model or accepted.model
    shown.now(f"preparing {Path(model).name}")
    cache, stored = default_cache(), baselines.model_folder(asked.baseline, accepted)
    prepared = intake.resolve(
        model,
        cache,
        payload_dir=stored / PAYLOADS if accepted.payloads_given else None,
        shapes=accepted.shapes,
        log=cache / "logs" / f"prepare-{os.getpid()}.log",
        cancelled=cancelled,
    )
    why = baselines.same_model(accepted, read_spec(stored), prepared.spec)
    if why is not None:
        raise UsageError(f"{why}; promote a baseline of this one, or gate the other")
    return prepared


def _name(model: str | None) -> str | None:
    """The name under which a model's baseline is kept: a file's is its stem."""
    if model is None:
        return None
    path = Path(model).expanduser()
    return path.stem if path.suffix and path.exists() else model


def _publish(document: dict[str, Any], folder: Path) -> None:
    for name, text in (
        (DOCUMENT, json.dumps(document, indent=1, allow_nan=False) + "\n"),
        ("junit.xml", junit.render(document)),
        ("summary.md", markdown.render(document)),
        ("gate.html", page.render(document)),
    ):
        write_atomically(folder / name, text)


def locked(folder: Path, model: str | None) -> int:
    """Print the packages a baseline was accepted with."""
    print(interpreter.requirements(baselines.current(folder, _name(model)).lock), end="")
    return 0
