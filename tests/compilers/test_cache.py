from __future__ import annotations

import threading
from pathlib import Path

import pytest

from compilers import cache


def entry(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"one")
    (folder / "inner" / "b.bin").write_bytes(b"two")
    cache.write_manifest(folder)
    return folder


def test_the_key_ignores_order_and_sees_values() -> None:
    assert cache.content_key({"a": 1, "b": [2]}) == cache.content_key({"b": [2], "a": 1})
    assert cache.content_key({"a": 1}) != cache.content_key({"a": 2})


def test_a_sound_entry_is_not_damaged(tmp_path: Path) -> None:
    assert cache.damage(entry(tmp_path / "e")) is None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "a.bin").write_bytes(b"onE"), "a.bin was altered"),
        (lambda folder: (folder / "inner" / "b.bin").unlink(), "inner/b.bin is missing"),
        (lambda folder: (folder / "c").write_bytes(b""), "c was added"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is missing or unreadable"),
    ],
)
def test_damage_is_named(tmp_path: Path, spoil: object, reason: str) -> None:
    folder = entry(tmp_path / "e")
    spoil(folder)  # type: ignore[operator]
    assert cache.damage(folder) == reason


def test_an_unpublished_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with cache.building(tmp_path / "e") as work:
            (work / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_of_two_builders_one_wins_and_both_go_on(tmp_path: Path) -> None:
    final, barrier, won = tmp_path / "e", threading.Barrier(8), []

    def build(index: int) -> None:
        with cache.building(final) as work:
            (work / "who").write_text(str(index))
            (work / "same").write_text("x" * 1000)
            barrier.wait()
            won.append(cache.publish(work, final))

    threads = [threading.Thread(target=build, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
    assert sorted(path.name for path in final.iterdir()) == ["same", "who"]
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_discard_is_safe_to_repeat(tmp_path: Path) -> None:
    folder = entry(tmp_path / "e")
    cache.discard(folder)
    cache.discard(folder)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOADSTONE_CACHE", str(tmp_path))
    assert cache.default_cache() == tmp_path
    monkeypatch.delenv("LOADSTONE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_cache() == tmp_path / "loadstone"
