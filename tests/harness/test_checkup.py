"""The check-up: what is fine is quiet, what is not says what to do, and nothing that the kernel hides is called fine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import lanes
from harness.checkup import Finding, Machine, Need, State, machine, needs

QUIET = Machine(
    cores=((0,), (1,), (2,), (3,)),
    online_cpus=4,
    quota_cpus=None,
    governor="performance",
    virtual=False,
    steal_share=0.0,
    busy_share=0.01,
    memory_bytes=16_000_000_000,
    memory_available_bytes=12_000_000_000,
    disk_free_bytes=90_000_000_000,
    cache="/cache",
)


def seen(**changed: object) -> dict[str, Finding]:
    told = replace(QUIET, **changed)  # type: ignore[arg-type]
    return {each.what: each for each in machine(told, lanes.plan_lanes(told.cores, 1, None))}


def test_a_quiet_machine_has_nothing_to_do() -> None:
    found = seen()
    assert {each.state for each in found.values()} == {State.OK}
    assert found["cores"].do == "2 lanes of one server core and one load core; instances up to local-3 can rank"


@pytest.mark.parametrize(
    ("changed", "what", "found", "do"),
    [
        ({"cores": ((0,),)}, "cores", "1 core of 4 CPUs online", "use two cores or more to rank"),
        ({"quota_cpus": 1.5}, "CPU quota", "1.5 of 4 CPUs", "--cpuset-cpus"),
        ({"cores": ((0, 2), (1, 3))}, "SMT", "2 threads a core", "keep other work off the siblings"),
        ({"governor": "powersave"}, "CPU governor", "powersave", "cpupower frequency-set -g performance"),
        ({"steal_share": 0.04}, "steal", "4.0 % in the last second", "the hypervisor takes time"),
        ({"steal_share": None}, "steal", "not told", "runs cannot be checked for it"),
        ({"busy_share": 0.5}, "other load", "50.0 % in the last second", "stop it before a bench"),
        ({"memory_available_bytes": 10**9}, "memory", "1.0 of 16.0 GB available", "close other programs"),
        ({"disk_free_bytes": 10**8}, "artifact cache", "0.1 GB free", "LOADSTONE_CACHE: /cache"),
    ],
)
def test_what_could_spoil_figures_says_what_to_do(changed: dict[str, object], what: str, found: str, do: str) -> None:
    told = seen(**changed)
    assert told[what].state is State.HINT
    assert told[what].found == found
    assert do in told[what].do
    assert all(each.state is State.OK for name, each in told.items() if name != what)


def test_a_quota_as_large_as_the_machine_and_an_unseen_governor_are_fine() -> None:
    found = seen(quota_cpus=4.0, governor=None, virtual=True)
    assert (found["CPU quota"].state, found["CPU quota"].found) == (State.OK, "4 CPUs")
    assert "not seen from a virtual machine" in found["CPU governor"].found
    assert "not told by the kernel" in seen(governor=None)["CPU governor"].found


def test_a_part_is_ready_or_says_the_command_that_brings_it() -> None:
    compiler = ("a C++ compiler", False, "apt install g++")
    found = list(
        needs(
            [
                Need(what="a", versions=(("torch", "2.13"), ("numba", "0.68")), extra="torch", ready="for x"),
                Need(what="b", versions=(("torch", None), ("numba", "0.68")), extra="torch", programs=(compiler,)),
                Need(what="c", versions=(("torch", "2.13"),), extra="torch", programs=(compiler,)),
                Need(what="d", versions=(("click", None),), extra="", ready="for y"),
                Need(what="e", versions=(), extra="", ready="a floor"),
            ]
        )
    )
    assert [(each.state.value, each.found, each.do) for each in found] == [
        ("ok", "ready", "torch 2.13, numba 0.68"),
        ("missing", "missing torch, a C++ compiler", "pip install 'loadstone[torch]'; apt install g++"),
        ("missing", "missing a C++ compiler", "apt install g++"),
        ("missing", "missing click", "pip install 'loadstone' (for y)"),
        ("ok", "ready", "a floor"),
    ]
