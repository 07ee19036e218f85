"""Reads result.json whole or refuses it in one line: the one door for everything that works on a finished run.

Schema history
1  first
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError

SCHEMA = 1

_PARTS = {"run": Mapping, "model": Mapping, "environment": Mapping, "candidates": list}
_GIVE = "give a finished run folder or its result.json"


def load(path: Path) -> dict[str, Any]:
    """The result stored at `path`, the result.json of a run folder or the folder itself.

    Raises UsageError when it cannot be read, is not JSON, has a schema other than `SCHEMA`, or lacks one of its parts.
    """
    path = path / "result.json" if path.is_dir() else path
    try:
        data = json.loads(path.read_bytes(), parse_constant=_refused)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}; {_GIVE}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error}); {_GIVE}") from error
    return checked(data, path)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


def checked(data: Any, path: Path) -> dict[str, Any]:
    """`data` if it is a whole result of the schema read here; raises UsageError that names `path` otherwise."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(schema, int) or isinstance(schema, bool):
        raise UsageError(f"{path} has no schema, so it is no result of `loadstone bench`; {_GIVE}")
    if schema != SCHEMA:
        run = data.get("run")
        wrote = run.get("loadstone_version") if isinstance(run, Mapping) else None
        writer = f"loadstone {wrote[:20]}" if isinstance(wrote, str) else "the loadstone that wrote it"
        do = f"upgrade, or use {writer}" if schema > SCHEMA else f"use {writer}, or bench again"
        raise UsageError(f"{path} has schema {schema} and this version reads {SCHEMA} alone; {do}")
    missing = [name for name, kind in _PARTS.items() if not isinstance(data.get(name), kind)]
    if missing:
        raise UsageError(f"{path} is no whole result: it lacks {', '.join(missing)}; make it again with `loadstone report RUN`")
    return data
