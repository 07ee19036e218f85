"""A bundle for this machine: what is in it, what it refuses, and that it answers as the reference does, however it is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compilers import spec_io
from compilers.build import load_session
from compilers.edge.bundle import LIBRARY, LOADER, MANIFEST, RUNNER, SUMS
from compilers.edge.runtime.loadstone_model import Corrupt, Model
from compilers.edge.session import Piped
from compilers.edge.toolchain import Runner
from compilers.spec_io import PreparedModel
from harness.nouns import Artifact
from tests.compilers.edge.conftest import make

CLIENT = Path(__file__).with_name("client.cpp")


@pytest.fixture
def copy(native: Artifact, tmp_path: Path) -> Path:
    """The bundle as it is handed over, which a test may spoil."""
    return Path(shutil.copytree(native.path, tmp_path / "bundle"))


def run(*command: object, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(each) for each in command], capture_output=True, check=False, timeout=60, **more)


def reference(prepared: PreparedModel, payload: int) -> tuple[np.ndarray, np.ndarray]:
    (given,) = spec_io.read_payloads(prepared.folder)[payload].values()
    (want,) = spec_io.read_reference(prepared.folder)[payload]
    return given, want


def test_it_was_compared_with_the_reference(native: Artifact) -> None:
    assert native.parity.payloads == 32
    assert native.parity.max_rel < 1e-5
    assert native.details["checked"] == "this machine"
    assert native.details["latency_ms"] is None
    assert {"conv", "depthwise", "dense"} <= set(native.details["rules"])


def test_the_manifest_says_what_it_is_and_needs(native: Artifact, prepared: PreparedModel) -> None:
    manifest = json.loads((native.path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["model"]["digest"] == prepared.spec.digest
    assert manifest["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 3, 16, 16]}]
    assert set(manifest["needs"]["libraries"]) <= {
        "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
    }  # fmt: skip
    assert int(manifest["needs"]["glibc"].split(".")[0]) == 2
    files = {path.relative_to(native.path).as_posix() for path in native.path.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == files - {MANIFEST, SUMS, "manifest.json"}
    assert run("sha256sum", "-c", SUMS, cwd=native.path).returncode == 0


def test_the_same_model_gives_the_same_bytes(native: Artifact, prepared: PreparedModel, tmp_path: Path) -> None:
    assert make(prepared, tmp_path).digest == native.digest


def test_the_runner_checks_times_and_runs_files(copy: Path, prepared: PreparedModel) -> None:
    runner = copy / RUNNER
    checked = run(runner, "--threads", 2, "--check")
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.decode().count(", ok") == 2
    assert b"input image: float32 [1, 3, 16, 16], 3072 bytes" in run(runner, "--info").stdout
    timed = json.loads(run(runner, "--bench", "0.05", "--threads", 1).stdout)
    assert timed["inferences"] >= 3
    assert 0 < timed["min_ms"] <= timed["p50_ms"] <= timed["p90_ms"]
    given, want = reference(prepared, 7)
    given.tofile(copy / "in.bin")
    assert run(runner, copy / "in.bin", "-o", copy / "out").returncode == 0
    np.testing.assert_allclose(np.fromfile(copy / "out0.bin", "f").reshape(want.shape), want, rtol=1e-4, atol=1e-5)


def test_the_runner_says_that_outputs_differ(copy: Path) -> None:
    path = copy / "check/1-output0.bin"
    values = np.fromfile(path, "f")
    (values + np.abs(values).max()).tofile(path)
    assert run(copy / RUNNER, "--check").returncode == 3  # altered
    wrong = run(copy / RUNNER, "--no-verify", "--check")
    assert wrong.returncode == 1
    assert b"WRONG" in wrong.stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((), "what to do?"),
        (("--inof",), "unknown option"),
        (("--bench", "long"), "needs a number"),
        (("--bench",), "needs a number"),
        (("a.bin",), "what to do?"),
        (("nothing.bin", "-o", "out"), "nothing.bin: cannot be opened"),
        ((MANIFEST, "-o", "out"), "has not the size of its tensor"),
        (("a.bin", "b.bin", "-o", "out"), "another number of inputs"),
    ],
)
def test_the_runner_refuses_with_one_line(native: Artifact, command: tuple[str, ...], said: str) -> None:
    done = run(native.path / RUNNER, *command, cwd=native.path)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("name", [LIBRARY, LOADER, "check/0-input0.bin", MANIFEST])
def test_an_altered_file_is_refused_by_runner_and_loader(copy: Path, name: str) -> None:
    with (copy / name).open("r+b") as file:
        file.seek(20)
        file.write(b"\x00\x01")
    done = run(copy / RUNNER, "--check")
    assert done.returncode == 3
    assert f"{name}: was altered" in done.stderr.decode()
    with pytest.raises(Corrupt, match="copy the whole bundle again"):
        Model(copy)
    # The loader as a program says it in one line; altered itself, it may not even be Python any more.
    if name != LOADER:
        said = run(sys.executable, copy / LOADER, "--check")
        assert said.returncode == 3
        assert said.stderr.startswith(b"loadstone_model: ")


@pytest.mark.parametrize("name", [LIBRARY, SUMS])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    done = run(copy / RUNNER, "--check")
    assert done.returncode == 3
    assert f"{name}: is missing" in done.stderr.decode()


def test_the_loader_answers_as_the_reference_does(native: Artifact, prepared: PreparedModel) -> None:
    given, want = reference(prepared, 3)
    with Model(native.path, threads=2) as model:
        assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in model.inputs] == [("image", "float32", (1, 3, 16, 16))]
        first = model.run({"image": given})["logits"]
        np.testing.assert_allclose(first, want, rtol=1e-4, atol=1e-5)
        kept = first.copy()
        model.run({"image": given * 2})
        np.testing.assert_array_equal(first, kept)  # the caller's own
        with pytest.raises(ValueError, match=r"float64\[1, 3, 16, 16\], the model takes image: float32"):
            model.run({"image": given.astype("d")})
        with pytest.raises(ValueError, match="no input 'picture'"):
            model.run({"image": given, "picture": given})
        with pytest.raises(ValueError, match="'image' is missing"):
            model.run({})
    with pytest.raises(RuntimeError, match="closed"):
        model.run({"image": given})


def test_two_models_in_one_process_do_not_disturb_each_other(native: Artifact, prepared: PreparedModel) -> None:
    payloads = [reference(prepared, at) for at in range(4)]
    with Model(native.path, threads=2) as one, Model(native.path, threads=1) as other:
        for given, want in payloads:
            for model in (one, other):
                np.testing.assert_allclose(model.run({"image": given})["logits"], want, rtol=1e-4, atol=1e-5)


def test_the_loader_needs_no_numpy(copy: Path) -> None:
    without = (
        "import runpy, sys; sys.modules['numpy'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = run(sys.executable, "-c", without, copy / LOADER, "--check", env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().count(", ok") == 2


def test_a_users_program_links_the_library(copy: Path, prepared: PreparedModel) -> None:
    built = run("g++", CLIENT, f"-I{copy}", f"-L{copy}", "-lmodel", "-Wl,-rpath,$ORIGIN", "-o", copy / "client")
    assert built.returncode == 0, built.stderr
    given, want = reference(prepared, 2)
    done = run(copy / "client", input=given.tobytes())
    assert done.returncode == 0
    np.testing.assert_allclose(np.frombuffer(done.stdout, "f").reshape(want.shape), want, rtol=1e-4, atol=1e-5)


def test_it_is_served_like_any_artifact(native: Artifact, prepared: PreparedModel) -> None:
    session = load_session("tvm-bundle", native.path, prepared.folder, 1)
    given, want = reference(prepared, 5)
    (got,) = session.run({"image": given})
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_runner_that_dies_is_told_with_its_last_words(copy: Path, prepared: PreparedModel) -> None:
    (copy / LIBRARY).write_bytes(b"not a library")
    session = Piped(copy, prepared.spec, 1, Runner(prefix=(), name="this machine"))
    with pytest.raises(RuntimeError, match=r"ended with 3 under this machine: .*libmodel\.so: was altered"):
        session.run({"image": reference(prepared, 0)[0]})
    session.close()
