from __future__ import annotations

from pathlib import Path

import pytest

from compilers.targets import resolve
from compilers.targets.host import detect

V2 = "fpu sse sse2 ht pni ssse3 sse4_1 sse4_2 cx16 lahf_lm popcnt"
V3 = f"{V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave adx sha_ni vaes vpclmulqdq gfni"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512ifma avx512vbmi avx512_vbmi2 avx512_bitalg"
V4 += " avx512_vpopcntdq"
AMX = f"{V4} avx_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16"


def x86(vendor: str, family: int, model: int, flags: str, *, processors: int = 2) -> str:
    one = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: A CPU\nflags\t\t: {flags}\n"
    return "\n".join(f"processor\t: {number}\n{one}" for number in range(processors))


def arm(implementer: str, part: str, features: str, processors: int = 4) -> str:
    one = f"Features\t: {features}\nCPU implementer\t: {implementer}\nCPU architecture: 8\nCPU part\t: {part}\n"
    return "\n".join(f"processor\t: {number}\nBogoMIPS\t: 108.00\n{one}" for number in range(processors))


def machine(root: Path, cpuinfo: str, caches: dict[str, str] | None = None) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(cpuinfo)
    for place, text in (caches or {}).items():
        path = root / "sys/devices/system/cpu/cpu0" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


ASIMD = "fp asimd evtstrm crc32 cpuid"
V1 = "fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp sve i8mm bf16"


@pytest.mark.parametrize(
    ("uname", "cpuinfo", "mcpu", "lanes", "precisions"),
    [
        ("x86_64", x86("GenuineIntel", 6, 143, AMX), "sapphirerapids", 16, ("fp32", "fp16", "bf16", "int8")),
        ("x86_64", x86("GenuineIntel", 6, 85, V4), "cascadelake", 16, ("fp32", "int8")),
        ("x86_64", x86("GenuineIntel", 6, 85, V4.replace("avx512_vnni", "")), "skylake-avx512", 16, ("fp32",)),
        ("x86_64", x86("AuthenticAMD", 25, 1, V3), "znver3", 8, ("fp32",)),
        ("x86_64", x86("AuthenticAMD", 25, 17, f"{V4} avx512_bf16"), "znver4", 16, ("fp32", "bf16", "int8")),
        ("x86_64", x86("AuthenticAMD", 26, 2, f"{V4} avx512_bf16 avx_vnni"), "znver5", 16, ("fp32", "bf16", "int8")),
        ("x86_64", x86("NewVendor", 99, 1, V4), "x86-64-v4", 16, ("fp32", "int8")),
        ("x86_64", x86("GenuineIntel", 6, 143, V3), "x86-64-v3", 8, ("fp32",)),  # a hypervisor hides AVX-512
        ("x86_64", x86("GenuineIntel", 6, 143, V2), "x86-64-v2", 4, ("fp32",)),
        ("x86_64", x86("GenuineIntel", 6, 143, ""), "x86-64", 4, ("fp32",)),
        ("x86_64", "", "x86-64", 4, ("fp32",)),
        ("aarch64", arm("0x41", "0xd08", ASIMD), "cortex-a72", 4, ("fp32",)),
        ("aarch64", arm("0x41", "0xd40", V1), "neoverse-v1", 4, ("fp32", "fp16", "bf16", "int8")),
        ("aarch64", arm("0x99", "0x001", V1), "generic", 4, ("fp32", "fp16", "bf16", "int8")),
        ("aarch64", "", "generic", 4, ("fp32",)),
        ("armv7l", arm("0x41", "0xd03", "half thumb neon vfpv4 idiva idivt crc32"), "cortex-a53", 4, ("fp32",)),
        ("armv7l", arm("0x41", "0xd03", "half thumb vfpv4"), "cortex-a53", 1, ("fp32",)),
    ],
)
def test_a_machine_is_recognised_or_falls_back_to_what_is_safe(
    tmp_path: Path, uname: str, cpuinfo: str, mcpu: str, lanes: int, precisions: tuple[str, ...]
) -> None:
    host = detect(machine(tmp_path, cpuinfo), uname)
    assert (host.mcpu, host.lanes, host.precisions) == (mcpu, lanes, precisions)
    assert host.why_not is None
    assert host.num_cores == (cpuinfo.count("processor") or None)


def test_features_a_hypervisor_hides_are_taken_from_the_named_cpu(tmp_path: Path) -> None:
    host = detect(
        machine(tmp_path, x86("GenuineIntel", 6, 143, AMX.replace("amx_int8", "").replace("avx512_bf16", ""))), "x86_64"
    )
    assert host.mcpu == "sapphirerapids"
    assert {"-amx-int8", "-avx512bf16"} <= set(host.mattr)
    assert not any(each.startswith("+") for each in host.mattr)


def test_without_proc_the_result_is_the_oldest_cpu_and_says_so(tmp_path: Path) -> None:
    host = detect(tmp_path, "x86_64")
    assert (host.mcpu, host.mattr, host.num_cores) == ("x86-64", (), None)
    assert "no /proc/cpuinfo" in host.note


def test_an_architecture_without_a_row_is_not_guessed(tmp_path: Path) -> None:
    host = detect(tmp_path, "riscv64")
    assert host.builder == ""
    assert host.why_not is not None
    assert "riscv64" in host.why_not


def test_caches_are_shared_out_by_core(tmp_path: Path) -> None:
    caches = {
        "topology/thread_siblings_list": "0,4",
        "cache/index0/level": "1",
        "cache/index0/type": "Data",
        "cache/index0/size": "48K",
        "cache/index0/coherency_line_size": "128",
        "cache/index0/shared_cpu_list": "0,4",
        "cache/index1/level": "1",
        "cache/index1/type": "Instruction",
        "cache/index1/size": "64K",
        "cache/index1/shared_cpu_list": "0,4",
        "cache/index2/level": "2",
        "cache/index2/type": "Unified",
        "cache/index2/size": "4096K",
        "cache/index2/shared_cpu_list": "0-1,4-5",
    }
    host = detect(machine(tmp_path, x86("AuthenticAMD", 25, 1, V3), caches), "x86_64")
    assert (host.l1d_bytes, host.l2_bytes, host.cache_line_bytes) == (48 << 10, 2 << 20, 128)


def test_a_cache_the_kernel_does_not_tell_is_the_tables(tmp_path: Path) -> None:
    caches = {"cache/index2/level": "2", "cache/index2/type": "Unified", "cache/index2/size": "", "cache/index0/level": "x"}
    host = detect(machine(tmp_path, x86("AuthenticAMD", 25, 1, V3), caches), "x86_64")
    assert (host.l1d_bytes, host.l2_bytes, host.cache_line_bytes) == (32 << 10, 512 << 10, 64)


def test_this_machine_can_be_named_and_changed_like_any_other() -> None:
    host = resolve("host")
    assert host == detect()
    assert resolve("host", {"num-cores": 1}).num_cores == 1
