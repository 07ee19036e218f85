"""What counts as a good reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadprofiles.expectation import fault, outputs
from tests.loadprofiles.test_plan import OPEN


@dataclass
class Reply:
    body: bytearray | None
    status: int = 200
    body_bytes: int = 0

    def __post_init__(self) -> None:
        self.body_bytes = self.body_bytes or len(self.body or b"")


JSON = replace(OPEN, expect_body="json")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(bytearray(b"{}")), None),
        (Reply(bytearray(b" [1]\n")), None),
        (Reply(bytearray(b"")), "empty body"),
        (Reply(bytearray(b"<html>")), "body is not a JSON document"),
        (Reply(bytearray(b'{"a": ')), "body is not a JSON document"),
        (Reply(bytearray(b"[" * 100_000 + b"]" * 100_000)), "body is not a JSON document"),
        (Reply(bytearray(b'{"a": '), body_bytes=1_000_000), None),  # kept only in part
        (Reply(bytearray(b"<html>"), body_bytes=1_000_000), "body is not a JSON document"),
        (Reply(bytearray(b"{}"), status=503), "status 503"),
    ],
)
def test_documents(reply: Reply, said: str | None) -> None:
    assert fault(JSON, reply) == said


def test_lengths() -> None:
    exact = replace(OPEN, expect_body_bytes=3)
    assert fault(exact, Reply(bytearray(b"abc"))) is None
    assert fault(exact, Reply(bytearray(b"ab"))) == "body of 2 bytes instead of 3"
    assert fault(exact, Reply(bytearray())) == "empty body"
    assert fault(replace(OPEN, expect_body="some"), Reply(bytearray())) == "empty body"
    assert fault(OPEN, Reply(bytearray())) is None


def test_outputs_are_told_by_name_type_and_shape() -> None:
    first, second = ({"name": "a", "datatype": "FP32", "shape": [1, 2]}, {"name": "b", "datatype": "INT64", "shape": []})
    found = {"outputs": [{**first, "data": []}, second]}
    assert outputs(found) == "a FP32 1x2, b INT64 "


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["outputs", "name", "datatype", "shape", "x"]), inner)
        ),
        max_leaves=12,
    )
)
def test_no_document_breaks_the_look_at_its_outputs(document: Any) -> None:
    assert outputs(document) is None or isinstance(document, dict)
