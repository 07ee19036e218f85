"""The price list against answers of the documented form, through botocore's own stubber and parameter validation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from harness.catalogue import aws, load_catalogue, pricelist
from harness.commands.instances import refresh
from harness.errors import InfrastructureError

ANSWERS = Path(__file__).with_name("get_products.json")


def answers() -> dict[str, list[str]]:
    """By service, its products, each as the JSON text that the API wraps it in."""
    held = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return {service: [json.dumps(product) for product in products] for service, products in held.items()}


def stubbed(held: dict[str, list[str]]) -> tuple[Any, Stubber]:
    """A real client whose answers come from `held`, EC2's on two pages; wrong requests raise."""
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stubber = Stubber(client)
    for service, products in held.items():
        asked = {"ServiceCode": service, "Filters": pricelist.filters(service, "us-east-1"), "FormatVersion": "aws_v1"}
        pages = [products[:1], products[1:]] if service == pricelist.EC2 else [products]
        for number, page in enumerate(pages):
            token = {"NextToken": str(number)} if number + 1 < len(pages) else {}
            sent = {"NextToken": str(number - 1)} if number else {}
            stubber.add_response("get_products", {"FormatVersion": "aws_v1", "PriceList": page, **token}, {**asked, **sent})
    stubber.activate()
    return client, stubber


def test_prices_become_a_user_file_that_is_read_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    client, stubber = stubbed(answers())
    assert refresh("us-east-1", None, as_json=True, client=lambda: client) == 0
    stubber.assert_no_pending_responses()
    said = json.loads(capsys.readouterr().out)
    assert said["priced"] == 3
    assert said["not_in_catalogue"] == ["c99.large"]
    assert "c5.large" in said["not_priced"]
    by = {row.name: row for row in load_catalogue()}
    assert (by["c7g.large"].usd_per_hour, by["c7g.large"].price_date) == (0.0799, "2026-11-01")
    assert by["c7g.large"].price_source == "AWS Price List API, AmazonEC2, us-east-1"
    assert by["c7g.large"].vcpus == 2
    assert by["ml.m5.xlarge"].usd_per_hour == 0.23
    assert by["ml.m5.2xlarge"].usd_per_hour == 0.461
    assert by["c5.large"].price_date == "2026-07-20"


def test_what_is_not_a_price_of_an_instance_by_the_hour_is_left_out() -> None:
    held = answers()
    assert set(pricelist.offers(pricelist.SAGEMAKER, held[pricelist.SAGEMAKER])) == {"ml.m5.xlarge", "ml.m5.2xlarge"}
    assert set(pricelist.offers(pricelist.EC2, held[pricelist.EC2])) == {"c7g.large", "c99.large"}


def test_two_prices_of_one_type_and_broken_products_are_refused() -> None:
    product = json.loads(answers()[pricelist.EC2][0])
    other = json.loads(json.dumps(product).replace("0.0799", "0.0800"))
    with pytest.raises(InfrastructureError, match=r"two prices of c7g\.large"):
        pricelist.offers(pricelist.EC2, [json.dumps(product), json.dumps(other)])
    with pytest.raises(InfrastructureError, match="not a product"):
        pricelist.offers(pricelist.EC2, ["{}"])


def test_a_refusal_of_aws_is_one_line(tmp_path: Path) -> None:
    client, stubber = stubbed({})
    stubber.add_client_error("get_products", "AccessDeniedException", "not authorised")
    with pytest.raises(InfrastructureError, match=r"AccessDenied.*pricing:GetProducts"):
        refresh("us-east-1", tmp_path / "x.csv", as_json=False, client=lambda: client)
    assert not (tmp_path / "x.csv").exists()


def test_a_region_without_prices_writes_nothing(tmp_path: Path) -> None:
    client, _ = stubbed({pricelist.EC2: [], pricelist.SAGEMAKER: []})
    with pytest.raises(InfrastructureError, match="no price of region"):
        refresh("us-east-1", tmp_path / "x.csv", as_json=False, client=lambda: client)
    assert not (tmp_path / "x.csv").exists()


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(Exception, match=r"loadstone\[aws\]"):
        aws.client()
