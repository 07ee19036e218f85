from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfrastructureError, UsageError
from harness.store import Store, write_atomically


def visit(name: str, block: int = 0, ordinal: int = 0) -> dict[str, Any]:
    return {"id": name, "block": block, "ordinal": ordinal, "candidate": "c", "purpose": "screen", "runs": []}


def test_what_was_put_is_there_after_reopening(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("slo", {"limit_ms": 5})
    store.add_visit(visit("b", 1, 0))
    store.add_visit(visit("a", 0, 1))
    store.close()
    again = Store(tmp_path)
    assert again.get("slo") == {"limit_ms": 5}
    assert [each["id"] for each in again.visits()] == ["a", "b"]
    assert again.get("nothing") is None
    again.close()


def test_durability_is_what_the_docs_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    store.close()


def test_one_run_folder_has_one_owner(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(UsageError, match="in use by another loadstone"):
        Store(tmp_path)
    store.close()
    Store(tmp_path).close()


def test_another_schema_is_refused_not_half_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("schema", 99)
    store.close()
    with pytest.raises(UsageError, match="schema 99, this version reads 1"):
        Store(tmp_path)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).close()
    for path in tmp_path.glob("state.sqlite*"):
        path.unlink()
    (tmp_path / "state.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UsageError, match="cannot be read"):
        Store(tmp_path)


def test_a_disk_that_refuses_is_one_line_and_keeps_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("kept", 1)
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own stand-in for a full disk
    with pytest.raises(InfrastructureError, match="what was measured before is kept"):
        store.put("large", "x" * 1_000_000)
    assert store.get("kept") == 1
    store.close()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_atomically(target, "one")
    write_atomically(target, "two")
    assert target.read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_wal_survives_a_killed_writer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_visit(visit("a"))
    # A second connection reads what was committed although the first never closed, as after a crash.
    with sqlite3.connect(tmp_path / "state.sqlite") as other:
        assert other.execute("SELECT id FROM visits").fetchall() == [("a",)]
    other.close()
    store.close()
