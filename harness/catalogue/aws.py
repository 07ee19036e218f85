"""The public AWS price list through boto3: the only file that speaks to a cloud, and only when it is asked to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.catalogue import pricelist
from harness.catalogue.pricelist import Offer
from harness.errors import InfrastructureError, UsageError

API_REGION = "us-east-1"
"""Where the Price List API is served; it knows the prices of every region."""


def client() -> Any:
    """A client of the Price List API. Raises UsageError when boto3 is not installed."""
    try:
        import boto3
    except ImportError as error:
        raise UsageError("prices are fetched through boto3: pip install 'loadstone[aws]'") from error
    return boto3.client("pricing", region_name=API_REGION)


def fetch(api: Any, region: str) -> dict[str, dict[str, Offer]]:
    """Every price of a region by service of the catalogue, then by instance. Raises InfrastructureError."""
    return {service: pricelist.offers(code, _products(api, code, region)) for service, code in pricelist.SERVICES.items()}


def _products(api: Any, code: str, region: str) -> Iterator[str]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        pages = api.get_paginator("get_products").paginate(
            ServiceCode=code, Filters=pricelist.filters(code, region), FormatVersion="aws_v1"
        )
        for page in pages:
            yield from page["PriceList"]
    except (BotoCoreError, ClientError) as error:
        raise InfrastructureError(
            f"the AWS price list of {code} could not be read: {error}; it takes credentials that may pricing:GetProducts"
        ) from error
