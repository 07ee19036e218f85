"""The gate on this machine: nights without a change, none of which may fail, and with a real slowdown, which must be caught.

    python -m tests.perf.gate_live --baseline build/gate --json build/gate_live.json --gates aa:3,slow:3

Some minutes a gate; nothing else may run meanwhile. Every gate is appended to the JSON file, so that the work can be done in
parts; the table is over all of them. `aa` compiles the accepted model anew; `slow` serves that with 5 % of each inference's own
time worked on top. The baseline is promoted on the first call.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import environment, local
from harness.commands.gate import DOCUMENT, GateRequest, gate
from harness.commands.gate_promote import PromoteRequest, promote
from harness.gate import baseline as baselines
from harness.nouns import Candidate
from harness.statistics import wilson
from harness.store import write_atomically
from harness.workbench import Workbench

SLOWDOWN = 0.05
AA, SLOW = "aa", "slow"
WANTED = {AA: ("pass", "inconclusive"), SLOW: ("regression",)}


def slowed(cache: Path, timeout_s: float) -> Workbench:
    """This machine, on which tonight's version has more work to do: the accepted one is served from the baseline's folder."""
    real = local.workbench(cache, timeout_s)

    def serve(candidate: Candidate, artifact: Any, *more: Any) -> Any:
        tonight = artifact.path.parent.name != baselines.ARTIFACTS
        return real.serve(replace(candidate, extra_work=SLOWDOWN) if tonight else candidate, artifact, *more)

    return replace(real, serve=serve)


def night(kind: str, baseline: Path, out: Path, seed: int) -> dict[str, Any]:
    """One gate of that kind, as a row of the table."""
    begun = time.monotonic()
    before = set(out.glob(f"*/{DOCUMENT}"))
    code = gate(
        GateRequest(baseline=baseline, out=out, seed=seed), as_json=False, workbench=slowed if kind == SLOW else local.workbench
    )
    (path,) = set(out.glob(f"*/{DOCUMENT}")) - before
    document = json.loads(path.read_text(encoding="utf-8"))
    (candidate,) = document["candidates"]
    return {
        "kind": kind,
        "utc": document["created_utc"],
        "seed": seed,
        "verdict": document["verdict"],
        "exit_code": code,
        "as_wanted": document["verdict"] in WANTED[kind],
        "reason": candidate["reason"],
        "minutes": round((time.monotonic() - begun) / 60, 2),
        "runs": candidate["runs"],
        "repeated_blocks": candidate["repeated"],
        "self_test": {"silent": candidate["self_test"]["twin"]["silent"], "fired": candidate["self_test"]["canary"]["fired"]},
        "metrics": {
            row["metric"]: {name: row[name] for name in ("verdict", "ratio", "low", "high", "pairs", "p", "visible")}
            for row in candidate["metrics"]
        },
    }


def table(nights: list[dict[str, Any]]) -> dict[str, Any]:
    """Per kind how many went as they must, with the Wilson interval of that share, and how long they took."""
    found = {}
    for kind in WANTED:
        rows = [row for row in nights if row["kind"] == kind]
        good = sum(row["as_wanted"] for row in rows)
        found[kind] = {
            "gates": len(rows),
            "as_wanted": good,
            "interval": wilson(good, len(rows)) if rows else None,
            "verdicts": dict(Counter(row["verdict"] for row in rows)),
            "minutes_longest": max((row["minutes"] for row in rows), default=None),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, default=Path("build/gate"))
    parser.add_argument("--json", type=Path, default=Path("build/gate_live.json"))
    parser.add_argument("--out", type=Path, default=Path("build/gate_nights"))
    parser.add_argument("--gates", default=f"{AA}:6,{SLOW}:6", help="KIND:COUNT, comma-separated; kinds: aa, slow")
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--candidate", default="ort@local-1")
    options = parser.parse_args()
    if not (options.baseline / baselines.LOG).exists():
        promote(
            PromoteRequest(
                what=options.model, baseline=options.baseline, message="for gate_live", candidates=(options.candidate,)
            ),
            as_json=False,
        )
    document = json.loads(options.json.read_text()) if options.json.exists() else {"nights": []}
    document["environment"] = environment.describe()
    for part in options.gates.split(","):
        kind, _, count = part.partition(":")
        for _ in range(int(count or 1)):
            document["nights"].append(night(kind, options.baseline, options.out, seed=int(time.time())))
            document["table"] = table(document["nights"])
            options.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(options.json, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["table"], indent=1))


if __name__ == "__main__":
    main()
