from __future__ import annotations

import os
import subprocess
import sys
import time

from harness.resources import ResourceMeter

BURN = "import time\nend = time.monotonic() + 30\nblock = bytearray(80_000_000)\nwhile time.monotonic() < end: pass"


def test_a_burning_process_shows_as_its_own_use() -> None:
    cpu = min(os.sched_getaffinity(0))
    with subprocess.Popen(["taskset", "-c", str(cpu), sys.executable, "-c", BURN]) as process:
        time.sleep(0.5)
        meter = ResourceMeter(process.pid, [cpu], [cpu]).start()
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
        meter = ResourceMeter(idle.pid, [cpu], [cpu]).start()
        time.sleep(1.2)
        use = meter.stop()
        burner.kill()
        idle.kill()
    assert use.foreign_share is not None
    assert use.foreign_share > 0.3


def test_a_process_that_is_gone_is_unmeasured_not_zero() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    use = ResourceMeter(done.pid, [0], [0]).start().stop()
    assert use.server_cpu_s is None
    assert use.peak_rss_bytes is None
    assert use.foreign_share is None
