"""The program itself with a real backend's name, spec folder and artifact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from compilers.cache import write_manifest
from compilers.spec_io import write_spec
from tests.harness.serving.fake_models import IMAGE
from tests.harness.serving.support import ROOT, start, wait_ready


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    write_spec(folder, IMAGE)
    write_manifest(folder)
    return folder


def arguments(model: Path, backend: str = "null") -> list[str]:
    return ["--backend", backend, "--artifact", str(model), "--model-folder", str(model), "--port", "0"]


def test_serves_an_artifact_under_a_given_name(tmp_path: Path, model: Path) -> None:
    child, ready_file = start(tmp_path, *arguments(model), "--name", "picture", "--threads", "2", module="harness.serving")
    try:
        ready = wait_ready(child, ready_file)
        assert ready["threads"] == 2
        base = f"http://127.0.0.1:{ready['port']}/v2/models"
        assert requests.get(f"{base}/picture", timeout=10).json()["platform"] == "loadstone_null"
        assert requests.get(f"{base}/image", timeout=10).status_code == 404
        answer = requests.post(
            f"{base}/picture/infer", bytes(602112), headers={"Inference-Header-Content-Length": "0"}, timeout=10
        )
        assert answer.status_code == 200
    finally:
        child.stop()


@pytest.mark.parametrize(
    ("backend", "extra", "code", "says"),
    [
        ("no-such", [], 2, "unknown backend"),
        ("null", ["--name", "a/b"], 2, "no slash"),
        ("null", ["--model-folder", "/nonexistent"], 2, "is not a prepared model"),
        ("null", ["--ready-file", "/nonexistent/ready"], 3, "--ready-file"),
        ("ort", [], 3, "error: cannot load image with ort: "),
    ],
)
def test_what_cannot_be_served_ends_in_one_line(
    tmp_path: Path, model: Path, backend: str, extra: list[str], code: int, says: str
) -> None:
    argv = [sys.executable, "-m", "harness.serving", *arguments(model, backend), *extra]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert ended.returncode == code
    assert says in ended.stderr.splitlines()[-1]


def test_nothing_heavy_is_imported_before_the_cpu_set_is_in_place() -> None:
    code = "import sys, harness.serving.__main__; print([n for n in ('numpy', 'uvicorn', 'onnxruntime') if n in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True)
    assert ended.stdout.strip() == "[]"
