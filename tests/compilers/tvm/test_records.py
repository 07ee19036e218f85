from __future__ import annotations

import json
from pathlib import Path

import pytest

from compilers.tvm.cuts import Cut
from compilers.tvm.records import Record, add, chooser, line_of, read
from compilers.tvm.tiles import Tile
from compilers.tvm.work import Product, Work
from harness.errors import UsageError
from tests.compilers.tvm.test_cuts import WORKS


def record(work: Work = WORKS[0], place: str = "here", rows: int = 3) -> Record:
    cut = Cut(tile=Tile(rows=rows, vectors=4), depth=64, tiles=5, prefetch=True, winograd=2)
    return Record(work=work, where=place, cut=cut, found_ns=90, default_ns=100)


def test_records_survive_the_file_and_new_ones_replace_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "records.jsonl"
    add(path, [record(work) for work in WORKS])
    add(path, [record(place="elsewhere"), record(rows=2)])
    found = read(path)
    assert len(found) == len(WORKS) + 1
    assert found[record().key] == record(rows=2)
    assert {each.work for each in found.values()} == set(WORKS)
    assert [entry.name for entry in path.parent.iterdir()] == ["records.jsonl"]


def test_no_file_holds_no_records(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "not a line that a search wrote"),
        ("[1, 2]", "not a line of"),
        ('{"task": "conv2d", "target": "llvm"}', "not a line of"),
        (line_of(record()).replace('"rows":3', '"rows":7'), "hash"),
        (line_of(record())[:-40], "not a line that a search wrote"),
        ("\x00\x01", "not a line that a search wrote"),
    ],
)
def test_a_line_that_is_not_ours_is_refused_with_its_number(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(f"{line_of(record())}\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=rf"line 2: .*{reason}.*; delete the line") as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_a_line_of_another_version_is_kept_and_not_used(tmp_path: Path) -> None:
    from compilers.cache import content_key

    value = json.loads(line_of(record()))
    del value["check"]
    value["version"] = 99
    line = json.dumps({**value, "check": content_key(value)})
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    assert read(path) == {}
    add(path, [record()])
    assert path.read_text(encoding="utf-8").splitlines()[0] == line
    assert list(read(path)) == [record().key]


def test_a_chooser_takes_the_records_of_its_place_only() -> None:
    fallback = Cut(tile=Tile(rows=1, vectors=1))
    known = {each.key: each for each in (record(), record(WORKS[1], "elsewhere"))}
    choose = chooser(known, "here", lambda _: fallback)
    assert choose(WORKS[0]) == record().cut
    assert choose(WORKS[1]) == fallback
    assert choose(Product(rows=1, depth=2, columns=3)) == fallback
