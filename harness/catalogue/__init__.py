"""Instance types and their prices: the catalogue that is shipped, the user's own files, and this machine's slices."""

from __future__ import annotations

from harness.catalogue.choose import Filters, choose, find
from harness.catalogue.local import local_instance, nearest_row
from harness.catalogue.nouns import CatalogueRow
from harness.catalogue.processors import isa_level, vendor_of
from harness.catalogue.sources import load_catalogue

__all__ = [
    "CatalogueRow",
    "Filters",
    "choose",
    "find",
    "isa_level",
    "load_catalogue",
    "local_instance",
    "nearest_row",
    "vendor_of",
]
