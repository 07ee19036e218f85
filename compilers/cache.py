"""Folders that are written once, named by what made them, and appear whole or not at all.

An entry is built in a temporary folder beside its final place and renamed into it. Two processes that build the same entry at
once both succeed: the second finds the first one's folder and drops its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from harness.errors import InfrastructureError

MANIFEST = "manifest.json"
_KEY_LENGTH = 32
_CHUNK_BYTES = 1 << 20


def default_cache() -> Path:
    """`$LOADSTONE_CACHE`, or `loadstone` in the user's cache folder."""
    given = os.environ.get("LOADSTONE_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "loadstone"


def default_memory_bytes() -> int:
    """What one throw-away child may hold: three quarters of the machine's memory."""
    return int(psutil.virtual_memory().total * 0.75)


def child_environment() -> dict[str, str]:
    """For our child programs: they find these packages from any folder, and torch unpickles tensors only."""
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "PYTHONUNBUFFERED": "1"}


def content_key(parts: Mapping[str, Any]) -> str:
    """A hexadecimal key of `parts` (JSON values), the same on every machine and in every order of insertion."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def file_digest(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` so that a reader sees the old file or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> Any | None:
    """The value in a JSON file, or None when there is no such file or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_manifest(folder: Path) -> str:
    """Record the sha256 of every file in `folder`; returns the digest over all of them."""
    files = _digests(folder)
    total = content_key(files)
    write_json(folder / MANIFEST, {"files": files, "digest": total})
    return total


def damage(folder: Path) -> str | None:
    """What differs between `folder` and its manifest, or None when every file is as it was written."""
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return f"{MANIFEST} is missing or unreadable"
    recorded, actual = manifest["files"], _digests(folder)
    for name in sorted(recorded.keys() | actual.keys()):
        if name not in actual:
            return f"{name} is missing"
        if name not in recorded:
            return f"{name} was added"
        if recorded[name] != actual[name]:
            return f"{name} was altered"
    return None


def recorded_digest(folder: Path) -> str | None:
    """The digest over all files of `folder` that its manifest gives."""
    manifest = read_json(folder / MANIFEST)
    return manifest.get("digest") if isinstance(manifest, dict) else None


@contextmanager
def building(final: Path) -> Iterator[Path]:
    """An empty folder beside `final`, removed at the end unless `publish` moved it."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    except OSError as error:
        raise InfrastructureError(f"cannot write the cache {final.parent}: {error.strerror or error}") from error
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, final: Path) -> bool:
    """Rename `temporary` to `final`; False when another process was first and its entry stays."""
    try:
        temporary.rename(final)
    except OSError:
        if final.is_dir():
            return False
        raise
    return True


def discard(folder: Path) -> None:
    """Remove an entry: renamed first, so that no reader sees half of it."""
    grave = folder.with_name(f".{folder.name}.{os.getpid()}.gone")
    try:
        folder.rename(grave)
    except OSError:
        return  # another process removed it
    shutil.rmtree(grave, ignore_errors=True)


def package_versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Installed version per distribution; raises importlib.metadata.PackageNotFoundError."""
    return {package: metadata.version(package) for package in packages}


@cache
def cpu_identity() -> str:
    """Architecture, model and feature flags of this CPU: native code is only good for the same three."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in fields.items()}
    flags = facts.get("flags", facts.get("Features", ""))
    return " ".join([platform.machine(), facts.get("model name", ""), *sorted(flags.split())])


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
