"""Reaching endpoints over real HTTP: every dialect, wrong outputs, refusals, and those that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import Interrupted
from harness.nouns import Failure
from harness.reached import dialects
from harness.reached.nouns import Reached
from harness.reached.probe import RemoteEndpoint, connect, reach
from harness.request import Remote
from tests.harness.reached.server import BINARY, INSTANCES, TENSORS, TRITON, doubling, serving


def never() -> bool:
    return False


def remote(port: int, path: str = "/v2/models/their-name") -> Remote:
    return Remote(name="prod", url=f"http://127.0.0.1:{port}{path}", instance="c7i.large")


@pytest.mark.parametrize(
    ("speaks", "path", "dialect"),
    [
        (BINARY, "/v2/models/their-name", dialects.BINARY),
        (TENSORS, "/v2/models/their-name", dialects.TENSORS),
        (TRITON, "/invocations", dialects.TRITON_BINARY),
        (TENSORS, "/invocations", dialects.TENSORS),
        (INSTANCES, "/invocations", dialects.INSTANCES),
    ],
)
def test_an_endpoint_is_asked_in_the_dialect_it_understands(
    tmp_path: Path, speaks: str, path: str, dialect: dialects.Dialect
) -> None:
    model = doubling(tmp_path / "model")
    with serving(speaks) as port:
        found = reach(remote(port, path), model, tmp_path / "requests", never)
        assert isinstance(found, Reached)
        assert (found.dialect, found.parity.max_rel, found.parity.payloads) == (dialect.name, 0.0, 2)
        assert found.requests.path == ("/v2/models/their-name/infer" if path.startswith("/v2") else path)
        assert len({file.read_bytes() for file in found.requests.bodies}) == 2
        assert (found.expected.body_bytes is not None) == (speaks in (BINARY, TRITON))
        assert speaks in (BINARY, TRITON) or found.expected.body == "json"
        again = connect(remote(port, path), found, model)
        assert isinstance(again, RemoteEndpoint)
        assert (again.port, again.pid, again.cold) == (port, None, None)
        assert again.alive()
    assert not again.alive()


def test_inputs_go_by_the_names_that_the_endpoint_gives_them(tmp_path: Path) -> None:
    model = doubling(tmp_path / "model")
    with serving(BINARY, name="their_input") as port:
        found = reach(remote(port), model, tmp_path / "requests", never)
        assert isinstance(found, Reached)
        length = int(found.requests.headers["Inference-Header-Content-Length"])
        header = json.loads(found.requests.bodies[0].read_bytes()[:length])
        assert header["inputs"][0]["name"] == "their_input"
        assert isinstance(connect(remote(port), found, model), RemoteEndpoint)


def test_wrong_outputs_fail_at_parity(tmp_path: Path) -> None:
    with serving(BINARY, factor=2.1) as port:
        found = reach(remote(port), doubling(tmp_path / "model"), tmp_path / "requests", never)
    assert isinstance(found, Failure)
    assert found.stage == "parity"
    assert "relative error 0.05" in found.reason


def test_an_endpoint_that_changes_its_answers_between_visits_fails(tmp_path: Path) -> None:
    model = doubling(tmp_path / "model")
    with serving(BINARY) as port:
        found = reach(remote(port), model, tmp_path / "requests", never)
        assert isinstance(found, Reached)
    with serving(BINARY, factor=3.0) as port:
        wrong = connect(remote(port), found, model)
    assert isinstance(wrong, Failure)
    assert "differently from before" in wrong.reason


def test_nobody_there_and_refusals_are_reasons(tmp_path: Path) -> None:
    model = doubling(tmp_path / "model")
    with serving(BINARY, status=503) as port:
        refused = reach(remote(port), model, tmp_path / "requests", never)
    assert isinstance(refused, Failure)
    assert (refused.stage, "answered 503" in refused.reason) == ("reach", True)
    gone = reach(remote(port), model, tmp_path / "requests", never)
    assert isinstance(gone, Failure)
    assert "no answer" in gone.reason
    with serving(INSTANCES) as port:
        foreign = reach(remote(port), model, tmp_path / "requests", never)
    assert isinstance(foreign, Failure)
    assert "415" in foreign.reason


def test_ctrl_c_ends_the_asking(tmp_path: Path) -> None:
    with serving(BINARY) as port, pytest.raises(Interrupted):
        reach(remote(port), doubling(tmp_path / "model"), tmp_path / "requests", lambda: True)
