"""A truth server as a child process, for as long as somebody measures it."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.endpoint import listen
from harness.errors import InfrastructureError
from harness.supervise import Child

_START_TIMEOUT_S = 30.0


@contextmanager
def truth_server(law: str, *, output: Path, cpus: Sequence[int] | None = None, log: Path | None = None) -> Iterator[int]:
    """The port of a server of `law`, on `cpus` if it is to have them for itself; what it prints goes to `output`.

    `log`, its record of every request (`truth.log`), is there once the context has been left. Raises InfrastructureError when
    it does not start.
    """
    with listen() as listener:
        port: int = listener.getsockname()[1]
        argv = [sys.executable, "-m", "harness.truth", f"--law={law}", f"--fd={listener.fileno()}", "--die-with-parent"]
        argv += [] if cpus is None else [f"--cpus={','.join(map(str, cpus))}"]
        argv += [] if log is None else [f"--log={log}"]
        child = Child(argv, log=output, cpus=cpus, pass_fds=(listener.fileno(),), stdout=subprocess.PIPE)
    try:
        out = child.process.stdout
        if out is None or not select.select([out], [], [], _START_TIMEOUT_S)[0] or not out.readline():
            child.process.wait(_START_TIMEOUT_S)
            raise InfrastructureError(f"the truth server {child.how_it_ended()}; see {output}")
        yield port
    finally:
        child.stop()
        if child.process.stdout is not None:
            child.process.stdout.close()
