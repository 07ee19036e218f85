from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from harness.kernel import TICKS_PER_S, Counters, CpuTimes, ThreadCounters
from harness.resources import ResourceMeter, Watched, interval

BURN = "import time\nend = time.monotonic() + 30\nblock = bytearray(80_000_000)\nwhile time.monotonic() < end: pass"


def alone(pid: int, cpu: int) -> Watched:
    """A server on one core that is a lane of its own."""
    return Watched(server_pid=pid, server_cpus=(cpu,), lane_cpus=(cpu,))


def test_a_burning_process_shows_as_its_own_use() -> None:
    cpu = min(os.sched_getaffinity(0))
    with subprocess.Popen(["taskset", "-c", str(cpu), sys.executable, "-c", BURN]) as process:
        time.sleep(0.5)
        meter = ResourceMeter(alone(process.pid, cpu)).start()
        time.sleep(1.2)
        use = meter.stop()
        process.kill()
    assert use.server_cpu_s is not None
    assert 0.2 < use.server_cpu_s <= 1.5
    assert use.peak_rss_bytes is not None
    assert use.peak_rss_bytes > 80_000_000
    assert use.steal_share is not None
    assert 0 <= use.steal_share < 1


def test_somebody_elses_use_of_the_core_is_foreign() -> None:
    cpu = min(os.sched_getaffinity(0))
    with (
        subprocess.Popen(["taskset", "-c", str(cpu), sys.executable, "-c", BURN]) as burner,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as idle,
    ):
        time.sleep(0.3)
        meter = ResourceMeter(alone(idle.pid, cpu)).start()
        time.sleep(1.2)
        use = meter.stop()
        burner.kill()
        idle.kill()
    assert use.foreign_share is not None
    assert use.foreign_share > 0.3


def test_a_process_that_is_gone_is_unmeasured_not_zero() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    use = ResourceMeter(alone(done.pid, 0)).start().stop()
    assert use.server_cpu_s is None
    assert use.peak_rss_bytes is None
    assert use.foreign_share is None


S = 1_000_000_000
SERVER, WORKER, GENERATOR = 10, 11, 20
WATCHED = Watched(server_pid=SERVER, server_cpus=(0,), lane_cpus=(0, 1), generator_pid=GENERATOR, generator_cpus=(1,))
FAMILIES = {SERVER: (SERVER, WORKER), GENERATOR: (GENERATOR,)}
BEFORE = Counters(
    monotonic_ns=5 * S,
    realtime_ns=1000 * S,
    cpus={0: CpuTimes(busy=0, steal=0, total=0), 1: CpuTimes(busy=0, steal=0, total=0)},
    threads={
        (SERVER, SERVER): ThreadCounters(cpu_ns=S, wait_ns=0, involuntary=5),
        (GENERATOR, GENERATOR): ThreadCounters(cpu_ns=0, wait_ns=0, involuntary=0),
    },
    major_faults={SERVER: 3},
    pressure_us={"cpu": 0, "memory": 0, "io": None},
    swap_ins=100,
    throttled=None,
)


def after() -> Counters:
    """Two seconds later: the server computed 0.5 s in two threads, others 0.1 s on its core."""
    ticks = TICKS_PER_S
    return replace(
        BEFORE,
        monotonic_ns=7 * S,
        realtime_ns=1002 * S,
        cpus={
            0: CpuTimes(busy=round(0.6 * ticks), steal=round(0.04 * ticks), total=2 * ticks),
            1: CpuTimes(busy=round(0.4 * ticks), steal=0, total=2 * ticks),
        },
        threads={
            (SERVER, SERVER): ThreadCounters(cpu_ns=S + 3 * S // 10, wait_ns=S // 10, involuntary=25),
            (WORKER, WORKER): ThreadCounters(cpu_ns=2 * S // 10, wait_ns=0, involuntary=0),
            (GENERATOR, GENERATOR): ThreadCounters(cpu_ns=4 * S // 10, wait_ns=2 * S // 100, involuntary=4),
        },
        major_faults={SERVER: 7},
        pressure_us={"cpu": 160_000, "memory": 20_000, "io": None},
        swap_ins=104,
    )


def test_an_interval_is_what_the_counters_grew_by() -> None:
    seen = interval(BEFORE, after(), WATCHED, FAMILIES)
    assert seen == {
        "steal": pytest.approx(0.01),
        "server_cpu": pytest.approx(0.25),
        "generator_cpu": pytest.approx(0.2),
        "server_foreign": pytest.approx(0.05),
        "generator_foreign": pytest.approx(0.0, abs=1e-9),
        "server_wait": pytest.approx(0.05),
        "generator_wait": pytest.approx(0.01),
        "server_switches": pytest.approx(10.0),
        "generator_switches": pytest.approx(2.0),
        "cpu_pressure": pytest.approx(0.02),  # 0.16 s less 0.12 s of our own waiting, of 2 s
        "memory_pressure": pytest.approx(0.01),
        "io_pressure": None,
        "major_faults": pytest.approx(2.0),
        "swap_ins": pytest.approx(2.0),
        "throttled": None,
        "clock_drift": pytest.approx(0.0),
    }


def test_a_wall_clock_that_steps_shows_and_changes_nothing_else() -> None:
    stepped = replace(after(), realtime_ns=1002 * S + 3600 * S)
    plain, seen = interval(BEFORE, after(), WATCHED, FAMILIES), interval(BEFORE, stepped, WATCHED, FAMILIES)
    assert seen.pop("clock_drift") == pytest.approx(1800e6)
    assert seen.items() <= plain.items()


def test_on_one_core_for_both_neither_is_foreign_to_the_other() -> None:
    shared = replace(WATCHED, server_cpus=(0, 1), generator_cpus=(1,))
    assert interval(BEFORE, after(), shared, FAMILIES)["server_foreign"] == pytest.approx((0.6 + 0.4 - 0.5 - 0.4) / 4)


def test_an_unnamed_generator_is_unmeasured() -> None:
    seen = interval(BEFORE, after(), replace(WATCHED, generator_pid=None, generator_cpus=()), {SERVER: (SERVER, WORKER)})
    assert {name for name, value in seen.items() if value is None} == {
        "generator_cpu",
        "generator_foreign",
        "generator_wait",
        "generator_switches",
        "io_pressure",
        "throttled",
    }


def test_a_meter_keeps_the_seconds_on_the_monotonic_clock() -> None:
    cpu = min(os.sched_getaffinity(0))
    begun = time.monotonic_ns()
    meter = ResourceMeter(
        Watched(
            server_pid=os.getpid(),
            server_cpus=(cpu,),
            lane_cpus=(cpu,),
            generator_pid=os.getpid(),
            generator_cpus=(cpu,),
        )
    ).start()
    time.sleep(1.4)
    use = meter.stop()
    assert use.seconds is not None
    assert len(use.seconds) == 2
    assert begun <= use.seconds.edges_ns[0] < use.seconds.edges_ns[-1] <= time.monotonic_ns()
    assert use.seconds.mean("steal") is not None
    assert use.seconds.mean("generator_switches") is not None


def test_a_last_moment_too_short_to_say_anything_is_left_out() -> None:
    use = ResourceMeter(alone(os.getpid(), 0)).start().stop()
    assert use.seconds is not None
    assert len(use.seconds) == 0
