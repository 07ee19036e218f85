"""One fixed-size record per planned request, appended in checked frames.

The generator appends; everybody else reads. A frame is a header (magic, payload length, CRC-32) and packed records; a torn or
altered tail ends the file at the last good frame, so a crash loses at most the frame being written.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

SUCCEEDED, FAILED, DROPPED, UNDRAINED = range(4)
"""Codes of the `outcome` field; exactly one per planned request."""

ABSENT_NS = -1
"""`sent_ns` of a request that was never sent, `done_ns` of one that never ended."""

RECORD = np.dtype(
    [
        ("due_ns", "<i8"),  # monotonic clock; equals sent_ns for a closed loop
        ("sent_ns", "<i8"),
        ("done_ns", "<i8"),
        ("queue_us", "<i4"),  # as the server reported, -1 when it did not
        ("compute_us", "<i4"),
        ("bytes", "<i4"),  # of the response body
        ("payload", "<u2"),
        ("status", "<u2"),  # HTTP status, 0 when there was no response
        ("outcome", "<u1"),
    ]
)

_MAGIC = b"LST1"
_HEADER = struct.Struct("<4sII")

Samples = NDArray[Any]


def append_frame(file: BinaryIO, samples: Samples) -> None:
    """Append `samples` (dtype RECORD) as one frame."""
    payload = samples.tobytes()
    file.write(_HEADER.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload)


def write(path: Path, samples: Samples) -> None:
    """Append one frame to the file at `path` and force it to disk."""
    with path.open("ab") as file:
        append_frame(file, samples)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> Samples:
    """All records of the whole, undamaged frames at the front of the file, in the order written."""
    data = path.read_bytes()
    frames, at = [], 0
    while at + _HEADER.size <= len(data):
        magic, length, crc = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        if magic != _MAGIC or len(payload) != length or zlib.crc32(payload) != crc or length % RECORD.itemsize:
            break
        frames.append(np.frombuffer(payload, RECORD))
        at += _HEADER.size + length
    return np.concatenate(frames) if frames else np.empty(0, RECORD)
