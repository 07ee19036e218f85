"""`loadstone load` against endpoints of every kind, good and bad: what it counts, what it says, how it ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.commands.load import LoadRequest, load_url
from harness.errors import InfrastructureError, UsageError
from loadprofiles import samples
from loadprofiles.generator import Generator
from loadprofiles.registry import Figures
from tests.loadprofiles.server import Server, serving

TRICKY = {
    "busy": "status 503",
    "empty": "empty body",
    "truncated": "connection closed in the middle of a reply",
    "reset": "connection broke: Connection reset by peer",
    "garbage": "malformed reply",
    "cut-json": "body is not a JSON document",
}


SHARED: list[Generator] = []


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    (tmp_path / "payload").mkdir()
    for number in range(3):
        (tmp_path / "payload" / f"{number}.json").write_text(json.dumps({"instances": [number]}))
    return tmp_path / "payload"


def ask(server: Server, path: str, **changes: Any) -> LoadRequest:
    figures = Figures(rate_per_s=50, duration_s=0.4)
    return replace(LoadRequest(url=f"http://127.0.0.1:{server.port}/{path}", profile="steady", figures=figures), **changes)


@pytest.fixture(scope="module", autouse=True)
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests: starting it is most of what a short load takes."""
    with Generator(None, tmp_path_factory.mktemp("generator") / "log") as started:
        SHARED.append(started)
        yield
        SHARED.clear()


def shared(log: Path) -> contextlib.AbstractContextManager[Generator]:
    return contextlib.nullcontext(SHARED[0])


def loaded(asked: LoadRequest, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = load_url(asked, as_json=True, start=shared)
    seen: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert seen["planned"] == seen["succeeded"] + seen["failed"] + seen["dropped"] + seen["undrained"]
    assert sum(seen["errors"].values()) == seen["failed"] + seen["undrained"]
    return code, seen


def test_open_inference_protocol_needs_no_payload(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.routes |= {"v2/models/m": "metadata", "v2/models/m/infer": "binary"}
    _, seen = loaded(ask(server, "v2/models/m"), capsys)
    assert (seen["protocol"], seen["planned"], seen["succeeded"]) == ("oip", 20, 20)
    assert seen["expected"].endswith(" bytes")
    assert set(server.received[3:]) == {server.received[3]}
    assert seen["generator"]["max_in_flight"] >= 1
    assert seen["reconnects"] == 0


@pytest.mark.parametrize(
    ("path", "routed", "protocol", "expected"),
    [
        ("invocations", "json", "sagemaker", "status 200 and a JSON document"),
        ("invocations", "good", "sagemaker", "status 200 and a body that is not empty"),
        ("predict", "json", "json", "status 200 and a JSON document"),
        ("anything", "good", "bytes", "status 200 and a body that is not empty"),
    ],
)
def test_any_other_endpoint_is_sent_the_files(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str], path: str, routed: str, protocol: str, expected: str
) -> None:
    server.routes[path] = routed
    given = None if path in ("invocations", "predict") else "bytes"
    _, seen = loaded(ask(server, path, payload=payload, protocol=given), capsys)
    assert (seen["protocol"], seen["expected"], seen["succeeded"]) == (protocol, expected, 20)
    assert set(server.received) == {18}


@pytest.mark.parametrize("behaviour", list(TRICKY))
def test_a_bad_endpoint_is_all_failures_and_never_fast(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str], behaviour: str
) -> None:
    code, seen = loaded(ask(server, behaviour, payload=payload, protocol="json"), capsys)
    assert (seen["planned"], seen["failed"], seen["error_ratio"]) == (20, 20, 1.0)
    assert all(error.startswith(TRICKY[behaviour]) for error in seen["errors"])
    assert all(each["value"] is None for each in (*seen["latency_ms"].values(), *seen["service_ms"].values()))
    assert code == 3


def test_an_endpoint_that_never_answers_does_not_hang_the_load(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, seen = loaded(
        ask(server, "never", payload=payload, timeout_s=0.3, figures=Figures(rate_per_s=40, duration_s=0.3)), capsys
    )
    assert seen["errors"] == {"no reply within 0.3 s": 12}
    assert code == 3


def test_failures_push_the_percentiles_up_not_down(server: Server, payload: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ask(server, "every-other-busy", payload=payload, protocol="bytes", profile="closed")
    _, seen = loaded(replace(asked, figures=Figures(users=1, duration_s=20, requests=200)), capsys)
    assert (seen["succeeded"], seen["errors"]) == (100, {"status 503": 100})
    assert seen["latency_ms"]["p50"]["n"] == 200
    assert seen["latency_ms"]["p90"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 200,
        "reason": "50 % of requests failed",
    }


def test_answers_of_another_shape_than_the_first_are_failures(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.routes |= {"v2/models/m": "metadata", "v2/models/m/infer": "first-2-binary-then-binary-other"}
    _, seen = loaded(ask(server, "v2/models/m"), capsys)
    assert seen["failed"] == 20
    assert all("bytes instead of" in error for error in seen["errors"])


def test_connections_that_are_closed_after_each_answer_are_reported(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, seen = loaded(ask(server, "closes", payload=payload, protocol="bytes", in_flight=4), capsys)
    assert (seen["succeeded"], code) == (20, 3)
    assert seen["reconnects"] >= 16
    assert any("connections were opened in the window" in reason for reason in seen["validity"]["reasons"])


def test_phases_have_a_row_each(server: Server, payload: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pattern = {"TrafficType": "STAIRS", "Stairs": {"DurationInSeconds": 1, "NumberOfSteps": 2, "UsersPerStep": 2}}
    (tmp_path / "stairs.json").write_text(json.dumps(pattern))
    asked = ask(server, "slow-5", payload=payload, protocol="bytes", profile=str(tmp_path / "stairs.json"), figures=Figures())
    _, seen = loaded(asked, capsys)
    first, second = seen["phases"]
    assert (first["start"], second["start"], seen["profile"]["users"]) == (2, 4, 4)
    assert first["planned"] + second["planned"] == seen["planned"]
    assert 1.5 < second["answered_per_s"] / first["answered_per_s"] < 2.5
    load_url(asked, as_json=False, start=shared)
    said = capsys.readouterr().out
    assert "phase" in said
    assert "answered/s" in said


@pytest.mark.parametrize(("profile", "what"), [("singlestream", "p90 of service"), ("offline", "throughput")])
def test_mlperfs_scenarios_report_their_one_figure(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str], profile: str, what: str
) -> None:
    asked = ask(server, "good", payload=payload, protocol="bytes", profile=profile, figures=Figures(requests=200))
    _, seen = loaded(asked, capsys)
    assert seen["planned"] == 200
    assert seen["headline"]["what"] == what
    expected = seen["service_ms"]["p90"]["value"] if profile == "singlestream" else seen["achieved_per_s"]
    assert seen["headline"]["value"] == expected > 0
    assert seen["generator"]["max_in_flight"] == (1 if profile == "singlestream" else 16)


def test_a_trace_is_replayed(server: Server, payload: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("second,count\n0,5\n1,0\n2,15\n")
    figures = Figures(trace=str(tmp_path / "day.csv"), compress=5)
    _, seen = loaded(ask(server, "good", payload=payload, protocol="bytes", profile="trace", figures=figures), capsys)
    assert (seen["planned"], seen["succeeded"]) == (20, 20)
    assert (seen["profile"]["compress"], seen["profile"]["duration_s"]) == (5, pytest.approx(0.6))


@pytest.mark.parametrize(
    ("slo", "code", "said"), [("p50<10s,errors<1%", 0, "met"), ("p50<1us", 1, "missed"), ("p99<10s", 4, "cannot tell")]
)
def test_an_slo_decides_the_exit_code_of_a_valid_run(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str], slo: str, code: int, said: str
) -> None:
    ended, seen = loaded(ask(server, "good", payload=payload, protocol="bytes", slo=slo), capsys)
    assert seen["slo"]["verdict"] == said
    assert ended == (code if seen["validity"]["valid"] else 3)


def test_out_keeps_the_samples_the_schedule_and_the_result(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    asked = ask(server, "good", payload=payload, protocol="bytes", out=out)
    _, seen = loaded(asked, capsys)
    assert json.loads((out / "result.json").read_text()) == seen
    assert len(samples.read(out / "samples.bin")) == len(np.load(out / "due.npy")) == 20
    with pytest.raises(UsageError, match="is not empty"):
        load_url(asked, as_json=True)


def test_what_it_says_adds_up_and_no_process_stays(server: Server, payload: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(psutil.Process().children())
    code = load_url(ask(server, "every-other-busy", payload=payload, protocol="bytes", slo="p50<1s"), as_json=False)
    said = capsys.readouterr()
    assert "steady, 50/s for 0.4 s" in said.err
    assert "planned 20 = succeeded" in said.out
    assert "× status 503" in said.out
    assert "reconnects" in said.out
    assert ("INVALID" in said.out) == (code == 3)
    assert set(psutil.Process().children()) == before


def test_headers_go_out_and_replace_the_payloads_type(
    server: Server, payload: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ask(server, "good", payload=payload, protocol="bytes", headers=("content-type: text/x", "X-Key: 1"))
    loaded(asked, capsys)
    assert server.heads
    assert all(head.count(b"content-type:") == 1 and b"content-type: text/x" in head for head in server.heads)
    assert all(b"x-key: 1" in head for head in server.heads)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "https://127.0.0.1/x"}, "https is not spoken"),
        ({"payload": None}, "Give --payload"),
        ({"payload": Path("no/such")}, "no such file or folder"),
        ({"headers": ("nonsense",)}, "NAME: VALUE"),
        ({"slo": "p99 is 3"}, "did not understand"),
        ({"figures": Figures(rate_per_s=10**9)}, "rate must be above 0 and at most 1,000,000"),
        ({"url": "http://127.0.0.1:1/v2/models/m"}, "is the server up"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_sent(
    server: Server, payload: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_url(replace(ask(server, "good", payload=payload), **changes), as_json=True)
    assert server.received == []


def test_a_server_that_is_not_there_is_an_error(server: Server, payload: Path) -> None:
    with pytest.raises(InfrastructureError, match="Connection refused"):
        load_url(replace(ask(server, "x", payload=payload), url="http://127.0.0.1:1/x", timeout_s=1), as_json=True)
