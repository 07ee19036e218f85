from __future__ import annotations

import pytest

from harness.catalogue import isa_level, load_catalogue, local_instance, nearest_row
from harness.catalogue.local import local_row
from harness.environment import Cpu
from harness.errors import UsageError
from tests.harness.catalogue.rows import row

SAPPHIRE = Cpu(
    model="Intel(R) Xeon(R) Platinum 8488C",
    vendor="intel",
    arch="x86_64",
    isa="AVX-512 (2 FMA) VNNI AMX",
    cores=2,
    threads_per_core=1,
    flags_digest="",
)
GRAVITON = Cpu(model="Neoverse-V2", vendor="arm", arch="arm64", isa="SVE2", cores=4, threads_per_core=1, flags_digest="")


def test_a_slice_costs_its_share_of_the_nearest_row() -> None:
    half = local_instance("local-1", SAPPHIRE, 8 << 30, None)
    whole = local_instance("local-2", SAPPHIRE, 8 << 30, None)
    known = next(each for each in load_catalogue() if each.name == "c7i.large")
    assert known.usd_per_hour is not None
    assert half.usd_per_hour == pytest.approx(known.usd_per_hour / 2)
    assert whole.usd_per_hour == pytest.approx(known.usd_per_hour)
    assert "c7i.large" in half.price_basis
    assert half.price_date == known.price_date
    assert known.spot_usd_per_hour is not None
    assert half.spot_usd_per_hour == pytest.approx(known.spot_usd_per_hour / 2)


def test_a_core_with_two_threads_costs_two_vcpus() -> None:
    threaded = Cpu(
        model=SAPPHIRE.model,
        vendor="intel",
        arch="x86_64",
        isa=SAPPHIRE.isa,
        cores=2,
        threads_per_core=2,
        flags_digest="",
    )
    one = local_instance("local-1", threaded, 8 << 30, None)
    assert one.vcpus == 2
    assert one.usd_per_hour == pytest.approx(local_instance("local-2", SAPPHIRE, 8 << 30, None).usd_per_hour)


def test_the_users_price_wins() -> None:
    assert local_instance("local-1", SAPPHIRE, 1, 0.5).usd_per_hour == 0.5


def test_arm_is_priced_as_arm() -> None:
    best, why = nearest_row(GRAVITON, load_catalogue())
    assert best is not None
    assert best.arch == "arm64"
    assert "neoverse-v2" in why


def test_without_a_row_there_is_no_price_but_a_reason() -> None:
    riscv = Cpu(model="x", vendor="arm", arch="riscv64", isa="", cores=1, threads_per_core=1, flags_digest="")
    instance = local_instance("local-1", riscv, 1, None)
    assert instance.usd_per_hour is None
    assert "--price-per-hour" in instance.price_basis


@pytest.mark.parametrize("name", ["local-0", "local-3", "c5.large", "", "local-x"])
def test_an_unknown_slice_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match="local-1 … local-2"):
        local_instance(name, SAPPHIRE, 1, None)


def test_isa_levels_order_the_catalogues_words() -> None:
    levels = [isa_level(text) for text in ("AVX2 FMA", "AVX-512 (2 FMA) (VNNI only on 8275CL)", "AVX-512 (2 FMA) VNNI", "AMX")]
    assert levels == sorted(levels)
    assert len(set(levels)) == 4


def test_burstable_and_accelerated_rows_are_never_the_nearest() -> None:
    burstable, accelerated = row("t3.large", usd_per_hour=0.001), row("c7x.large", accelerator="NVIDIA T4", usd_per_hour=0.001)
    assert nearest_row(SAPPHIRE, [burstable, accelerated])[0] is None


def test_the_same_family_is_nearer_than_the_same_instruction_set() -> None:
    ice = row("c6i.large", cpu_model="Intel Xeon Platinum 8375C (Ice Lake)", isa=SAPPHIRE.isa)
    same = row("m7i.2xlarge", isa="AVX-512 (2 FMA)", vcpus=8)
    best, why = nearest_row(SAPPHIRE, [ice, same])
    assert best == same
    assert "sapphire rapids" in why


def test_a_slice_listed_says_which_row_priced_it_and_why() -> None:
    listed = local_row(local_instance("local-1", SAPPHIRE, 8 << 30, None), SAPPHIRE)
    assert listed.service == "local"
    assert "1/2 of c7i.large" in listed.price_source
    assert "sapphire rapids" in listed.price_source
