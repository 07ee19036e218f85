"""Catalogue rows for tests."""

from __future__ import annotations

from typing import Any

from harness.catalogue import CatalogueRow


def row(name: str = "c7i.large", **given: Any) -> CatalogueRow:
    """An EC2 row of two Sapphire Rapids vCPUs unless something else is given."""
    facts: dict[str, Any] = {
        "provider": "aws",
        "service": "ec2",
        "arch": "x86_64",
        "isa": "AVX-512 (2 FMA) VNNI AMX bf16/int8",
        "cpu_model": "Intel Xeon Platinum 8488C (Sapphire Rapids)",
        "vcpus": 2,
        "physical_cores": 1,
        "clock_ghz": 3.2,
        "memory_gib": 4.0,
        "cpu_fp32_gflops": 204.8,
        "memory_gb_per_s": 6.4,
        "usd_per_hour": 0.09,
        "price_source": "a test",
        "price_date": "2026-01-01",
    }
    return CatalogueRow(name=name, **{**facts, **given})
