from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compilers.targets import Target, check_inputs, isa, resolve
from compilers.targets.table import rows
from harness.errors import UsageError

PI3 = {"Os": "LINUX", "Arch": "ARM_EABIHF"}
NVIDIA = {"Os": "LINUX", "Arch": "ARM64", "Accelerator": "NVIDIA"}
TX2 = {"gpu-code": "sm_62", "trt-ver": "6.0.1", "cuda-ver": "10.0"}


@pytest.mark.parametrize(
    ("platform", "row"),
    [
        ({"Os": "LINUX", "Arch": "X86_64"}, "linux-x86_64"),
        ({"Os": "LINUX", "Arch": "ARM64"}, "linux-arm64"),
        ({"Os": "LINUX", "Arch": "ARM_EABIHF"}, "linux-armhf"),
        ({"Os": "LINUX", "Arch": "ARM_EABI"}, "linux-armel"),
        ({"Os": "LINUX", "Arch": "X86"}, "linux-x86"),
        ({"Os": "ANDROID", "Arch": "ARM64"}, "android-arm64"),
        ({"Os": "ANDROID", "Arch": "ARM_EABI"}, "android-armeabi"),
        ({"Os": "ANDROID", "Arch": "X86_64"}, "android-x86_64"),
        ({"Os": "ANDROID", "Arch": "X86", "Accelerator": None}, "android-x86"),
    ],
)
def test_neos_platforms_as_a_mapping_and_as_json(platform: dict[str, str], row: str) -> None:
    assert resolve(platform) == resolve(json.dumps(platform)) == resolve(row)


def test_the_examples_that_neo_prints() -> None:
    pi = resolve(PI3, "{'mattr': ['+neon']}")  # with single quotes, as printed
    assert (pi.mtriple, pi.float_abi, pi.mattr, pi.lanes) == ("armv7l-linux-gnueabihf", "hard", ("+neon",), 4)
    jetson = resolve(NVIDIA, json.dumps(TX2))
    assert jetson.gpu is not None
    assert (jetson.gpu.arch, jetson.mtriple) == ("sm_62", "aarch64-linux-gnu")
    assert dict(jetson.options) == {"cuda-ver": "10.0", "trt-ver": "6.0.1"}
    assert resolve({"Os": "LINUX", "Arch": "X86_64"}, {"mcpu": "skylake-avx512"}).lanes == 16
    assert resolve(PI3, {"mattr": ["+neon", "+vfpv4"]}).mattr == ("+neon", "+vfp4")
    assert resolve("sbe_c", "{'mcpu': 'core-avx2'}") == resolve("sbe_c")
    assert resolve("qcs605", {"ANDROID_PLATFORM": 28}).mtriple == "aarch64-linux-android28"
    xavier = resolve("jetson_xavier", "{'gpu-code': 'sm_72', 'trt-ver': '5.1.6', 'cuda-ver': '10.0'}")
    assert xavier.gpu == resolve("sm_72").gpu
    xavier = resolve("jetson_xavier", "{'JETPACK_VERSION': '4.6', 'gpu_code': 'sm_72'}")
    assert xavier.options == (("JETPACK_VERSION", "4.6"),)
    assert resolve("coreml", {"class_labels": "imagenet_labels_1000.txt"}).why_not is not None
    assert resolve("ml_eia2", {"signature_def_key": "serving_default", "output_names": ["a"]}).why_not is not None
    inferentia = resolve("ml_inf2", '"--verbose 1 --num-neuroncores 2 -O2"')
    assert inferentia == resolve("ml_inf2", "--verbose 1 --num-neuroncores 2 -O2")
    assert dict(inferentia.options) == {"command-line": "--verbose 1 --num-neuroncores 2 -O2"}


def test_an_output_config_is_taken_whole() -> None:
    config = {"S3OutputLocation": "s3://bucket/x", "TargetPlatform": NVIDIA, "CompilerOptions": json.dumps(TX2)}
    assert resolve(config) == resolve(NVIDIA, TX2)
    assert resolve({"TargetDevice": "ml_c5"}) == resolve("ml_c5")


def test_another_cpu_brings_its_own_facts() -> None:
    target = resolve("linux-x86_64", {"mcpu": "znver5"})
    zen5 = resolve("zen5")
    assert (target.lanes, target.vector_registers, target.l2_bytes) == (16, 32, 1 << 20)
    assert target.precisions == zen5.precisions
    assert resolve("rasp4b", {"mcpu": "cortex-a35"}).l2_bytes is None  # a cache the table does not know is not guessed


def test_attributes_change_lanes_and_precisions() -> None:
    plain = resolve("sapphirerapids", {"mattr": "-avx512f"})
    assert (plain.lanes, plain.vector_registers) == (8, 16)
    assert resolve("linux-armhf", {"mattr": ["-neon"]}).lanes == 1
    assert resolve("rasp3b", {"mattr": ["-neon"]}).mattr == ("-neon",)  # replaces the row's own +neon
    assert "int8" in resolve("haswell", {"mattr": ["+avxvnni"]}).precisions
    assert resolve("zen3", {"mattr": ["+avx2", "+avx2"]}).mattr == ("+avx2",)


def test_an_accelerator_that_nothing_builds_for_says_what_is_needed() -> None:
    for accelerator in ("MALI", "INTEL_GRAPHICS", "NNA"):
        target = resolve({"Os": "LINUX", "Arch": "ARM64", "Accelerator": accelerator})
        assert target.why_not is not None
        assert "leave Accelerator out" in target.why_not


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("rasp4", "", "nearest: rasp4b"),
        ("Graviton3", "", "graviton3"),
        ("", "", "loadstone targets"),
        ("zzzzzzzzz", "", "`loadstone targets` lists them"),
        ('{"Os": "LINUX"', "", "is not JSON"),
        ('{"Os": "LINUX"}', "", "needs Arch"),
        ('{"Os": "linux", "Arch": "ARM64"}', "", "did you mean LINUX?"),
        ('{"Os": "WINDOWS", "Arch": "X86_64"}', "", "one of LINUX, ANDROID"),
        ('{"Os": "ANDROID", "Arch": "ARM_EABIHF"}', "", "ANDROID takes ARM64"),
        ('{"Os": "LINUX", "Arch": "ARM64", "Accelerator": "NVIDEA"}', "", "did you mean NVIDIA?"),
        ('{"Os": "LINUX", "Arch": "ARM64", "Gpu": 1}', "", "no key 'Gpu'"),
        ('{"TargetDevice": "rasp4b", "TargetPlatform": {}}', "", "exactly one"),
        ('{"TargetDevice": 5}', "", "must be names"),
        (
            '{"TargetDevice": "rasp4b", "CompilerOptions": "{\'mcpu\': \'cortex-a72\'}"}',
            '{"mcpu": "cortex-a53"}',
            "given twice",
        ),
        ("{" * 100_000, "", "is not JSON"),
        (json.dumps(NVIDIA), "", "needs the option gpu-code"),
        (json.dumps(NVIDIA), '{"gpu-code": "sm_63"}', "nearest: sm_"),
        (json.dumps(NVIDIA), '{"gpu-code": "sm_90", "cuda-ver": "10.0"}', "needs CUDA 11.8 or later"),
        (json.dumps(NVIDIA), '{"gpu-code": "sm_53", "cuda-ver": "13.0"}', "needs CUDA 7.0 to 12.9"),
        (json.dumps({**NVIDIA, "Arch": "ARM_EABI"}), '{"gpu-code": "sm_53"}', "X86_64 or ARM64"),
        ("jetson_nano", '{"gpu-code": "sm_72"}', "whose GPU is sm_53"),
        ("jetson_nano", '{"gpu-code": "sm_53", "gpu_code": "sm_72"}', "given twice"),
        ("jetson_nano", '{"cuda-ver": "ten"}', "not a release"),
        ("rasp4b", '{"mcpuu": "x"}', "did you mean mcpu?"),
        ("rasp4b", '{"gpu-code": "sm_53"}', "it takes mcpu, mattr"),
        ("rasp4b", '{"ANDROID_PLATFORM": 27}', "not one of rasp4b's"),
        ("rasp4b", '{"mcpu": "cortex-a7"}', "nearest: cortex-a7"),
        ("rasp4b", '{"mcpu": 3}', "not a CPU of arm64"),
        ("rasp4b", '{"mattr": ["+neno"]}', "nearest: neon"),
        ("rasp4b", '{"mattr": ["neon"]}', 'give "+neon"'),
        ("rasp4b", '{"mattr": {"neon": 1}}', "not a list"),
        ("rasp4b", '{"mattr": ["+neon", "-neon"]}', "both adds and removes neon"),
        ("rasp4b", '{"num-cores": 0}', "from 1 to 1024"),
        ("rasp4b", '{"dtype": "float16"}', "float32"),
        ("rasp4b", "[1]", "must be an object"),
        ("rasp4b", "mcpu=cortex-a72", "not JSON"),
        ("rasp4b", "--verbose 1", "as a JSON object"),
        ("qcs605", '{"ANDROID_PLATFORM": 20}', "from 21"),
        ("coreml", '{"mcpu": "apple-m1"}', "it takes class_labels"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_would_do(target: str, options: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(target, options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(rows())), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), st.data()
)
def test_any_value_of_any_option_is_a_target_or_a_usage_error(name: str, value: object, data: st.DataObject) -> None:
    keys = ["mcpu", "mattr", "num-cores", "dtype", "gpu-code", "cuda-ver", "ANDROID_PLATFORM", "class_labels"]
    key = data.draw(st.sampled_from(keys) | st.text(max_size=8))
    try:
        assert isinstance(resolve(name, {key: value}), Target)
    except UsageError:
        pass  # anything else is a bug


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["x86_64", "x86", "arm64", "armv7"]), st.data())
def test_more_features_never_narrow_the_vector_unit(arch: str, data: st.DataObject) -> None:
    features = isa.cpu_features(arch, data.draw(st.sampled_from(isa.cpu_names(arch))))
    added = data.draw(st.sampled_from(isa.TELLING[arch]))
    before = isa.vector_unit(arch, features)
    after = isa.vector_unit(arch, isa.with_attributes(arch, features, [f"+{added}"]))
    assert after.lanes >= before.lanes
    assert set(after.precisions) >= set(before.precisions)


def test_the_dtype_must_be_one_of_the_models() -> None:
    check_inputs(resolve("ml_c5", {"dtype": "float"}), ["float32"])
    check_inputs(resolve("ml_c5"), ["int64"])
    with pytest.raises(UsageError, match="dtype int64 contradicts the model, whose inputs are float32"):
        check_inputs(resolve("ml_c5", {"dtype": "long"}), ["float32", "float32"])
