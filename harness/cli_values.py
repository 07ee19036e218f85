"""Values that several commands take, from the text that was typed."""

from __future__ import annotations

import re

from harness.errors import UsageError

_SHAPE = re.compile(r"^(?P<name>[^=]+)=(?P<sizes>\d+(x\d+)*)$")


def names(text: str | None) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME=1x128 as (NAME, (1, 128)); raises UsageError."""
    found = _SHAPE.match(text)
    if not found:
        raise UsageError(f"--shape {text!r} is not NAME=1x3x224x224")
    return found["name"], tuple(int(size) for size in found["sizes"].split("x"))
