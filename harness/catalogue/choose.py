"""Rows by name and by what they must offer. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.catalogue.nouns import ON_DEMAND, CatalogueRow
from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a row must offer; None asks for nothing. `accelerator` is part of a name, or `none`, or `any`."""

    arch: str | None = None
    provider: str | None = None
    service: str | None = None
    accelerator: str | None = None
    max_price: float | None = None
    min_memory_gib: float | None = None
    min_vcpus: int | None = None
    basis: str = ON_DEMAND

    def fits(self, row: CatalogueRow) -> bool:
        """A row that does not say a figure which is asked for does not fit."""
        price = row.price(self.basis)
        return (
            self.arch in (None, row.arch)
            and self.provider in (None, row.provider)
            and self.service in (None, row.service)
            and self._accelerated(row.accelerator)
            and (self.max_price is None or (price is not None and price <= self.max_price))
            and (self.min_memory_gib is None or (row.memory_gib or 0.0) >= self.min_memory_gib)
            and (self.min_vcpus is None or (row.vcpus or 0) >= self.min_vcpus)
        )

    def _accelerated(self, accelerator: str | None) -> bool:
        if self.accelerator is None:
            return True
        wanted = self.accelerator.lower()
        if wanted in ("none", "any"):
            return (accelerator is None) == (wanted == "none")
        return accelerator is not None and wanted in accelerator.lower()


def choose(rows: Sequence[CatalogueRow], filters: Filters) -> list[CatalogueRow]:
    """The rows that fit, in their order. Raises UsageError for a word that no row knows."""
    for what, wanted in (("arch", filters.arch), ("provider", filters.provider), ("service", filters.service)):
        known = sorted({value for row in rows if (value := getattr(row, what))})
        if wanted is not None and wanted not in known:
            raise UsageError(f"--{what} {wanted!r}: the catalogue knows {', '.join(known)}")
    return [row for row in rows if filters.fits(row)]


def find(name: str, rows: Sequence[CatalogueRow]) -> CatalogueRow:
    """The row of that name. Raises UsageError with the nearest names."""
    for row in rows:
        if row.name == name:
            return row
    near = difflib.get_close_matches(name, [row.name for row in rows], n=3)
    nearest = f" (nearest: {', '.join(near)})" if near else ""
    raise UsageError(
        f"the catalogue has no instance {name!r}{nearest}; see `loadstone instances`, add it with --catalogue FILE"
    )
