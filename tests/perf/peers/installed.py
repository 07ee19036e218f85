"""The peers' own environment, build/peers-venv: made once, and again when requirements.txt changes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from harness.supervise import Child, last_line
from tests.perf.peers.machine import ROOT, end

FOLDER = ROOT / "build" / "peers-venv"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_STAMP = FOLDER / "peers.json"
_TIMEOUT_S = 900.0


def requirements() -> dict[str, str]:
    """Name of each peer and its pinned requirement line."""
    lines = [line.strip() for line in REQUIREMENTS.read_text().splitlines()]
    return {line.partition("==")[0]: line for line in lines if line and not line.startswith("#")}


def problems() -> dict[str, str | None]:
    """For each peer why it cannot be used, None where it can; installs what is missing, one by one, so that one that cannot be
    installed costs no other its row."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if _STAMP.exists():
        known = json.loads(_STAMP.read_text())
        if known["digest"] == digest and not any(known["problems"].values()):
            found: dict[str, str | None] = known["problems"]
            return found
    failed = _run([sys.executable, "-m", "venv", str(FOLDER)]) if not PYTHON.exists() else None
    result = {name: failed or _run([str(PYTHON), "-m", "pip", "install", "-q", line]) for name, line in requirements().items()}
    if failed is None:
        _STAMP.write_text(json.dumps({"digest": digest, "problems": result}))
    return result


def _run(argv: list[str]) -> str | None:
    """Why it failed, in one line; None when it did not."""
    log = ROOT / "build" / "peers-venv.log"
    child = Child(argv, log=log)
    try:
        child.process.wait(_TIMEOUT_S)
        return None if child.process.returncode == 0 else f"cannot be installed: {last_line(log)}"
    except subprocess.TimeoutExpired:
        return f"not installed after {_TIMEOUT_S:.0f} s"
    finally:
        end(child)
