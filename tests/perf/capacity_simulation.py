"""How near capacity searches come to the truth on servers whose law is known.

`python -m tests.perf.capacity_simulation --json OUT`, and with the load of six minutes, `--starts 6 --step-s 60`.
Simulated, so nothing here depends on the machine it runs on but the seconds it takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.harness.capacity.searching import STARTS, STEP_S, TRUTHS, Case, Study, study
from tests.harness.capacity.simulated import Server

SERVICES_MS = (100.0, 5.0)
"""The same minute of load holds a few hundred requests of the first and some ten thousand of the second."""


def cases(services_ms: Sequence[float], laws: Sequence[str], parallel: Sequence[int]) -> list[Case]:
    return [
        Case(server=Server(law=law, service_ms=service_ms, servers=servers), limit_services=limit, truth=truth)
        for service_ms in services_ms
        for (law, servers), (limit, truth) in TRUTHS.items()
        if law in laws and servers in parallel
    ]


def line(row: Study) -> str:
    return (
        f"{row.law:10} {row.servers:2} {row.service_ms:6g} {row.requests:8.0f} {row.load_s:5.0f} {row.covered:8.1%} "
        f"{row.too_high:6.1%} {row.too_low:6.1%} {row.within_5_percent:8.1%} {row.bias:+7.2%} {row.sd:6.2%} {row.width:6.3f} "
        f"{row.by_queue:6.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where the table goes as JSON")
    parser.add_argument("--searches", type=int, default=500, help="searches per server")
    parser.add_argument("--service-ms", type=float, nargs="+", default=SERVICES_MS, help="mean service times")
    parser.add_argument("--laws", nargs="+", default=sorted({law for law, _ in TRUTHS}), help="laws of service")
    parser.add_argument("--servers", type=int, nargs="+", default=[1, 2], help="servers in parallel")
    parser.add_argument("--starts", type=int, default=STARTS, help="server starts per search, each with one step")
    parser.add_argument("--step-s", type=float, default=STEP_S, help="seconds of load per step")
    asked = parser.parse_args()
    print("law         c     ms requests  load covered   high    low within5    bias     sd  width  queue", file=sys.stderr)
    rows = []
    for case in cases(asked.service_ms, asked.laws, asked.servers):
        began = time.perf_counter()
        row = study(case, asked.searches, starts=asked.starts, step_s=asked.step_s)
        rows.append({**row.to_json(), "compute_s": time.perf_counter() - began})
        print(line(row), file=sys.stderr, flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"capacity_searches": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
