from __future__ import annotations

import pytest

from harness.catalogue import CatalogueRow, find, load_catalogue
from harness.environment import Cpu
from harness.projection.machines import here, isa_class, there
from harness.projection.nouns import CPU, FP16, FP32, GPU, Hardware

ROWS = load_catalogue(user_files=False)


def cpu(model: str, isa: str, vendor: str = "amd") -> Cpu:
    return Cpu(model=model, vendor=vendor, arch="x86_64", isa=isa, cores=2, threads_per_core=1, flags_digest="")


def named(name: str) -> CatalogueRow:
    return find(name, ROWS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ml.t2.medium", "burstable"),
        ("t4g.large", "burstable"),
        ("jetson-tx2", "several kinds"),
        ("inf1.xlarge", "AWS Inferentia"),
        ("jetson-nano", "no projection was validated"),
        ("gcp/e2-standard-4", "does not know what the CPUs"),
        ("sagemaker-serverless-2048MB", "does not know what the CPUs"),
    ],
)
def test_what_no_roofline_knows_is_refused(name: str, said: str) -> None:
    assert said in str(there(named(name)))


def test_an_instance_is_its_cores_or_its_accelerator() -> None:
    arm, gpu, many = (there(named(name)) for name in ("ml.c7g.large", "ml.g4dn.xlarge", "g4dn.12xlarge"))
    assert isinstance(arm, Hardware)
    assert isinstance(gpu, Hardware)
    assert isinstance(many, Hardware)
    assert (arm.kind, arm.isa, arm.cores, arm.peaks[FP32]) == (CPU, "sve", 2, 166.4)
    assert (gpu.kind, gpu.peaks[FP16], gpu.gb_per_s) == (GPU, 65e3, 320.0)
    assert many.cores == 4


def test_this_machine_takes_the_clock_of_its_family() -> None:
    found = here(cpu("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "AVX-512 (2 FMA) VNNI", "intel"), 2.9, 6, ROWS)
    assert isinstance(found, Hardware)
    assert found.family == "ice lake"
    assert found.peaks[FP32] == pytest.approx(64 * (named("c6i.large").clock_ghz or 0))
    assert "c6i" in found.notes[0] or "m6i" in found.notes[0]


def test_a_hidden_name_still_has_a_family_number() -> None:
    found = here(cpu("AMD EPYC", "AVX-512 (2 FMA) VNNI"), 2.6, 26, ROWS)
    assert isinstance(found, Hardware)
    assert found.family == "zen5"
    assert found.peaks[FP32] == pytest.approx(2.6 * 64)
    half = here(cpu("AMD EPYC 9R14", "AVX-512 (2 FMA) VNNI"), 3.7, 25, ROWS)
    assert isinstance(half, Hardware)
    assert half.peaks[FP32] == pytest.approx(3.7 * 32)


def test_a_machine_that_is_not_known_says_so() -> None:
    assert "several kinds" in str(here(cpu("12th Gen Intel(R) Core(TM) i7-12700H", "AVX2 FMA", "intel"), 2.3, 6, ROWS))
    assert "instruction set" in str(here(cpu("x", ""), 1.0, None, ROWS))
    assert "clock" in str(here(cpu("x", "AVX2 FMA"), None, None, ROWS))


def test_every_word_of_the_catalogue_has_a_class() -> None:
    for isa in {row.isa for row in ROWS if row.isa}:
        assert isa_class(isa)
