from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalogue import load_catalogue
from harness.catalogue.nouns import EDGE
from harness.catalogue.reading import read
from harness.catalogue.sources import FETCHED, OWN
from harness.errors import UsageError
from tests.harness.catalogue.rows import row

NEW = "name,provider,service,usd_per_hour,price_source,price_date\n"


def test_every_shipped_row_has_a_price_with_source_and_date_or_is_a_device() -> None:
    rows = load_catalogue(user_files=False)
    assert len(rows) == 343
    by_service = {service: sum(each.service == service for each in rows) for service in {each.service for each in rows}}
    assert by_service == {"ec2": 173, "sagemaker": 137, "serverless": 6, "lambda": 1, "edge": 12, "gce": 7, "vm": 7}
    for each in rows:
        assert each.hardware_source, each.name
        assert each.hardware_date, each.name
        if each.service != EDGE:
            assert each.usd_per_hour or each.usd_per_gb_second, each.name
            assert each.price_source, each.name
            assert each.price_date, each.name
        assert (each.spot_usd_per_hour is None) == (not each.spot_source), each.name
    assert sum(each.spot_usd_per_hour is not None for each in rows) > 100


def test_a_hosted_type_is_its_ec2_type_at_another_price() -> None:
    by = {each.name: each for each in load_catalogue(user_files=False)}
    ml, ec2 = by["ml.c7g.large"], by["c7g.large"]
    assert (ml.vcpus, ml.memory_gib, ml.cpu_fp32_gflops) == (ec2.vcpus, ec2.memory_gib, ec2.cpu_fp32_gflops)
    assert ml.usd_per_hour == pytest.approx(1.2 * (ec2.usd_per_hour or 0), rel=0.01)
    assert ml.instance().price_basis == "ml.c7g.large on-demand"
    assert ml.instance("spot").usd_per_hour is None
    assert "no spot price" in ml.instance("spot").price_basis
    assert ec2.instance("spot").price_date == "2025-06-28"


def test_a_row_given_again_fills_cells_and_keeps_the_others() -> None:
    known = {"c7i.large": row()}
    text = "name,usd_per_hour,price_source,price_date,note\nc7i.large,0.05,our contract,2026-10,ours\n"
    changed = read(text, "mine.csv", known)["c7i.large"]
    assert (changed.usd_per_hour, changed.price_source, changed.vcpus, changed.note) == (0.05, "our contract", 2, "ours")


def test_a_new_row_needs_only_who_rents_it_out_and_its_price() -> None:
    found = read(NEW + "\nrack-7,own,colo,0.2,our invoice,2026\n", "mine.csv")
    assert found["rack-7"].usd_per_hour == 0.2
    assert found["rack-7"].vcpus is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: no column `name`"),
        ("name,colour\n", ":1: unknown column 'colour'; allowed: name, provider"),
        ("name,note,note\n", ":1: note twice"),
        (NEW + "a,own,colo,,,\n", ":2: a has no price; allowed: usd_per_hour above 0"),
        (NEW + "a,own,colo,-1,x,2026\n", ":2: usd_per_hour is '-1'; allowed: a number above 0"),
        (NEW + "a,own,colo,0,x,2026\n", ":2: usd_per_hour is '0'"),
        (NEW + "a,own,colo,nan,x,2026\n", ":2: usd_per_hour is 'nan'"),
        (NEW + "a,own,colo,inf,x,2026\n", ":2: usd_per_hour is 'inf'"),
        (NEW + "a,own,colo,1,x,2026\na,own,colo,2,x,2026\n", ":3: a was given in line 2 already"),
        (NEW + "a,own,colo,1,x,yesterday\n", ":2: price_date is 'yesterday'; allowed: YYYY"),
        (NEW + "a,own,colo,1,,2026\n", ":2: usd_per_hour without price_source"),
        (NEW + "a,,colo,1,x,2026\n", ":2: the new instance a needs provider"),
        (NEW + "local-1,own,colo,1,x,2026\n", ":2: 'local-1' cannot name an instance"),
        (NEW + ",own,colo,1,x,2026\n", ":2: '' cannot name an instance"),
        (NEW + "a,own\n", ":2: 2 cells where the header has 6"),
        (NEW + '"a,own\n', "not CSV"),
        ("name,vcpus\nc7i.large,1.5\n", ":2: vcpus is '1.5'; allowed: a whole number"),
        ("name,arch\nc7i.large,ppc\n", ":2: arch is 'ppc'; allowed: x86_64, arm64"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text, "mine.csv", {"c7i.large": row()})
    assert f"mine.csv{said}" in str(caught.value) or ("not CSV" in said and said in str(caught.value))


def test_later_files_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = tmp_path / "loadstone"
    own.mkdir()
    prices = "name,usd_per_hour,price_source,price_date\nc7i.large,{},x,2026\n"
    given = tmp_path / "given.csv"

    def price() -> float | None:
        rows = load_catalogue(given if given.exists() else None)
        return next(each.usd_per_hour for each in rows if each.name == "c7i.large")

    for path, value in ((own / FETCHED, 1.0), (own / OWN, 2.0), (given, 3.0)):
        path.write_text(prices.format(value), encoding="utf-8")
        assert price() == value


def test_a_file_that_is_not_there_or_not_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv: No such file.*CSV file of instances"):
        load_catalogue(tmp_path / "none.csv")
    (tmp_path / "bin.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"bin\.csv: not UTF-8"):
        load_catalogue(tmp_path / "bin.csv")
