"""`loadstone serve` and `loadstone load` together, and clients that others wrote against the server."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import requests
import tritonclient.http as triton

from tests.e2e.conftest import command, started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@contextmanager
def listening(model: Path, cache: Path) -> Iterator[str]:
    """HOST:PORT of a server that `loadstone serve` started on a model file."""
    environment = {**os.environ, "LOADSTONE_CACHE": str(cache)}
    with started(command("serve", str(model), "--port", "0"), env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(r"http://(127\.0\.0\.1:[1-9]\d*) ", line)
            if found:
                break
        else:
            raise AssertionError("the server never said where it listens")
        yield found[1]


@pytest.fixture(scope="module")
def address(unseen_onnx: Path, cache: Path) -> Iterator[str]:
    with listening(unseen_onnx, cache) as found:
        yield found


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 28, 28), dtype=np.float32)


@pytest.fixture(scope="module")
def expected(unseen_onnx: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(unseen_onnx), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_gets_the_right_answer(address: str, image: np.ndarray, expected: np.ndarray, binary: bool) -> None:
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        (model,) = [entry["name"] for entry in client.get_model_repository_index()]
        assert client.get_model_metadata(model)["inputs"][0]["shape"] == [1, 3, 28, 28]
        tensor = triton.InferInput("image", list(image.shape), "FP32")
        tensor.set_data_from_numpy(image, binary_data=binary)
        wanted = triton.InferRequestedOutput("scores", binary_data=binary)
        answer = client.infer(model, [tensor], outputs=[wanted]).as_numpy("scores")
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)


def test_sagemakers_contract(address: str, image: np.ndarray, expected: np.ndarray) -> None:
    assert requests.get(f"http://{address}/ping", timeout=10).status_code == 200
    raw = requests.post(
        f"http://{address}/invocations",
        data=image.tobytes(),
        headers={"Content-Type": "application/octet-stream"},
        timeout=10,
    )
    np.testing.assert_allclose(np.frombuffer(raw.content, np.float32), expected.ravel(), rtol=1e-4, atol=1e-5)
    rows = requests.post(f"http://{address}/invocations", json={"instances": image.tolist()}, timeout=10).json()
    np.testing.assert_allclose(rows["predictions"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", [("poisson", "--rate", "40"), ("closed", "--users", "2")])
def test_load_measures_it(address: str, how: tuple[str, ...]) -> None:
    url = f"http://{address}/v2/models/unseen-net"
    done = subprocess.run(
        command("load", url, "--profile", how[0], *how[1:], "--duration", "3", "--json"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    seen = json.loads(done.stdout)
    assert done.returncode == (0 if seen["validity"]["valid"] else 3), done.stderr
    assert seen["succeeded"] == seen["planned"] > 50
    assert seen["latency_ms"]["p50"]["low"] <= seen["latency_ms"]["p50"]["value"] <= seen["latency_ms"]["p50"]["high"]
    assert seen["compute_ms"]["value"] < seen["service_ms"]["p50"]["value"]
