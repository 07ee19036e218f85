from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.reached.option import parse

URL = "http://127.0.0.1:1/v2/models/m"


def test_an_endpoint_has_a_name_a_url_and_an_instance() -> None:
    (found,) = parse([f"prod={URL},instance=ml.c7i.large"])
    assert (found.name, found.url, found.instance) == ("prod", URL, "ml.c7i.large")
    assert parse(["sm=http://127.0.0.1:8080/invocations,instance=local-1"])[0].instance == "local-1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["prod"], "is not --endpoint NAME=http://HOST:PORT"),
        ([f"prod={URL}"], "instance=ml"),
        ([f"={URL},instance=x"], "is not --endpoint"),
        (["prod=https://x/invocations,instance=x"], "https is not spoken"),
        (["prod=http://x/predict,instance=x"], "neither"),
        (["prod=http://x/v2/models/,instance=x"], "neither"),
        ([f"a={URL},instance=x", f"b={URL},instance=y"], "the URL http"),
        ([f"a={URL},instance=x", f"a={URL}2,instance=y"], "the name a"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(given: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(given)
