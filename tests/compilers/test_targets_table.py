from __future__ import annotations

import re
from dataclasses import fields

import pytest

from compilers.targets import Target, identity, isa, resolve, tvm_target
from compilers.targets.table import cpu_facts, cpus_in_cpuinfo, names, rows, systems

# fmt: off
NEO = (
    "lambda", "ml_m4", "ml_m5", "ml_m6g", "ml_c4", "ml_c5", "ml_c6g", "ml_p2", "ml_p3", "ml_g4dn", "ml_inf1",
    "ml_inf2", "ml_trn1", "ml_eia2", "jetson_tx1", "jetson_tx2", "jetson_nano", "jetson_xavier", "rasp3b", "rasp4b",
    "imx8qm", "imx8mplus", "deeplens", "rk3399", "rk3288", "aisage", "sbe_c", "qcs605", "qcs603", "sitara_am57x",
    "jacinto_tda4vm", "amba_cv2", "amba_cv22", "amba_cv25", "x86_win32", "x86_win64", "coreml",
)
# fmt: on

# fmt: off
SINCE = (
    "graviton2", "graviton3", "graviton4", "zen3", "zen4", "zen5", "haswell", "skylake-avx512", "icelake",
    "sapphirerapids", "rasp5", "jetson_orin", "inf2", "trn1", "sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90",
    "sm_100", "sm_110", "sm_120",
)
# fmt: on


def test_all_of_neos_devices_and_no_others_are_marked() -> None:
    assert len(NEO) == 37
    assert {name for name, row in rows().items() if row.neo} == set(NEO)


@pytest.mark.parametrize("name", [*NEO, *SINCE])
def test_a_name_resolves_to_a_whole_target(name: str) -> None:
    target = resolve(name)
    assert target.name == names()[name]
    assert target.lanes >= 1
    assert target.vector_registers in (8, 16, 32)
    assert target.precisions[0] == "fp32"
    assert target.processor
    assert (target.builder == "") <= (target.why_not is not None), "what nothing builds for says why"


def test_no_name_is_taken_twice_and_every_row_has_a_source() -> None:
    every = [name for row in rows().values() for name in (row.name, *row.aliases)]
    assert len(every) == len(set(every))
    assert "host" not in every
    for row in rows().values():
        assert row.source
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row.date)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("rasp4b", {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72", "num-cores": 4}),
        (
            "rasp3b",
            {
                "kind": "llvm",
                "mtriple": "armv7l-linux-gnueabihf",
                "mcpu": "cortex-a53",
                "mattr": ["+neon"],
                "mfloat-abi": "hard",
                "num-cores": 4,
            },
        ),
        ("ml_c5", {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "skylake-avx512"}),
        (
            "jetson_tx2",
            {
                "kind": "cuda",
                "arch": "sm_62",
                "max_threads_per_block": 1024,
                "thread_warp_size": 32,
                "max_shared_memory_per_block": 49152,
                "registers_per_block": 32768,
                "host": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a57", "num-cores": 4},
            },
        ),
    ],
)
def test_tvm_gets_the_target_in_its_own_words(name: str, want: object) -> None:
    assert tvm_target(resolve(name)) == want


@pytest.mark.parametrize(
    ("name", "lanes", "registers", "precisions"),
    [
        ("zen3", 8, 16, ("fp32",)),
        ("zen4", 16, 32, ("fp32", "bf16", "int8")),
        ("haswell", 8, 16, ("fp32",)),
        ("skylake-avx512", 16, 32, ("fp32",)),
        ("icelake", 16, 32, ("fp32", "int8")),
        ("sapphirerapids", 16, 32, ("fp32", "fp16", "bf16", "int8")),
        ("deeplens", 4, 16, ("fp32",)),
        ("x86_win32", 4, 8, ("fp32",)),
        ("rasp3b", 4, 16, ("fp32",)),
        ("rasp4b", 4, 32, ("fp32",)),
        ("rasp5", 4, 32, ("fp32", "fp16", "int8")),
        ("graviton3", 4, 32, ("fp32", "fp16", "bf16", "int8")),
        ("sm_75", 8, 16, ("fp32", "fp16", "int8")),
        ("sm_90", 8, 16, ("fp32", "fp16", "bf16", "int8")),
    ],
)
def test_lanes_registers_and_precisions(name: str, lanes: int, registers: int, precisions: tuple[str, ...]) -> None:
    target = resolve(name)
    assert (target.lanes, target.vector_registers, target.precisions) == (lanes, registers, precisions)


def test_caches_are_those_of_one_core() -> None:
    assert (resolve("zen3").l1d_bytes, resolve("zen3").l2_bytes) == (32 << 10, 512 << 10)
    assert resolve("rasp4b").l2_bytes == (1 << 20) // 4  # 1 MiB for four cores
    assert resolve("linux-arm64").l2_bytes is None  # a platform does not say which


def test_aliases_share_an_identity_and_hardware_does_not() -> None:
    assert identity(resolve("zen3")) == identity(resolve("znver3"))
    assert identity(resolve("ml_c5")) == identity(resolve("skylake-avx512"))
    assert identity(resolve("ml_c5")) == identity(resolve("x86-64-v3", '{"mcpu": "skylake-avx512"}'))
    several = {str(identity(resolve(name))) for name in ("zen3", "zen4", "rasp4b", "rasp5", "rasp4b32", "sm_80")}
    assert len(several) == 6
    told = {"name", "processor", "why_not", "note"}
    assert set(identity(resolve("zen3"))) == {field.name for field in fields(Target)} - told


def test_every_cpu_of_the_table_is_one_that_llvm_knows() -> None:
    known = {name for arch in ("x86_64", "arm64", "armv7") for name in isa.cpu_names(arch)}
    for name in cpus_in_cpuinfo():
        assert name in known
        assert "words" in cpu_facts(name)
    for system in systems().values():
        assert isa.cpu_features(system.arch, system.cpu)
