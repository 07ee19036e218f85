"""`loadstone load`: one load on any http endpoint, measured as a bench measures its candidates."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compilers import payload_files, payloads
from harness import observe, remote, slo
from harness import phases as by_phase
from harness.commands import loadtext
from harness.commands.loadtext import Loaded
from harness.commands.run import cancellable
from harness.errors import InfrastructureError, UsageError
from harness.loadplan import IN_FLIGHT_CAP, plan_for
from harness.nouns import SLO, LoadProfile
from harness.records import RunRecord
from harness.remote import Address, Expectation
from harness.requestset import RequestSet, raw_requests, write_requests
from harness.resources import ResourceUse
from harness.workbench import LoadGenerator
from loadprofiles import registry
from loadprofiles import samples as sample_files
from loadprofiles.generator import Generator
from loadprofiles.plan import Plan, Reply
from loadprofiles.registry import Figures
from loadprofiles.samples import Samples

_DRAIN_S = 10.0
_OVERHEAD_S = 30.0
_EXIT = {by_phase.MET: 0, by_phase.MISSED: 1, by_phase.OPEN: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """The options of `loadstone load`, as given."""

    url: str
    profile: str
    figures: Figures
    seed: int = 0
    protocol: str | None = None
    payload: Path | None = None
    content_type: str | None = None
    headers: tuple[str, ...] = ()
    timeout_s: float = 30.0
    in_flight: int = IN_FLIGHT_CAP
    slo: str | None = None
    out: Path | None = None


Start = Callable[[Path], AbstractContextManager[LoadGenerator]]
"""Starts a load generator that logs to that path; leaving ends it."""


def _generator(log: Path) -> Generator:
    return Generator(None, log)


def load_url(asked: LoadRequest, *, as_json: bool, start: Start = _generator) -> int:
    """Measure one address under one load.

    0 when the run is valid (and the SLO met, if one was given), 1 when the SLO was missed, 4 when that cannot be told, 3 when
    the run is invalid or no request was answered well.
    """
    found = registry.find(asked.profile)
    profile = registry.build(asked.profile, found, asked.figures, asked.seed)
    limits = None if asked.slo is None else slo.parse(asked.slo)
    at = remote.address(asked.url)
    out = None if asked.out is None else _empty_folder(asked.out)
    with tempfile.TemporaryDirectory(prefix="loadstone-") as scratch:
        folder = Path(scratch)
        protocol, requests = _requests(asked, at, folder)
        expected = remote.expectation(protocol, remote.first_answers(at, requests, asked.timeout_s))
        plan = _plan(asked, profile, requests, expected, at, folder)
        _say(f"{asked.url}: {loadtext.planned(asked.profile, profile)}; a good answer has {expected}")
        with cancellable() as cancelled:
            with start(folder / "generator.log") as generator:
                reply = generator.run(plan, _deadline_s(plan), cancelled)
            samples = sample_files.read(Path(plan.samples))
        loaded = _seen(asked, profile, protocol, expected, reply, samples, limits)
        document = _document(loaded)
        if out is not None:
            _keep(out, folder, document)
    print(json.dumps(document, indent=1)) if as_json else loadtext.show(loaded)
    if not loaded.seen.validity.valid or not loaded.seen.succeeded:
        return InfrastructureError.exit_code
    return 0 if loaded.checks is None else _EXIT[by_phase.verdict(loaded.checks)]


def _requests(asked: LoadRequest, at: Address, folder: Path) -> tuple[str, RequestSet]:
    """The protocol, and the requests in it: the payloads given, or seeded ones where the endpoint says what it takes."""
    given, headers = asked.payload, remote.checked_headers(asked.headers)
    protocol = asked.protocol or remote.protocol_of(at.path, _suffixes(given))
    if protocol == remote.OIP:
        if asked.content_type is not None:
            raise UsageError("--content-type is for raw bodies; the Open Inference Protocol has its own")
        inputs = remote.declared_inputs(at, asked.timeout_s)
        made = payloads.seeded(inputs, seed=asked.seed) if given is None else payload_files.load(given, inputs)
        requests = write_requests(remote.model_path(at).removeprefix("/v2/models/"), made, folder / "requests")
    elif given is None:
        raise UsageError(
            f"{at.url}: what to send? Give --payload FILE or a folder of them; only an Open Inference Protocol "
            f"endpoint (http://HOST:PORT/v2/models/NAME) says what it takes"
        )
    else:
        as_json = protocol == remote.JSON
        requests = raw_requests(at.path, given, as_json=as_json, content_type=asked.content_type)
    kept = {name: value for name, value in requests.headers.items() if name.lower() not in {each.lower() for each in headers}}
    return protocol, RequestSet(path=requests.path, headers={**kept, **headers}, bodies=requests.bodies)


def _suffixes(given: Path | None) -> list[str]:
    if given is None:
        return []
    if not given.exists():
        raise UsageError(f"--payload {given}: no such file or folder")
    return [given.suffix] if given.is_file() else [each.suffix for each in given.glob("[!.]*") if each.is_file()]


def _plan(
    asked: LoadRequest, profile: LoadProfile, requests: RequestSet, expected: Expectation, at: Address, folder: Path
) -> Plan:
    """Orders for the generator; every request ends within its time-out, or the drain's."""
    plan, _ = plan_for(
        profile,
        requests,
        (at.host, at.port),
        folder / "plan",
        "load",
        samples=folder / "samples.bin",
        drain_timeout_s=max(_DRAIN_S, asked.timeout_s),
        request_timeout_s=asked.timeout_s,
        in_flight_cap=asked.in_flight,
        # Whoever confines the command to one core of several has kept it free.
        own_core=len(os.sched_getaffinity(0)) == 1 and (os.cpu_count() or 1) > 1,
        expect_status=expected.status,
        expect_body_bytes=expected.body_bytes,
        expect_body=expected.body,
        expect_outputs=expected.outputs,
    )
    return plan


def _deadline_s(plan: Plan) -> float:
    """After which the generator itself must be stuck."""
    return plan.duration_s + plan.drain_timeout_s + plan.request_timeout_s + _OVERHEAD_S


def _seen(
    asked: LoadRequest,
    profile: LoadProfile,
    protocol: str,
    expected: Expectation,
    reply: Reply,
    samples: Samples,
    limits: SLO | None,
) -> Loaded:
    """What the samples say; of the server's own CPU and memory nothing is known."""
    unknown = ResourceUse(
        wall_s=profile.duration_s, server_cpus=1, server_cpu_s=None, peak_rss_bytes=None, steal_share=None, foreign_share=None
    )
    run = RunRecord(kind="load", profile=profile, reply=reply, resources=unknown, samples="samples.bin")
    found = registry.find(asked.profile)
    return Loaded(
        url=asked.url,
        protocol=protocol,
        profile_name=asked.profile,
        question=found.question,
        headline=found.headline,
        expected=str(expected),
        seen=observe.measurement(run, samples, None),
        reply=reply,
        phases=by_phase.phases(samples, profile, reply.start_ns),
        checks=None if limits is None else by_phase.check(samples, limits),
    )


def _document(loaded: Loaded) -> dict[str, Any]:
    """What --json prints and --out keeps."""
    reply = loaded.reply
    return {
        "url": loaded.url,
        "protocol": loaded.protocol,
        "profile_name": loaded.profile_name,
        "question": loaded.question,
        "headline": loadtext.headline(loaded.headline, loaded.seen),
        "expected": loaded.expected,
        **asdict(loaded.seen),
        "errors": reply.errors,
        "reconnects": reply.connections_opened_in_window,
        "generator": {
            "cpu_share": loadtext.cpu_share(reply),
            "loop_lag_p99_ms": reply.loop_lag_p99_ms,
            "max_in_flight": reply.max_in_flight,
        },
        "phases": [asdict(each) for each in loaded.phases],
        "slo": None
        if loaded.checks is None
        else {"verdict": by_phase.verdict(loaded.checks), "limits": [asdict(each) for each in loaded.checks]},
    }


def _empty_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        taken = any(out.iterdir())
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; give a folder that can be made") from error
    if taken:
        raise UsageError(f"--out {out} is not empty; give a new folder")
    return out


def _keep(out: Path, folder: Path, document: dict[str, Any]) -> None:
    """result.json, the raw samples, and the schedule that made them."""
    shutil.copy(folder / "samples.bin", out / "samples.bin")
    for each in (folder / "plan").glob("*.npy"):
        shutil.copy(each, out / each.name.removeprefix("load."))
    (out / "result.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
