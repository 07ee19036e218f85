"""With which packages the baseline's servers run: tonight's, or those it was accepted with, in an interpreter of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from harness.environment import PACKAGES
from harness.errors import UsageError

_TIMEOUT_S = 60.0
_LIST = "import importlib.metadata as m, json; print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"


def lock() -> dict[str, str]:
    """Every package installed here and its version."""
    found = {str(each.metadata["Name"]): each.version for each in metadata.distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def requirements(locked: Mapping[str, str]) -> str:
    """The lock as pip reads it; loadstone itself comes from its checkout."""
    return "".join(f"{name}=={version}\n" for name, version in locked.items() if name != "loadstone")


def checked(python: Path, locked: Mapping[str, str]) -> str:
    """The interpreter as a path that can be started. Raises UsageError when it has other packages than the lock."""
    path = python.expanduser().absolute()
    try:
        done = subprocess.run(
            [str(path), "-P", "-c", _LIST], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True, env={}
        )
        installed: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UsageError(f"--baseline-python {python}: it cannot be started or asked for its packages ({error})") from error
    wrong = _different(locked, installed)
    if wrong:
        raise UsageError(f"--baseline-python {python}: not the packages of the baseline's lock ({', '.join(wrong)})")
    return str(path)


def differences(locked: Mapping[str, str], packages: Mapping[str, str | None], python: str) -> list[str]:
    """A warning when the baseline is served with other packages than it was accepted with."""
    wrong = _different(locked, packages)
    if python or not wrong:
        return []
    return [
        f"the baseline is served with tonight's packages ({', '.join(wrong)}): what only they changed does not show; "
        "give --baseline-python an interpreter with those of its lock"
    ]


def _different(locked: Mapping[str, str], installed: Mapping[str, str | None]) -> list[str]:
    """The packages that serving depends on and that are not as locked."""
    return [
        f"{name} {locked.get(name) or 'absent'} → {installed.get(name) or 'absent'}"
        for name in PACKAGES
        if locked.get(name) != installed.get(name)
    ]
