"""`loadstone serve --truth LAW`: become a server of known answer times."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.truth import spec


def serve_truth(law: str, host: str, port: int, log: Path | None) -> int:
    """Become the truth server of `law`; the port is printed once it listens. Raises UsageError for what is no law."""
    spec.parse(law)
    print(f"answering after {law} on {host}, port {port or 'printed below'}; Ctrl-C stops it", file=sys.stderr, flush=True)
    argv = [sys.executable, "-m", "harness.truth", f"--law={law}", f"--host={host}", f"--port={port}"]
    os.execv(sys.executable, argv + ([] if log is None else [f"--log={log}"]))
