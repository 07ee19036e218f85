"""Keeps one record per request without holding up whoever sends: packed at once, written in frames."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from loadprofiles import samples

_RECORD = struct.Struct("<qqqiiiHHB")  # samples.RECORD, field by field
_FRAME_RECORDS = 4096


class Recorder:
    """Appends records to the file at `path`; `counts` is by outcome code. Raises OSError when the disk refuses."""

    def __init__(self, path: Path) -> None:
        if _RECORD.size != samples.RECORD.itemsize:
            raise AssertionError("the packed record and samples.RECORD differ")
        self.counts = [0, 0, 0, 0]
        self._file = path.open("ab", buffering=0)
        self._buffer = bytearray(_RECORD.size * _FRAME_RECORDS)
        self._used = 0

    def add(
        self,
        due_ns: int,
        sent_ns: int,
        done_ns: int,
        queue_us: int,
        compute_us: int,
        body: int,
        payload: int,
        status: int,
        code: int,
    ) -> None:
        """One record, in the order of `samples.RECORD`; `body` in bytes, `code` one of its outcomes."""
        _RECORD.pack_into(self._buffer, self._used, due_ns, sent_ns, done_ns, queue_us, compute_us, body, payload, status, code)
        self._used += _RECORD.size
        self.counts[code] += 1
        if self._used == len(self._buffer):
            self.flush()

    def flush(self) -> None:
        """Write what is held as one frame; about 0.1 ms when it is full."""
        if self._used:
            samples.append_frame(self._file, np.frombuffer(self._buffer, samples.RECORD, self._used // _RECORD.size))
            self._used = 0

    def close(self) -> None:
        """Write the rest and force all of it to disk."""
        self.flush()
        os.fsync(self._file.fileno())
        self._file.close()
