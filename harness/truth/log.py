"""What a truth server did, one record per inference request: kept in memory, written as one .npy file when it stops."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.errors import InfrastructureError, UsageError
from harness.truth.spec import KINDS, Kind

RECORD = np.dtype(
    [
        ("arrival_ns", "<i8"),  # monotonic clock: the last byte of the request was there
        ("due_ns", "<i8"),  # when the law wants the answer out; -1 for never
        ("answered_ns", "<i8"),  # when it was handed to the kernel; -1 for never, or when nobody was left to answer
        ("service_ns", "<i8"),  # as drawn; errors make no use of it
        ("kind", "<i8"),  # index into spec.KINDS
    ]
)
ABSENT_NS = -1

MAX_RECORDS = 20_000_000
"""800 MB; what comes after is served, not logged."""

_FIELDS = len(RECORD.names or ())
_ANSWERED = 2
_CODE_OF = {kind: code for code, kind in enumerate(KINDS)}


class Log:
    """Keeps records in the order of arrival. With a path, `write` puts them there."""

    def __init__(self, path: Path | None) -> None:
        """Raises UsageError when no file can be made at `path`."""
        self._path = path
        self._values = array("q")
        self._file: BinaryIO | None = None
        if path is not None:
            try:
                self._file = path.open("wb")
            except OSError as error:
                raise UsageError(f"cannot write the log to {path}: {error.strerror}; choose another file") from error

    def arrived(self, arrival_ns: int, due_ns: int, service_ns: int, kind: Kind) -> int:
        """The number by which `answered` knows the record; -1 when nothing is kept."""
        if self._file is None or len(self._values) >= MAX_RECORDS * _FIELDS:
            return -1
        self._values.extend((arrival_ns, due_ns, ABSENT_NS, service_ns, _CODE_OF[kind]))
        return len(self._values) - _FIELDS

    def answered(self, number: int, instant_ns: int) -> None:
        if number >= 0:
            self._values[number + _ANSWERED] = instant_ns

    def write(self) -> None:
        """Raises InfrastructureError when the disk refuses."""
        if self._file is None:
            return
        try:
            with self._file:
                np.save(self._file, np.frombuffer(self._values, RECORD))
        except OSError as error:
            raise InfrastructureError(f"cannot write the log to {self._path}: {error.strerror}") from error


def read(path: Path) -> NDArray[Any]:
    """The records (dtype RECORD) in the order of arrival. Raises UsageError when `path` holds none."""
    try:
        records: NDArray[Any] = np.load(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a truth server's log: {error}") from error
    if records.dtype != RECORD:
        raise UsageError(f"{path} is not a truth server's log: it holds {records.dtype}")
    return records
