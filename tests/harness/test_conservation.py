"""Nothing is lost and time adds up, on live runs of every kind: with failures, resets, drops, silence, open and closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import measurement, observe
from harness.nouns import LoadProfile
from harness.records import RunRecord
from harness.resources import ResourceUse
from loadprofiles import samples, schedule
from loadprofiles.generator import Generator
from loadprofiles.plan import Plan
from loadprofiles.samples import UNDRAINED, Samples
from tests.loadprofiles.server import serving

RATE_PER_S, RUN_S = 200.0, 0.5


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    with Generator(None, tmp_path_factory.mktemp("generator") / "log") as started:
        yield started


def drive(generator: Generator, folder: Path, behaviour: str, users: int | None, **more: Any) -> tuple[RunRecord, Samples]:
    if users is None:
        load = LoadProfile(arrivals="poisson", duration_s=RUN_S, seed=3, rate_per_s=RATE_PER_S)
    else:
        load = LoadProfile(arrivals="closed", duration_s=RUN_S, seed=3, users=users)
    due = np.zeros(8, np.int64) if users else schedule.arrivals(load)
    np.save(folder / "due.npy", due)
    np.save(folder / "order.npy", schedule.payload_order(0, len(due), 1))
    (folder / "body").write_bytes(b"x" * 100)
    fields: dict[str, Any] = {"connections": users or 200, "users": users}
    if users is None:
        fields |= {"arrivals": str(folder / "due.npy"), "in_flight_cap": 200}
    with serving() as server:
        plan = Plan(
            host="127.0.0.1",
            port=server.port,
            path=f"/{behaviour}",
            headers={"Content-Type": "application/octet-stream"},
            bodies=(str(folder / "body"),),
            order=str(folder / "order.npy"),
            samples=str(folder / "samples.bin"),
            duration_s=RUN_S,
            expect_body_bytes=10,
            **{**fields, **more},
        )
        reply = generator.run(plan, 30.0)
    nothing = ResourceUse(
        wall_s=RUN_S, server_cpus=1, server_cpu_s=None, peak_rss_bytes=None, steal_share=None, foreign_share=None
    )
    record = RunRecord(kind="load", profile=load, reply=reply, resources=nothing, samples="samples.bin")
    return record, samples.read(folder / "samples.bin")


def void(record: RunRecord, made: Samples) -> list[str]:
    """The reasons that concern counts and Little's law."""
    reasons = observe.measurement(record, made, None).validity.reasons
    return [reason for reason in reasons if "disagree" in reason or "Little" in reason]


KINDS: dict[str, tuple[str, int | None, dict[str, Any]]] = {
    "answered": ("slow-20", None, {}),
    "failed": ("busy", None, {}),
    "reset": ("reset", None, {}),
    "reconnecting": ("closes", None, {}),
    "timed out": ("never", None, {"request_timeout_s": 0.2}),
    "never answered": ("never", None, {"drain_timeout_s": 0.2}),
    "dropped": ("slow-100", None, {"in_flight_cap": 4, "connections": 4}),
    "closed": ("slow-20", 4, {}),
    "closed, never answered": ("never", 4, {"drain_timeout_s": 0.2}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_times_in_service_add_up_to_the_requests_in_flight(generator: Generator, tmp_path: Path, kind: str) -> None:
    behaviour, users, more = KINDS[kind]
    record, made = drive(generator, tmp_path, behaviour, users, **more)
    reply = record.reply
    assert reply.planned == reply.succeeded + reply.failed + reply.dropped + reply.undrained == len(made)
    assert void(record, made) == []
    ended = np.where(made["outcome"] == UNDRAINED, reply.start_ns + reply.active_ns, made["done_ns"])
    sent = made["sent_ns"] >= 0
    assert int((ended - made["sent_ns"])[sent].sum()) == reply.in_flight_integral_ns
    told = {"timed out": reply.failed, "never answered": reply.undrained, "dropped": reply.dropped}
    assert told.get(kind, 1) > 0


@pytest.mark.parametrize("kind", ["answered", "never answered", "closed"])
def test_times_that_do_not_add_up_are_found(generator: Generator, tmp_path: Path, kind: str) -> None:
    behaviour, users, more = KINDS[kind]
    record, made = drive(generator, tmp_path, behaviour, users, **more)
    wrong = replace(record.reply, in_flight_integral_ns=round(1.05 * record.reply.in_flight_integral_ns))
    assert [reason.split(":")[0] for reason in void(replace(record, reply=wrong), made)] == ["Little's law fails"]
    assert any("are recorded" in reason for reason in void(record, made[1:]))


def test_the_seconds_of_a_live_run_are_told(generator: Generator, tmp_path: Path) -> None:
    record, made = drive(generator, tmp_path, "good", None)
    mine, machine, sending = observe.timelines(record, made)
    assert len(mine) == len(sending) == 1
    assert set(mine.values) == {"loop_lag_ms", "generator_cpu", "run_queue_wait"}
    assert len(machine) == 0
    assert sending.seconds("dropped") == (0.0,)
    assert sending.mean("lateness_ms") == pytest.approx(measurement.lateness_ms(made)["p99"], rel=0.5)
