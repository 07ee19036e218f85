"""Loadstone beside plain Locust, AIPerf and MLPerf LoadGen: `make perf-peers` (nothing else may run meanwhile).

    python -m tests.perf.peers --json OUT [--short] [--parts accuracy,capacity,resnet] [--page docs/peers.md]

The peers are installed into build/peers-venv the first time. One that cannot be installed or fails is a row with the reason.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import environment
from harness.errors import LoadstoneError
from tests.perf.peers import accuracy, capacity, installed, page, resnet
from tests.perf.peers.machine import Cores

PARTS = ("accuracy", "capacity", "resnet")


def measure(parts: list[str], *, short: bool, resnet_s: float, folder: Path) -> Iterator[dict[str, Any]]:
    """The result after each part asked for, so that what is measured is kept whatever happens next.

    Raises LoadstoneError for what is wrong on our side, not for what a peer does.
    """
    cores = Cores.here()
    unusable = installed.problems()
    python = str(installed.PYTHON)
    result: dict[str, Any] = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "short": short,
        "environment": environment.describe(),
        "peers": installed.requirements(),
        "unusable": unusable,
    }
    start = time.monotonic()
    for part in parts:
        print(f"{datetime.now(UTC):%H:%M:%S} {part}", file=sys.stderr, flush=True)
        if part == "accuracy":
            rows = accuracy.compare(accuracy.SHORT if short else accuracy.SCENARIOS, unusable, python, cores, folder)
            result[part] = {"rate_per_s": accuracy.RATE_PER_S, "rows": rows, "cpu": accuracy.cpu(rows)}
        elif part == "capacity":
            budget = capacity.SHORT if short else capacity.Budget()
            found = capacity.compare(budget, unusable, python, cores, folder / part)
            result[part] = {**found, "summary": capacity.summary(found["rows"])}
        else:
            result[part] = resnet.compare(2.0 if short else resnet_s, unusable, python, cores, folder / part)
        result["wall_s"] = time.monotonic() - start
        yield result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="write everything measured here")
    parser.add_argument("--page", type=Path, help="also put the tables between the marks in this page")
    parser.add_argument("--short", action="store_true", help="seconds for each part: does it work? Its figures say nothing")
    parser.add_argument("--parts", default=",".join(PARTS), help="default %(default)s")
    parser.add_argument("--resnet-s", type=float, default=24.0, help="load on resnet50 for each tool, in s")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options.short and options.page:
        parser.error("--page: the figures of a --short run do not belong in a page")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended
    try:
        with tempfile.TemporaryDirectory(prefix="peers-") as folder:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            for result in measure(parts, short=options.short, resnet_s=options.resnet_s, folder=Path(folder)):
                options.json.write_text(json.dumps(result, indent=1) + "\n")
        print(page.tables(result))
        if options.page is not None:
            page.fill(options.page, result)
    except LoadstoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
