"""The sample file: what was whole is read back, whatever happened to its end."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadprofiles import samples
from loadprofiles.recorder import Recorder


def frame(first: int, n: int) -> samples.Samples:
    records = np.zeros(n, samples.RECORD)
    records["due_ns"] = np.arange(first, first + n)
    return records


def file_of(*sizes: int) -> bytes:
    file = io.BytesIO()
    for at, n in enumerate(sizes):
        samples.append_frame(file, frame(sum(sizes[:at]), n))
    return file.getvalue()


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(min_value=1, max_value=20), min_size=1, max_size=5), cut=st.floats(min_value=0, max_value=1))
def test_a_torn_file_ends_at_its_last_whole_frame(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "torn"
    whole = file_of(*sizes)
    kept = int(cut * len(whole))
    path.write_bytes(whole[:kept])
    ends = [len(file_of(*sizes[: i + 1])) for i in range(len(sizes))]
    survivors = sum(size for size, end in zip(sizes, ends, strict=True) if end <= kept)
    assert samples.read(path)["due_ns"].tolist() == list(range(survivors))


def test_an_altered_frame_and_what_follows_are_not_believed(tmp_path: Path) -> None:
    data = bytearray(file_of(3, 3, 3))
    data[len(data) // 2] ^= 1
    (tmp_path / "altered").write_bytes(data)
    assert len(samples.read(tmp_path / "altered")) == 3


def test_write_appends_and_nothing_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    samples.write(path, frame(0, 2))
    samples.write(path, frame(2, 3))
    assert samples.read(path)["due_ns"].tolist() == [0, 1, 2, 3, 4]
    path.write_bytes(b"")
    assert samples.read(path).dtype == samples.RECORD


def test_the_recorder_packs_each_field_where_it_belongs(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "file")
    row = (2**62, 2**61, -1, 7, -1, 4000, 65535, 503, samples.FAILED)
    for _ in range(5000):
        recorder.add(*row)
    assert len(samples.read(tmp_path / "file")) == 4096  # a full frame goes out by itself
    recorder.close()
    records = samples.read(tmp_path / "file")
    assert len(records) == 5000
    assert {record.item() for record in records} == {row}
    assert recorder.counts == [0, 5000, 0, 0]
