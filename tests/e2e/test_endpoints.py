"""`loadstone bench` against a server that `loadstone serve` started: reached over the loopback like anybody's endpoint."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import command
from tests.e2e.test_bench import only_run, result_of
from tests.e2e.test_serve import listening

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def address(unseen_onnx: Path, cache: Path) -> Iterator[str]:
    with listening(unseen_onnx, cache) as found:
        yield found


def test_endpoints_are_measured_priced_and_ranked_and_wrong_ones_fail(
    address: str, unseen_onnx: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    model = unseen_onnx.stem
    done = subprocess.run(
        command(
            "bench", str(unseen_onnx), "--profile", "smoke", "--backends", "none", "--json", "--out", str(tmp_path / "runs"),
            "--endpoint", f"oip=http://{address}/v2/models/{model},instance=ml.c7i.large",
            "--endpoint", f"sagemaker=http://{address}/invocations,instance=ml.c7g.large",
            "--endpoint", "gone=http://127.0.0.1:9/invocations,instance=ml.m5.large",
        ),
        capture_output=True, text=True, env=environment, check=False, timeout=300,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found == result_of(only_run(tmp_path / "runs"))
    rows = {row["id"]: row for row in found["candidates"]}
    assert set(rows) == {"oip@ml.c7i.large", "sagemaker@ml.c7g.large", "gone@ml.m5.large"}
    for name, dialect in (("oip@ml.c7i.large", "open inference"), ("sagemaker@ml.c7g.large", "Triton's")):
        row = rows[name]
        # A noisy machine may make a run invalid, and must then say so; nothing may fail.
        assert row["status"] in ("ranked", "rejected", "invalid"), row["reason"]
        assert row["endpoint"]["protocol"].startswith(dialect)
        assert row["parity"]["payloads"] >= 32
        assert row["cpu_utilization"] is row["memory_mb"] is row["start_s"] is None
        assert row["unmeasured"]["memory_mb"]
        assert row["service_ms"] is None or row["service_ms"]["p50"]["value"] > 0
    assert rows["oip@ml.c7i.large"]["usd_per_hour"] == pytest.approx(0.107, rel=0.02)
    assert (rows["gone@ml.m5.large"]["status"], rows["gone@ml.m5.large"]["stage"]) == ("failed", "reach")
    judged = any(row["status"] in ("ranked", "rejected") for row in rows.values())
    assert done.returncode == (0 if judged else 3), done.stderr
