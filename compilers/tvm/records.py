"""What a search found, kept: one JSON line per kernel, keyed by its shape, the target and the versions, with its own hash.

A file may hold lines for many targets and versions; those of others are kept and not used. A line that is not ours, or no
longer what was written, is refused: silently slower code would be the worst answer.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compilers.cache import content_key, default_cache
from compilers.targets import Target, identity
from compilers.tvm.cuts import Choose, Cut
from compilers.tvm.tiles import Tile
from compilers.tvm.work import Work, describe, parse
from harness.errors import UsageError
from harness.nouns import CompileOptions

FORMAT = "loadstone-tvm-record"
_VERSION = 1
"""Of the lines and of what a cut means to the rules; a change leaves every older line unused."""
_FIELDS = {"format", "version", "work", "where", "cut", "found_ns", "default_ns"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The best cut found for `work` at `where`, and what it and the default took."""

    work: Work
    where: str
    cut: Cut
    found_ns: int
    default_ns: int

    @property
    def key(self) -> str:
        return content_key({"work": describe(self.work), "where": self.where})


def path_of(options: CompileOptions) -> Path | None:
    """The record file that was asked for; for a search without one, a file in the cache."""
    if options.records:
        return Path(options.records)
    return default_cache() / "tvm-records.jsonl" if options.search_s else None


def where(target: Target, tvm_version: str, threads: int, winograd: int) -> str:
    """The key of everything besides its shape that decides which cut is the best."""
    return content_key(
        {"target": identity(target), "tvm": tvm_version, "threads": threads, "winograd": winograd, "version": _VERSION}
    )


def read(path: Path) -> dict[str, Record]:
    """The records of a file by key, an empty one if it does not exist; raises UsageError naming the line that is not one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--records {path}: cannot be read: {error}") from error
    found: dict[str, Record] = {}
    for number, line in enumerate(lines, 1):
        try:
            record = _parse(line)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error) if isinstance(error, _NotOurs) else "not a line that a search wrote"
            advice = "delete the line, or give another file"
            raise UsageError(f"--records {path}, line {number}: {reason}; {advice}") from error
        if record is not None:
            found[record.key] = record
    return found


class _NotOurs(ValueError):
    """A line to be refused, with the reason."""


def _parse(line: str) -> Record | None:
    """The record of a line; None for one of another version."""
    value = json.loads(line)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _NotOurs(f"not a line of {FORMAT}")
    check = value.pop("check", None)
    if check != content_key(value):
        raise _NotOurs("its hash does not fit its content, so it was changed or cut off")
    if value["version"] != _VERSION:
        return None
    if set(value) != _FIELDS:
        raise _NotOurs("its fields are not those of a record")
    cut = dict(value["cut"])
    tile = Tile(rows=_whole(cut.pop("rows")), vectors=_whole(cut.pop("vectors")))
    flags = {name: _whole(cut[name]) for name in ("depth", "tiles", "winograd")}
    return Record(
        work=parse(value["work"]),
        where=str(value["where"]),
        cut=Cut(tile=tile, prefetch=bool(cut["prefetch"]), **flags),
        found_ns=_whole(value["found_ns"]),
        default_ns=_whole(value["default_ns"]),
    )


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _NotOurs(f"{value!r} is not a whole number")
    return value


def line_of(record: Record) -> str:
    """The line that `read` reads."""
    cut = record.cut
    value = {
        "format": FORMAT,
        "version": _VERSION,
        "work": describe(record.work),
        "where": record.where,
        "cut": {
            "rows": cut.tile.rows,
            "vectors": cut.tile.vectors,
            "depth": cut.depth,
            "tiles": cut.tiles,
            "prefetch": cut.prefetch,
            "winograd": cut.winograd,
        },
        "found_ns": record.found_ns,
        "default_ns": record.default_ns,
    }
    # Tuples become lists before the hash is taken, as they are when it is checked.
    value = json.loads(json.dumps(value))
    return json.dumps({**value, "check": content_key(value)}, separators=(",", ":"))


def add(path: Path, records: Iterable[Record]) -> None:
    """Put `records` into the file in place of those with their keys; it appears whole or stays as it was."""
    fresh = {record.key: record for record in records}
    kept = [line for line in _lines(path) if (old := _parse(line)) is None or old.key not in fresh]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in [*kept, *(line_of(record) for record in fresh.values())])
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def chooser(records: Mapping[str, Record], place: str, otherwise: Choose) -> Choose:
    """Cuts from the records of `place`; for a shape without one, what `otherwise` says."""
    known = {record.work: record.cut for record in records.values() if record.where == place}
    return lambda work: known.get(work) or otherwise(work)
