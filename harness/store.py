"""The state of one bench, safe against a crash at any instant.

`runs/<id>/state.sqlite` (WAL, synchronous FULL) holds what is final as JSON: the request, what was prepared and compiled,
and each visit once it ended. Raw samples lie beside it in append-only files. Nothing is derived here: measurements, ranking
and report are recomputed from these rows.

Schema history
1  meta(key, value), visits(id, block, ordinal, candidate, purpose, record)
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import InfrastructureError, UsageError

SCHEMA = 1
STATE = "state.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS visits (
    id TEXT PRIMARY KEY, block INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    candidate TEXT NOT NULL, purpose TEXT NOT NULL, record TEXT NOT NULL
);
"""


class Store:
    """One run folder, held by one process at a time; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open or create the state in `folder`.

        Raises UsageError when another process holds it, or when it was written by another schema or is damaged.
        """
        self.folder = folder
        self.samples = folder / "samples"
        self.logs = folder / "logs"
        for each in (folder, self.samples, self.logs):
            each.mkdir(parents=True, exist_ok=True)
        self._lock_file = self._hold(folder / ".lock")
        self._mutex = threading.Lock()
        try:
            self._open()
        except BaseException:
            self._lock_file.close()
            raise

    @staticmethod
    def _hold(path: Path) -> Any:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise UsageError(f"{path.parent} is in use by another loadstone; wait for it or choose another --out") from error
        return file

    def _open(self) -> None:
        path = self.folder / STATE
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
            found = self.get("schema")
            filled = self._db.execute("SELECT EXISTS (SELECT 1 FROM meta)").fetchone()[0]
        except (sqlite3.DatabaseError, ValueError) as error:
            raise UsageError(f"{path} cannot be read ({error}); start a new bench, its samples are untouched") from error
        if found is None and not filled:
            self.put("schema", SCHEMA)
        elif found != SCHEMA:
            self._db.close()
            said = "no schema" if found is None else f"schema {found}"
            raise UsageError(f"{path} has {said}, this version reads {SCHEMA}; use the loadstone that wrote it")

    def get(self, key: str) -> Any:
        """The value last put under `key`, None when there is none."""
        with self._mutex:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, value: Any) -> None:
        """Store a JSON value durably."""
        with self._mutex, _disk_errors(self.folder):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def add_visit(self, record: Mapping[str, Any]) -> None:
        """Store a visit that ended; its samples must already be on disk."""
        with self._mutex, _disk_errors(self.folder):
            self._db.execute(
                "INSERT OR REPLACE INTO visits VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record["id"],
                    record["block"],
                    record["ordinal"],
                    record["candidate"],
                    record["purpose"],
                    json.dumps(record),
                ),
            )

    def visits(self) -> list[dict[str, Any]]:
        """Every stored visit, in the order of the experiment."""
        with self._mutex:
            rows = self._db.execute("SELECT record FROM visits ORDER BY block, ordinal").fetchall()
        return [json.loads(row[0]) for row in rows]

    def close(self) -> None:
        with self._mutex:
            self._db.close()
        self._lock_file.close()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """A full or failing disk as one line that says what is kept."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InfrastructureError(
            f"cannot write to {folder} ({error}); what was measured before is kept: free space, then --resume {folder}"
        ) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the file at `path` as a whole, or leave it as it was; text is written as UTF-8."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
