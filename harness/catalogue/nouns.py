"""One row of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from harness.nouns import InstanceType

ON_DEMAND, SPOT = "on-demand", "spot"
BASES = (ON_DEMAND, SPOT)

EDGE = "edge"
"""The service of what is bought, not rented: such a row has no price an hour."""

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRow:
    """What one instance type is and costs; None or empty where the source does not say.

    `service` says who rents it out: ec2, sagemaker, serverless, lambda, gce, vm, or edge for a device. `accelerator_…` figures
    are of one of `accelerators`, dense; `cpu_…` and `memory_gb_per_s` are of the whole instance's CPUs.
    """

    name: str
    provider: str
    service: str
    arch: str = ""
    isa: str = ""
    cpu_model: str = ""
    cpu_confidence: str = ""
    vcpus: int | None = None
    physical_cores: int | None = None
    clock_ghz: float | None = None
    memory_gib: float | None = None
    accelerator: str | None = None
    accelerators: int | None = None
    accelerator_memory_gib: float | None = None
    accelerator_fp32_tflops: float | None = None
    accelerator_fp16_tflops: float | None = None
    accelerator_int8_tops: float | None = None
    accelerator_gb_per_s: float | None = None
    cpu_fp32_gflops: float | None = None
    cpu_int8_gops: float | None = None
    memory_gb_per_s: float | None = None
    hardware_source: str = ""
    hardware_date: str = ""
    usd_per_hour: float | None = None
    price_source: str = ""
    price_date: str = ""
    spot_usd_per_hour: float | None = None
    spot_source: str = ""
    spot_date: str = ""
    usd_per_gb_second: float | None = None
    note: str = ""

    @property
    def burstable(self) -> bool:
        """Whether its CPUs may run flat out only as long as credits last: AWS's t2, t3, t3a and t4g."""
        return self.provider == "aws" and self.name.removeprefix("ml.").startswith(("t2.", "t3.", "t3a.", "t4g."))

    def price(self, basis: str = ON_DEMAND) -> float | None:
        """USD per hour by the basis, None where there is none."""
        return self.spot_usd_per_hour if basis == SPOT else self.usd_per_hour

    def instance(self, basis: str = ON_DEMAND) -> InstanceType:
        """The row as the instance of a candidate, at one of its prices."""
        source, date = (self.spot_source, self.spot_date) if basis == SPOT else (self.price_source, self.price_date)
        known = self.price(basis) is not None
        return InstanceType(
            name=self.name,
            vcpus=self.vcpus or 0,
            memory_bytes=round((self.memory_gib or 0) * _GIB),
            usd_per_hour=self.price(basis),
            price_basis=f"{self.name} {basis}" if known else f"the catalogue has no {basis} price of {self.name}",
            price_source=source if known else "",
            price_date=date if known else "",
            spot_usd_per_hour=self.spot_usd_per_hour,
        )
