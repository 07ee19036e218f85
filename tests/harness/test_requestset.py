from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.nouns import ModelSpec, TensorSpec
from harness.requestset import encode, raw_requests, write_requests
from harness.serving.protocol import Codec


def spec() -> ModelSpec:
    return ModelSpec(
        name="m",
        digest="",
        inputs=(
            TensorSpec(name="ids", dtype="int64", shape=(1, 4)),
            TensorSpec(name="x", dtype="float32", shape=(1, 2)),
        ),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2)),),
        parameters=None,
        flops=None,
        weights="file",
        weights_note="",
        reference="",
    )


def payload(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"ids": rng.integers(0, 9, (1, 4)), "x": rng.standard_normal((1, 2), dtype=np.float32)}


def test_the_server_reads_what_is_sent() -> None:
    sent = payload(0)
    header_length, body = encode(sent)
    got = Codec(spec()).decode(memoryview(body), header_length)
    for name, value in sent.items():
        np.testing.assert_array_equal(got.inputs[name], value)
    assert all(output.binary for output in got.outputs)


def test_every_payload_is_a_file_and_equal_ones_share_it(tmp_path: Path) -> None:
    requests = write_requests("m", [payload(0), payload(1), payload(0)], tmp_path)
    assert len(requests.bodies) == 3
    assert len(set(requests.bodies)) == 2
    assert requests.path == "/v2/models/m/infer"
    assert all(
        path.stat().st_size == 4 * 8 + 2 * 4 + int(requests.headers["Inference-Header-Content-Length"])
        for path in requests.bodies
    )


def test_payloads_of_different_shapes_cannot_share_their_headers(tmp_path: Path) -> None:
    other = {**payload(0), "x": np.zeros((1, 20_000), np.float32)}
    with pytest.raises(ValueError, match="share names, dtypes and shapes"):
        write_requests("m", [payload(0), other], tmp_path)


def test_files_are_sent_as_they_are_with_the_type_of_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("1,2")
    (tmp_path / "a.csv").write_text("3,4")
    (tmp_path / ".hidden").write_text("x")
    found = raw_requests("/invocations?x", tmp_path, as_json=False, content_type=None)
    assert found.bodies == (tmp_path / "a.csv", tmp_path / "b.csv")
    assert (found.path, found.headers) == ("/invocations?x", {"Content-Type": "text/csv"})
    one = raw_requests("/", tmp_path / "a.csv", as_json=False, content_type="text/plain")
    assert (one.bodies, one.headers) == ((tmp_path / "a.csv",), {"Content-Type": "text/plain"})


@pytest.mark.parametrize(
    ("files", "as_json", "said"),
    [
        ({}, False, "no file"),
        ({"a.csv": "1", "b.bin": "1"}, False, "several types"),
        ({"a.bin": ""}, False, "0 bytes; allowed: 1 to"),
        ({"a.json": '{"a": '}, True, "not JSON"),
        ({"a.json": "[" * 100_000}, True, "not JSON"),
        ({f"{number}.bin": "x" for number in range(1025)}, False, "1025 files; allowed: 1 to 1024"),
    ],
)
def test_files_that_cannot_be_sent_are_refused(tmp_path: Path, files: dict[str, str], as_json: bool, said: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        raw_requests("/", tmp_path, as_json=as_json, content_type=None)
