"""What a candidate's row says beside the rest when its compilation came to nothing: figures, operator, smallest graph."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.nouns import Failure, Status
from harness.workbench import Built


def of(built: Built | None) -> dict[str, Any]:
    """Keys of the row to add or replace. Outputs that are wrong are a verdict with figures, so the candidate is rejected."""
    failure = built if isinstance(built, Failure) else None
    graph = failure.reproducer if failure else None
    facts: dict[str, Any] = {
        "failed_operator": failure.operator if failure else None,
        "reproducer": None if graph is None else f"logs/{graph.name}",
        "reduction": failure.reduction if failure else None,
    }
    if failure is not None and failure.parity is not None:
        facts |= {"status": Status.REJECTED.value, "parity": asdict(failure.parity)}
    return facts
