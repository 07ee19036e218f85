from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from compilers.payload_files import load
from compilers.spec_io import write_npz
from harness.errors import UsageError
from harness.nouns import TensorSpec

ONE = (TensorSpec(name="x", dtype="float32", shape=(1, 3)),)
TWO = (*ONE, TensorSpec(name="file", dtype="int64", shape=(1, 2)))


def test_each_format_is_read(tmp_path: Path) -> None:
    want = np.array([[1, 2, 3]], np.float32)
    np.save(tmp_path / "a.npy", want)
    write_npz(tmp_path / "b.npz", {"x": want + 1})
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [3, 4, 5]}]}
    (tmp_path / "c.json").write_text(json.dumps(request))
    (tmp_path / "notes.txt").write_text("ignored")
    values = [payload["x"] for payload in load(tmp_path, ONE)]
    np.testing.assert_array_equal(values, [want, want + 1, want + 2])


def test_names_that_numpy_uses_itself_are_kept(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", {"x": np.zeros((1, 3), np.float32), "file": np.ones((1, 2), np.int64)})
    assert load(tmp_path, TWO)[0]["file"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("x", np.zeros((1, 4), np.float32), "'x' is float32[1, 4], the model takes float32[1, 3]"),
        ("x", np.zeros((1, 3), np.float64), "'x' is float64[1, 3], the model takes float32[1, 3]"),
        ("y", np.zeros((1, 3), np.float32), "has inputs y, the model takes x"),
        ("x", np.full((1, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_mismatches_name_the_file(tmp_path: Path, name: str, array: np.ndarray, reason: str) -> None:
    write_npz(tmp_path / "a.npz", {name: array})
    with pytest.raises(UsageError) as caught:
        load(tmp_path, ONE)
    assert reason in str(caught.value)
    assert str(tmp_path / "a.npz") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b"not a zip"),
        ("a.npz", b""),
        ("a.npy", b"\x93NUMPY\x01\x00"),
        ("a.json", b"{}"),
        ("a.json", b"[1"),
        ("a.json", b'{"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'),
        ("a.json", b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2]}]}'),
        ("a.json", b'{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [999]}]}'),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        load(tmp_path, ONE)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match=r"a\.npy"):
        load(tmp_path, ONE)


def test_archives_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    with pytest.raises(UsageError, match="256 MiB when unpacked"):
        load(tmp_path, ONE)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no \.npz"):
        load(tmp_path, ONE)
    with pytest.raises(UsageError, match="not a folder"):
        load(tmp_path / "missing", ONE)
