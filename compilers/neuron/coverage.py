"""What of a graph AWS's operator lists put on the accelerator, and what would fall back to the CPU. Pure but for the table.

`operators.csv` holds the facts: for Inferentia 1 the list of torch-neuron, joined with ONNX through the ATen operator of
the same meaning; for Inferentia 2 and Trainium the ATen operators that torch-neuronx lowers itself. What is on neither
list may still compile, by way of XLA: only the compiler knows.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATE = "2026-03"
"""Of the list of torch-neuronx; that of torch-neuron is archived and bears none."""
_TABLE = Path(__file__).with_name("operators.csv")
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Counts are of nodes; `fallen_back` and `limited` name operator and node."""

    nodes: int
    listed: int
    """On the list of the target's own toolchain."""
    predecessor: int
    """Only on the list of torch-neuron, whose operators torch-neuronx reaches through XLA."""
    limited: tuple[str, ...]
    """Taken with conditions on their attributes."""
    fallen_back: tuple[str, ...]

    @property
    def words(self) -> str:
        """One line for the row."""
        taken = self.nodes - len(self.fallen_back)
        said = f"by AWS's operator lists (torch-neuronx: {DATE}) {taken} of {self.nodes} nodes would run on the accelerator"
        if self.limited:
            said += f", {len(self.limited)} of them with limits ({_some(self.limited)})"
        return said + (f"; {len(self.fallen_back)} would fall back: {_some(self.fallen_back)}" if self.fallen_back else "")

    def to_json(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "listed": self.listed,
            "predecessor": self.predecessor,
            "limited": list(self.limited),
            "fallen_back": list(self.fallen_back),
            "lists": DATE,
        }


def check(nodes: Sequence[tuple[str, str]], *, generation: int) -> Coverage:
    """The coverage of `nodes`, each (ONNX operator, node name), on Inferentia 1 or on Inferentia 2 and Trainium."""
    operators, own = _onnx(), _neuronx()
    listed, predecessor = 0, 0
    limited: list[str] = []
    fallen: list[str] = []
    for kind, name in nodes:
        status, aten = operators.get(kind, ("not listed", ""))
        if generation > 1 and aten in own:
            listed += 1
        elif status == "not listed":
            fallen.append(f"{kind} {name!r}")
        else:
            listed, predecessor = (listed + 1, predecessor) if generation == 1 else (listed, predecessor + 1)
            if status == "limited":
                limited.append(f"{kind} {name!r}")
    return Coverage(nodes=len(nodes), listed=listed, predecessor=predecessor, limited=tuple(limited), fallen_back=tuple(fallen))


def _some(named: Sequence[str]) -> str:
    """The first few, and of an operator that comes often only how often."""
    kinds = Counter(each.split(" ")[0] for each in named)
    if len(named) <= _SHOWN:
        return ", ".join(named)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_SHOWN))


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def _onnx() -> dict[str, tuple[str, str]]:
    return {row["operator"]: (row["status"], row["aten"]) for row in _rows() if row["list"] == "onnx"}


def _neuronx() -> frozenset[str]:
    return frozenset(row["operator"] for row in _rows() if row["list"] == "torch-neuronx")
