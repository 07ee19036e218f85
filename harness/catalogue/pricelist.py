"""Prices out of the products of AWS's Price List, as `GetProducts` answers them: JSON texts, one a product. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.catalogue.nouns import CatalogueRow
from harness.errors import InfrastructureError

EC2, SAGEMAKER = "AmazonEC2", "AmazonSageMaker"
SERVICES = {"ec2": EC2, "sagemaker": SAGEMAKER}
"""The Price List's name of each service of the catalogue that it prices by the hour."""

_HOSTING = re.compile(r"(?:[A-Z0-9]+-)?Host:(ml\.[a-z0-9-]+\.[a-z0-9]+)")
_COLUMNS = ("name", "usd_per_hour", "price_source", "price_date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One on-demand price and the day it came into effect."""

    usd_per_hour: float
    date: str


def filters(service: str, region: str) -> list[dict[str, str]]:
    """What `GetProducts` is asked for: of EC2, Linux on shared hardware without licences; of SageMaker, everything there."""
    wanted = {"regionCode": region}
    if service == EC2:
        wanted |= {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
    return [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]


def offers(service: str, products: Iterable[str]) -> dict[str, Offer]:
    """The price of each instance type among `products`; what is not a price of an instance by the hour is left out.

    Raises InfrastructureError for what is not a product, and for two prices of one type.
    """
    found: dict[str, Offer] = {}
    for text in products:
        try:
            product = json.loads(text)
            name = _name(service, product["product"]["attributes"])
            offer = _offer(product["terms"].get("OnDemand", {})) if name else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InfrastructureError(f"the price list holds what is not a product ({error!r}): {text[:80]}") from error
        if name is None or offer is None:
            continue
        if name in found and found[name].usd_per_hour != offer.usd_per_hour:
            raise InfrastructureError(
                f"the price list has two prices of {name}, {found[name].usd_per_hour:g} and {offer.usd_per_hour:g} USD/h"
            )
        found[name] = offer
    return found


def table(rows: Iterable[CatalogueRow], found: Mapping[str, Mapping[str, Offer]], region: str) -> tuple[str, int]:
    """A catalogue file with the price of every row that `found` (by service of the catalogue) has one for, and how many."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    count = 0
    for row in rows:
        offer = found.get(row.service, {}).get(row.name)
        if offer is not None:
            source = f"AWS Price List API, {SERVICES[row.service]}, {region}"
            writer.writerow([row.name, f"{offer.usd_per_hour:g}", source, offer.date])
            count += 1
    return out.getvalue(), count


def _name(service: str, attributes: Mapping[str, str]) -> str | None:
    if service == EC2:
        return attributes.get("instanceType")
    hosting = _HOSTING.fullmatch(attributes.get("usagetype", ""))
    return hosting[1] if hosting else None


def _offer(terms: Mapping[str, Any]) -> Offer | None:
    """The one price by the hour, None where there is none or it is free."""
    for term in terms.values():
        for dimension in term["priceDimensions"].values():
            usd = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"] in ("Hrs", "Hours") and usd > 0:
                return Offer(usd_per_hour=usd, date=term["effectiveDate"][:10])
    return None
