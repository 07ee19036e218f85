"""The generator process against a real server, well-behaved and not: everything planned is accounted for, truthfully."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.errors import InfrastructureError, Interrupted, MeasurementInvalid
from loadprofiles import samples, schedule
from loadprofiles.generator import Generator
from loadprofiles.plan import Plan, Reply, StopRule
from loadprofiles.registry import profile
from tests.loadprofiles.server import Server, serving

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    with Generator(None, tmp_path_factory.mktemp("generator") / "log") as started:
        yield started


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


@dataclass
class Load:
    """Makes plans against one server, runs them and reads the samples back."""

    generator: Generator
    port: int
    folder: Path
    own_core: bool = False

    def plan(self, behaviour: str, *, rate: float = 200, duration: float = 0.5, users: int | None = None, **more: Any) -> Plan:
        order, arrivals, body = (str(self.folder / name) for name in ("order.npy", "arrivals.npy", "body"))
        Path(body).write_bytes(b"x" * more.pop("body_bytes", 100))
        fields: dict[str, Any] = {"connections": 32, "in_flight_cap": 32, "expect_body_bytes": 10, "own_core": self.own_core}
        if users is None:
            offsets = schedule.arrivals(profile("steady", duration_s=duration, rate_per_s=rate))
            np.save(arrivals, offsets)
            fields["arrivals"] = arrivals
        else:
            offsets = np.zeros(64, np.int64)
            fields |= {"users": users, "connections": users}
            if changes := more.pop("changes", None):
                np.save(self.folder / "changes.npy", np.array(changes, np.int64))
                fields["changes"] = str(self.folder / "changes.npy")
        np.save(order, schedule.payload_order(0, len(offsets), 1))
        return Plan(
            host="127.0.0.1",
            port=self.port,
            path=f"/{behaviour}",
            headers={"Content-Type": "application/octet-stream"},
            bodies=(body,),
            order=order,
            samples=str(self.folder / f"samples-{time.monotonic_ns()}"),
            duration_s=duration,
            **{**fields, **more},
        )

    def run(self, behaviour: str, **more: Any) -> tuple[Reply, Any]:
        plan = self.plan(behaviour, **more)
        reply = self.generator.run(plan, DEADLINE_S)
        records = samples.read(Path(plan.samples))
        check(reply, records)
        return reply, records


def check(reply: Reply, records: Any) -> None:
    """What must hold of every run, however it went."""
    assert reply.contradiction() is None
    assert len(records) == reply.planned
    counts = np.bincount(records["outcome"], minlength=4).tolist()
    assert counts == [reply.succeeded, reply.failed, reply.dropped, reply.undrained]
    sent = records[records["outcome"] != samples.DROPPED]
    done = sent[sent["outcome"] != samples.UNDRAINED]
    assert np.all(sent["due_ns"] <= sent["sent_ns"])
    assert np.all(done["sent_ns"] <= done["done_ns"])
    assert np.all(records["due_ns"] >= reply.start_ns)
    assert sum(reply.errors.values()) == reply.failed + reply.undrained
    if not reply.undrained:
        assert reply.in_flight_integral_ns == int((done["done_ns"] - done["sent_ns"]).sum())
    assert reply.cpu_s > 0
    assert reply.run_queue_wait_s is None or reply.run_queue_wait_s >= 0


@pytest.fixture(params=[False, True], ids=["sleeping", "polling"])
def load(generator: Generator, server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Load:
    return Load(generator, server.port, tmp_path, own_core=request.param)


@pytest.mark.parametrize("behaviour", ["good", "chunked", "interim", "timed"])
def test_good_replies_succeed_on_the_connections_opened_before(load: Load, server: Server, behaviour: str) -> None:
    reply, records = load.run(behaviour)
    assert (reply.planned, reply.succeeded, reply.connections_opened_in_window, reply.errors) == (100, 100, 0, {})
    assert server.accepted == 32
    assert server.received == [100] * 100
    assert np.all(records["status"] == 200)
    assert np.all(records["bytes"] == 10)
    timing = (250, 1500) if behaviour == "timed" else (-1, -1)
    assert {(int(each["queue_us"]), int(each["compute_us"])) for each in records} == {timing}
    offsets = np.sort(records["due_ns"]) - reply.start_ns
    assert np.array_equal(offsets, schedule.arrivals(profile("steady", duration_s=0.5, rate_per_s=200)))
    assert reply.window_ns == 500_000_000
    assert reply.loop_lag_p99_ms is not None


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        ("busy", "status 503"),
        ("short", "body of 3 bytes instead of 10"),
        ("garbage", "malformed reply"),
        ("truncated", "connection closed in the middle of a reply"),
        ("truncated-chunks", "connection closed in the middle of a reply"),
        ("truncated-head", "connection closed without a reply"),
        ("no-reply", "connection closed without a reply"),
        ("reset", "connection broke"),
        ("surplus", "more than one reply to one request"),
    ],
)
def test_bad_replies_fail_and_say_why(load: Load, behaviour: str, error: str) -> None:
    reply, _ = load.run(behaviour)
    assert (reply.succeeded, reply.failed) == (0, 100)
    assert all(kind.startswith(error) for kind in reply.errors)


@pytest.mark.parametrize("behaviour", ["closes", "until-eof"])
def test_a_reply_that_ends_its_connection_is_good_and_the_reconnect_is_counted(load: Load, behaviour: str) -> None:
    reply, _ = load.run(behaviour)
    assert reply.succeeded == 100
    assert reply.connections_opened_in_window >= 60


def test_connections_closed_behind_our_back_are_replaced_and_nothing_is_sent_twice(load: Load, server: Server) -> None:
    reply, _ = load.run("closes-silently")
    assert reply.succeeded + reply.failed == 100
    assert reply.succeeded >= 90
    assert len(server.received) <= 100


def test_replies_that_never_come_time_out(load: Load) -> None:
    reply, records = load.run("never", rate=40, request_timeout_s=0.2)
    assert reply.failed == 20
    assert reply.errors == {"no reply within 0.2 s": 20}
    waited_ms = (records["done_ns"] - records["sent_ns"]) / 1e6
    assert waited_ms.min() >= 200


def test_the_drain_waits_for_late_replies(load: Load) -> None:
    reply, _ = load.run("slow-300", rate=100, duration=0.2, drain_timeout_s=5)
    assert reply.succeeded == 20
    assert reply.active_ns > 400_000_000


def test_what_the_drain_does_not_see_is_undrained(load: Load) -> None:
    reply, records = load.run("never", rate=100, duration=0.2, drain_timeout_s=0.3)
    assert (reply.undrained, reply.succeeded) == (20, 0)
    assert np.all(records["done_ns"] == samples.ABSENT_NS)
    assert 0.4e9 < reply.active_ns < 2e9


def test_what_is_due_above_the_cap_is_dropped(load: Load, server: Server) -> None:
    reply, records = load.run("slow-400", rate=100, duration=0.3, in_flight_cap=4, connections=4)
    assert (reply.succeeded, reply.dropped, reply.max_in_flight) == (4, 26, 4)
    assert len(server.received) == 4
    dropped = records[records["outcome"] == samples.DROPPED]
    assert np.all(dropped["sent_ns"] == samples.ABSENT_NS)


def test_open_loop_sees_a_stall_that_a_closed_loop_hides(load: Load, server: Server) -> None:
    cap = {"connections": 64, "in_flight_cap": 64}
    reply, records = load.run("stall", rate=50, duration=1, **cap)
    assert reply.succeeded == 50
    records = np.sort(records, order="due_ns")
    latency_ms = (records["done_ns"] - records["due_ns"]) / 1e6
    release_ns = records["sent_ns"][0] + server.stall_s * 1e9
    # The server may be a little late to begin its stall, the same for all; beyond that they wait as long as the schedule says.
    behind_ms = latency_ms - (release_ns - records["due_ns"]) / 1e6
    assert 0 <= np.median(behind_ms) < 250
    assert np.abs(behind_ms - np.median(behind_ms)).max() < 50
    assert 400 < np.median(latency_ms - np.median(behind_ms)) < 600
    with serving() as other:
        closed = replace(load, port=other.port)
        _, hidden = closed.run("stall", users=1, duration=1.3)
    assert np.median(hidden["done_ns"] - hidden["due_ns"]) < 20e6
    assert (hidden["done_ns"] - hidden["due_ns"] > 500e6).sum() == 1


def test_polling_is_no_work(load: Load) -> None:
    reply, _ = load.run("good", rate=100, duration=1.0)
    assert reply.succeeded == 100
    assert reply.cpu_peak is not None
    assert reply.cpu_peak < 0.5
    assert reply.cpu_s < 0.5


def test_closed_loop_keeps_each_user_busy(load: Load, server: Server) -> None:
    reply, records = load.run("slow-20", users=4, duration=0.5)
    assert reply.failed == 0
    assert reply.max_in_flight == 4
    assert 40 <= reply.planned <= 4 * 26
    assert np.array_equal(records["due_ns"], records["sent_ns"])
    assert server.accepted == 4
    assert records["sent_ns"].max() < reply.start_ns + reply.window_ns


def test_closed_loop_on_a_server_that_resets_is_bounded_and_counted(load: Load) -> None:
    reply, _ = load.run("reset", users=4, duration=0.4)
    assert reply.succeeded == 0
    assert 4 <= reply.failed <= 4 * 25


def test_users_join_and_leave_when_the_plan_says(load: Load) -> None:
    ms = 1_000_000
    changes = [[0, 1], [200 * ms, 3], [400 * ms, -2], [500 * ms, -2], [500 * ms, 1], [700 * ms, 4]]
    reply, records = load.run("slow-10", users=5, duration=0.9, changes=changes)
    assert (reply.failed, reply.max_in_flight) == (0, 5)
    middles_ms = [(100, 1), (300, 4), (450, 2), (600, 1), (800, 5)]
    for at_ms, users in middles_ms:
        # A user that leaves ends its request first; 20 ms around the middle nobody comes or goes.
        at_ns = reply.start_ns + at_ms * ms
        open_then = (records["sent_ns"] <= at_ns) & (records["done_ns"] > at_ns)
        assert users - 1 <= open_then.sum() <= users, f"at {at_ms} ms"
    in_gap = (records["sent_ns"] > reply.start_ns + 530 * ms) & (records["sent_ns"] < reply.start_ns + 690 * ms)
    assert 8 <= in_gap.sum() <= 17  # one user, 10 ms each


def test_all_users_may_leave_and_come_back(load: Load) -> None:
    ms = 1_000_000
    reply, records = load.run("good", users=2, duration=0.4, changes=[[0, 2], [100 * ms, -2], [300 * ms, 2]])
    offsets = records["sent_ns"] - reply.start_ns
    assert not np.any((offsets > 130 * ms) & (offsets < 300 * ms))
    assert (offsets > 300 * ms).sum() > 2
    assert reply.window_ns == 400 * ms


def test_users_who_rest_after_an_error_may_leave_too(load: Load) -> None:
    ms = 1_000_000
    reply, records = load.run("reset", users=4, duration=0.5, changes=[[0, 4], [200 * ms, -4]])
    offsets = records["sent_ns"] - reply.start_ns
    assert reply.failed == reply.planned > 4
    assert offsets.max() < 230 * ms


@pytest.mark.parametrize("changes", [[[0, 3]], [[0, 1], [5, -2]], [[5, 1], [0, 1]]])
def test_changes_that_do_not_fit_are_an_error(load: Load, changes: list[list[int]]) -> None:
    with pytest.raises(InfrastructureError, match="the load plan's users are not in order, or not 0 to 2 at a time"):
        load.run("good", users=2, changes=changes)


def test_a_closed_loop_ends_after_its_requests(load: Load, server: Server) -> None:
    reply, records = load.run("slow-5", users=4, duration=20, requests=50)
    assert (reply.planned, reply.succeeded, reply.max_in_flight) == (50, 50, 4)
    assert len(server.received) == 50
    assert reply.active_ns < 5e9
    assert len(records) == 50


@pytest.mark.parametrize(
    ("behaviour", "expect", "error"),
    [
        ("empty", {"expect_body": "some"}, "empty body"),
        ("empty", {"expect_body_bytes": 10}, "empty body"),
        ("good", {"expect_body": "json"}, "body is not a JSON document"),
        ("cut-json", {"expect_body": "json"}, "body is not a JSON document"),
        ("truncated", {"expect_body": "some"}, "connection closed in the middle of a reply"),
        ("json", {"expect_body": "json", "expect_outputs": ""}, "body has no outputs of the Open Inference Protocol"),
        ("oip-other", {"expect_body": "json", "expect_outputs": "y FP32 1x2"}, "outputs y FP32 1x3 instead of y FP32 1x2"),
    ],
)
def test_bodies_that_are_not_what_was_promised_fail(load: Load, behaviour: str, expect: dict[str, Any], error: str) -> None:
    reply, _ = load.run(behaviour, rate=100, duration=0.2, **{"expect_body_bytes": None, **expect})
    assert (reply.succeeded, reply.failed) == (0, 20)
    assert reply.errors == {error: 20}


def test_good_documents_succeed(load: Load) -> None:
    for behaviour, outputs in (("json", None), ("oip", ""), ("oip", "y FP32 1x2")):
        reply, _ = load.run(
            behaviour, rate=100, duration=0.2, expect_body_bytes=None, expect_body="json", expect_outputs=outputs
        )
        assert (reply.succeeded, reply.errors) == (20, {})


def test_a_share_of_faults_is_counted_as_such_and_the_others_are_good(load: Load) -> None:
    more = {"expect_body_bytes": None, "expect_body": "some"}
    reply, records = load.run("every-other-empty", users=1, duration=5, requests=100, **more)
    assert (reply.succeeded, reply.errors) == (50, {"empty body": 50})
    assert set(records["bytes"][records["outcome"] == samples.FAILED]) == {0}


def test_a_large_body_arrives_whole_and_does_not_hold_up_the_schedule(load: Load, server: Server) -> None:
    reply, records = load.run("good", rate=20, duration=0.5, body_bytes=3_000_000)
    assert reply.succeeded == 10
    assert server.received == [3_000_000] * 10
    assert np.median(records["sent_ns"] - records["due_ns"]) < 20e6


def test_enough_violations_end_the_run_early(load: Load) -> None:
    reply, _ = load.run("slow-30", rate=100, duration=3, stop_after=StopRule(limit_ms=10, count=5))
    assert reply.stopped_early
    assert 5 <= reply.planned < 100
    assert reply.window_ns < 2e9


def test_an_empty_schedule_is_a_run_of_nothing(load: Load, tmp_path: Path) -> None:
    plan = load.plan("good")
    np.save(tmp_path / "none.npy", np.empty(0, np.int64))
    reply = load.generator.run(replace(plan, arrivals=str(tmp_path / "none.npy")), DEADLINE_S)
    assert (reply.planned, reply.contradiction()) == (0, None)


def test_a_server_that_is_not_there_is_an_error_and_the_next_plan_runs(load: Load) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    pid = load.generator.pid
    with pytest.raises(InfrastructureError, match=f"cannot open connection 1 of 32 to 127.0.0.1:{port}: Connection refused"):
        load.generator.run(replace(load.plan("good"), port=port), DEADLINE_S)
    assert load.run("good")[0].succeeded == 100
    assert load.generator.pid == pid


def test_files_that_do_not_fit_are_an_error(load: Load, tmp_path: Path) -> None:
    plan = load.plan("good")
    with pytest.raises(InfrastructureError, match="cannot open the load plan's files"):
        load.generator.run(replace(plan, order=str(tmp_path / "absent.npy")), DEADLINE_S)
    np.save(tmp_path / "few.npy", np.zeros(3, np.uint16))
    with pytest.raises(InfrastructureError, match="does not cover"):
        load.generator.run(replace(plan, order=str(tmp_path / "few.npy")), DEADLINE_S)
    np.save(tmp_path / "unsorted.npy", np.array([5, 1], np.int64))
    with pytest.raises(InfrastructureError, match="not in order"):
        load.generator.run(replace(plan, arrivals=str(tmp_path / "unsorted.npy")), DEADLINE_S)


def test_samples_of_several_runs_share_a_file_and_survive_a_torn_tail(load: Load) -> None:
    plan = load.plan("good")
    for _ in range(2):
        load.generator.run(plan, DEADLINE_S)
    path = Path(plan.samples)
    assert len(samples.read(path)) == 200
    path.write_bytes(path.read_bytes()[:-7])
    assert len(samples.read(path)) == 100


def started_run(load: Load, plan: Plan, errors: list[BaseException]) -> threading.Thread:
    def target() -> None:
        try:
            load.generator.run(plan, DEADLINE_S)
        except (InfrastructureError, MeasurementInvalid) as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_a_killed_generator_is_an_error_and_leaves_what_it_had_written(server: Server, tmp_path: Path) -> None:
    with Generator(None, tmp_path / "log") as generator:
        load = Load(generator, server.port, tmp_path)
        plan = load.plan("good", rate=200, duration=20)
        pid = generator.pid
        assert pid is not None
        errors: list[BaseException] = []
        thread = started_run(load, plan, errors)
        end = time.monotonic() + 10
        while not (Path(plan.samples).exists() and len(samples.read(Path(plan.samples)))) and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        thread.join(10)
        assert "killed by SIGKILL" in str(errors[0])
        assert not psutil.pid_exists(pid)
        assert 100 < len(samples.read(Path(plan.samples))) < 2400
        assert load.run("good")[0].succeeded == 100  # by a new one


def test_a_run_that_takes_too_long_is_invalid_and_ended(server: Server, tmp_path: Path) -> None:
    with Generator(None, tmp_path / "log") as generator:
        plan = Load(generator, server.port, tmp_path).plan("good", duration=20)
        pid = generator.pid
        with pytest.raises(MeasurementInvalid, match=r"did not finish within 0\.5 s"):
            generator.run(plan, 0.5)
        assert pid is not None
        assert not psutil.pid_exists(pid)
        with pytest.raises(Interrupted):
            generator.run(plan, DEADLINE_S, cancelled=lambda: True)
        assert generator.pid is None


def test_a_full_disk_is_an_error_that_says_so(server: Server, tmp_path: Path) -> None:
    with Generator(None, tmp_path / "log") as generator:
        plan = Load(generator, server.port, tmp_path).plan("good")
        with pytest.raises(InfrastructureError, match="No space left on device"):
            generator.run(replace(plan, samples="/dev/full"), DEADLINE_S)
        assert generator.pid is None


def test_closing_ends_the_process(tmp_path: Path) -> None:
    with Generator(None, tmp_path / "log") as generator:
        pid = generator.pid
        assert pid is not None
        started = time.monotonic()
    assert not psutil.pid_exists(pid)
    assert time.monotonic() - started < 1.5
    generator.close()


def test_a_generator_that_was_held_up_confesses(server: Server, tmp_path: Path) -> None:
    with Generator(None, tmp_path / "log") as generator:
        load = Load(generator, server.port, tmp_path)
        plan = load.plan("good", rate=100, duration=1.5)
        replies: list[Reply] = []
        thread = threading.Thread(target=lambda: replies.append(generator.run(plan, DEADLINE_S)))
        thread.start()
        time.sleep(0.6)
        assert generator.pid is not None
        os.kill(generator.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(generator.pid, signal.SIGCONT)
        thread.join(DEADLINE_S)
        records = samples.read(Path(plan.samples))
        check(replies[0], records)
        late_ms = (records["sent_ns"] - records["due_ns"]) / 1e6
        assert replies[0].planned == 150  # late, but none left out
        assert (late_ms > 50).sum() >= 20
        assert replies[0].loop_lag_p99_ms is not None
        assert replies[0].loop_lag_p99_ms > 150
