"""The kernel's files, as it writes them and as it does not."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from harness import kernel
from harness.kernel import CpuTimes, Reader, ThreadCounters

STAT = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 40 5 6 7 8 0 0\ncpu11 10 0 0 90 0 0 0 0 0 0\nintr 5 1\n"
PSI = "some avg10=2.00 avg60=3.85 avg300=4.04 total=49824522\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def test_cpu_times_are_by_cpu_and_leave_out_their_sum() -> None:
    assert kernel.parse_cpus(STAT) == {
        0: CpuTimes(busy=1 + 2 + 3 + 6 + 7, steal=8, total=1 + 2 + 3 + 40 + 5 + 6 + 7 + 8),
        11: CpuTimes(busy=10, steal=0, total=100),
    }
    assert kernel.parse_cpus("") == {}


@pytest.mark.parametrize(("text", "total"), [(PSI, 49824522), ("full avg10=0 total=7\n", None), ("", None), (None, None)])
def test_pressure_is_the_total_of_some(text: str | None, total: int | None) -> None:
    assert kernel.parse_pressure(text) == total


def test_a_thread_needs_both_of_its_files() -> None:
    status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n"
    assert kernel.parse_thread("100 20 5\n", status) == ThreadCounters(cpu_ns=100, wait_ns=20, involuntary=3)
    assert kernel.parse_thread(None, status) is None
    assert kernel.parse_thread("100 20 5\n", None) is None
    assert kernel.parse_thread("\n", status) is None


def group(mount: Path, path: str, throttled: int | None) -> None:
    folder = mount / path
    folder.mkdir(parents=True, exist_ok=True)
    if throttled is not None:
        (folder / "cpu.stat").write_text(f"nr_periods 9\nnr_throttled {throttled}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_throttling_counts_in_every_cgroup_above_a_process(tmp_path: Path, version: int) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "cgroups"
    for name in ("self", "7", "8"):
        (proc / name).mkdir(parents=True)
    kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,cpu,cpuacct"
    (proc / "self" / "mountinfo").write_text(f"30 24 0:26 / {mount} rw,nosuid shared:9 - {kind}\n")
    prefix = "0::" if version == 2 else "4:cpu,cpuacct:"
    (proc / "7" / "cgroup").write_text(f"9:cpuset:/elsewhere\n{prefix}/pod/server\n")
    (proc / "8" / "cgroup").write_text(f"{prefix}/pod/generator\n")
    group(mount, "pod", 5)
    group(mount, "pod/server", 2)
    group(mount, "pod/generator", None)
    group(mount, ".", None)
    found = kernel.quota_files([7, 8], proc)
    assert set(found) == {mount / "pod" / "cpu.stat", mount / "pod" / "server" / "cpu.stat"}
    assert kernel.quota_files([9], proc) == ()


def test_a_kernel_that_tells_nothing_is_unknown_not_zero(tmp_path: Path) -> None:
    read = Reader([os.getpid()], proc=tmp_path).read()
    assert (read.cpus, read.threads, read.major_faults) == ({}, {}, {})
    assert (read.swap_ins, read.throttled) == (None, None)
    assert set(read.pressure_us.values()) == {None}


def test_threads_of_a_live_process_are_read_and_only_grow() -> None:
    reader = Reader([os.getpid()])
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        before = reader.read()
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass
        after = reader.read()
    finally:
        done.set()
        thread.join()
    me = (os.getpid(), threading.get_native_id())
    assert (os.getpid(), thread.native_id) in after.threads
    assert after.threads[me].cpu_ns - before.threads[me].cpu_ns > 10_000_000
    assert after.major_faults[os.getpid()] >= before.major_faults[os.getpid()]
    assert after.monotonic_ns > before.monotonic_ns


def test_a_process_that_is_gone_has_no_counters() -> None:
    assert Reader([2**22 - 1]).read().threads == {}
