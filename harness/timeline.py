"""Signals of a run, second by second: what the machine and the generator were seen to do, on one monotonic clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

Value = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Values of signals over consecutive intervals of about a second.

    `edges_ns` are n + 1 monotonic instants, `values[signal]` n figures, one an interval; None is one that could not be read. A
    signal that nobody tells is not there at all. Raises ValueError, when made, if the lengths do not fit.
    """

    edges_ns: tuple[int, ...] = ()
    values: dict[str, tuple[Value, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.values.items():
            if len(values) != len(self):
                raise ValueError(f"{name} has {len(values)} values for {len(self)} intervals")

    def __len__(self) -> int:
        """The number of intervals."""
        return max(0, len(self.edges_ns) - 1)

    def lengths_s(self) -> tuple[float, ...]:
        """Of every interval."""
        return tuple((end - begin) / 1e9 for begin, end in zip(self.edges_ns, self.edges_ns[1:], strict=False))

    def seconds(self, name: str) -> tuple[Value, ...] | None:
        """The values of one signal; None when nothing is known of it."""
        values = self.values.get(name)
        return None if values is None or all(value is None for value in values) else values

    def mean(self, name: str) -> Value:
        """Of one signal over time; None when nothing is known of it."""
        known = [
            (value, length)
            for value, length in zip(self.values.get(name, ()), self.lengths_s(), strict=False)
            if value is not None
        ]
        total_s = sum(length for _, length in known)
        return sum(value * length for value, length in known) / total_s if total_s > 0 else None

    def within(self, begin_ns: int, end_ns: int) -> Timeline:
        """The intervals of which at least half lies between the two instants; the longest overlap when that leaves none."""
        overlaps = [
            (min(end, end_ns) - max(begin, begin_ns)) / max(1, end - begin)
            for begin, end in zip(self.edges_ns, self.edges_ns[1:], strict=False)
        ]
        kept = [index for index, share in enumerate(overlaps) if share >= 0.5]
        if not kept and overlaps and max(overlaps) > 0:
            kept = [overlaps.index(max(overlaps))]
        if not kept:
            return Timeline()
        first, last = kept[0], kept[-1] + 1
        return Timeline(
            edges_ns=self.edges_ns[first : last + 1],
            values={name: values[first:last] for name, values in self.values.items()},
        )

    @classmethod
    def of(cls, edges_ns: Sequence[int], rows: Sequence[Mapping[str, Value]]) -> Self:
        """From one row of signals an interval; four digits are kept, which is more than any of them is exact to."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        return cls(
            edges_ns=tuple(edges_ns) if rows else (),
            values={name: tuple(_rounded(row.get(name)) for row in rows) for name in names},
        )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Back from JSON values; raises KeyError, TypeError or ValueError when they are not a timeline."""
        return cls(edges_ns=tuple(data["edges_ns"]), values={name: tuple(values) for name, values in data["values"].items()})


def _rounded(value: Value) -> Value:
    return None if value is None else float(f"{value:.4g}")
