from __future__ import annotations

import pytest

from harness.catalogue import Filters, choose, find, load_catalogue
from harness.catalogue.processors import family_of, hybrid
from harness.errors import UsageError

ROWS = load_catalogue(user_files=False)


def names(**asked: object) -> list[str]:
    return [row.name for row in choose(ROWS, Filters(**asked))]  # type: ignore[arg-type]


def test_filters_add_up() -> None:
    cheap = choose(ROWS, Filters(arch="arm64", max_price=0.5, min_memory_gib=8, service="sagemaker"))
    assert cheap
    for row in cheap:
        assert row.arch == "arm64"
        assert row.usd_per_hour is not None
        assert row.usd_per_hour <= 0.5
        assert (row.memory_gib or 0) >= 8


def test_a_row_without_the_price_asked_for_does_not_fit() -> None:
    assert "jetson-nano" in names(arch="arm64")
    assert "jetson-nano" not in names(arch="arm64", max_price=1000)
    assert not any(name.startswith("ml.") for name in names(max_price=1000, basis="spot"))


def test_accelerators_by_part_of_their_name() -> None:
    assert "ml.g4dn.xlarge" in names(accelerator="t4")
    assert "inf1.xlarge" in names(accelerator="any")
    assert "inf1.xlarge" not in names(accelerator="none")
    assert names(accelerator="none", min_vcpus=1000) == []


def test_unknown_words_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="arm64, x86_64"):
        choose(ROWS, Filters(arch="arm"))
    with pytest.raises(UsageError, match=r"nearest: ml\.c7g\.large"):
        find("ml.c7g.larg", ROWS)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Intel(R) Xeon(R) Platinum 8488C", "sapphire rapids"),
        ("Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "ice lake"),
        ("AMD EPYC 7R13 Processor", "zen3"),
        ("AMD EPYC 9R14", "zen4"),
        ("Neoverse-V1", "neoverse-v1"),
        ("Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", "broadwell"),
        ("AMD EPYC", ""),
    ],
)
def test_families(model: str, family: str) -> None:
    assert family_of(model) == family


def test_cores_of_several_kinds() -> None:
    assert hybrid("12th Gen Intel(R) Core(TM) i7-12700H")
    assert hybrid("Apple M1 Pro")
    assert hybrid(find("jetson-tx2", ROWS).cpu_model)
    assert not hybrid("Intel(R) Core(TM) i3-8100")
    assert not hybrid(find("c5.large", ROWS).cpu_model)
    assert [row.name for row in ROWS if row.burstable and not row.name.removeprefix("ml.").startswith("t")] == []
