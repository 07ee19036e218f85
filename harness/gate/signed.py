"""A log in which no line can be changed unseen: each ends with its own digest and holds that of the line before it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import MeasurementInvalid

_FIRST = "0" * 64
_BEFORE_SUM = b', "sum": "'


def read(path: Path) -> list[dict[str, Any]]:
    """The lines, oldest first; none when there is no file. What a crash left of a last line is no line.

    Raises MeasurementInvalid for a line that is not as it was signed.
    """
    try:
        raws = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MeasurementInvalid(f"{path} cannot be read: {error.strerror}") from error
    lines, before = [], _FIRST
    for number, raw in enumerate(raws, start=1):
        if not raw.strip():
            continue
        line = _parsed(raw)
        if line is None and number == len(raws):
            break
        if line is None or line.get("previous") != before or not _whole(raw):
            raise MeasurementInvalid(
                f"{path}, line {number}: it is damaged or was altered since it was signed off; restore the file from a copy"
            )
        before = hashlib.sha256(raw).hexdigest()
        lines.append(line)
    return lines


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line, durably; whoever signs holds the file. What a crash left of a last line goes."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        kept = file.read()
        raws = [raw for raw in kept.split(b"\n") if raw.strip()]
        if kept and not kept.endswith(b"\n"):
            if _parsed(raws[-1]) is None:
                raws.pop()
                file.truncate(len(kept) - len(kept.rpartition(b"\n")[2]))
            else:
                file.write(b"\n")
        before = hashlib.sha256(raws[-1]).hexdigest() if raws else _FIRST
        text = json.dumps({**line, "previous": before})[:-1].encode()
        file.write(text + _sum(text) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _sum(text: bytes) -> bytes:
    return _BEFORE_SUM + hashlib.sha256(text).hexdigest().encode() + b'"}'


def _whole(raw: bytes) -> bool:
    """Whether a line is, byte for byte, what was signed."""
    text = raw.rpartition(_BEFORE_SUM)[0]
    return raw == text + _sum(text)


def _parsed(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None
