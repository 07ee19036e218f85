from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compilers.backend_tvm import winograd_allowed
from harness.nouns import Tolerance

pytest.importorskip("tvm")

from compilers.tvm.pipeline import Kernel
from compilers.tvm.report import Times, measure, summary

KERNELS = (
    Kernel(name="conv", rule="pointwise", flops=2_000_000),
    Kernel(name="odd", rule="fallback", reason="no rule"),
    Kernel(name="unused", rule="elementwise"),
)


def test_shares_rates_and_fallbacks() -> None:
    got = summary(KERNELS, Times(kernel_ns={"conv": 3_000_000, "odd": 1_000_000}, calls={"conv": 3, "odd": 1}))
    assert got["rules"] == {
        "pointwise": {"kernels": 1, "calls": 3, "time_share": 0.75},
        "fallback": {"kernels": 1, "calls": 1, "time_share": 0.25},
    }
    assert got["fallen_back_share"] == 0.25
    assert [row["reason"] for row in got["fallen_back"]] == ["no rule"]
    # 3 calls of 2 MFLOP in 3 ms are 2 GFLOP/s; nothing was counted for the other, which is not 0.
    assert [row["gflop_per_s"] for row in got["kernels"]] == [2.0, None]


def test_a_model_without_kernels_has_a_report() -> None:
    got = summary(KERNELS, Times(kernel_ns={}, calls={}))
    assert (got["rules"], got["fallen_back_share"], got["kernels"]) == ({}, 0, [])


class Machine:
    """Calls back as the virtual machine does: before and after each kernel, and for functions of its own."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.runs = names, 0
        self.seen: Callable[..., Any] | None = None

    def set_instrument(self, seen: Callable[..., Any]) -> None:
        self.seen = seen

    def __getitem__(self, name: str) -> Callable[..., None]:
        assert name == "main"
        return self.run

    def run(self, *_inputs: Any) -> None:
        self.runs += 1
        for name in self.names:
            if self.seen is not None:
                self.seen(None, name, True, None)
                self.seen(None, name, False, None)


def test_only_kernels_are_timed_and_calls_are_of_one_run() -> None:
    machine = Machine(["a", "vm.builtin.reshape", "b", "a"])
    got = measure(machine, [], frozenset({"a", "b"}))
    assert dict(got.calls) == {"a": 2, "b": 1}
    assert set(got.kernel_ns) == {"a", "b"}
    assert all(spent >= 0 for spent in got.kernel_ns.values())
    assert machine.runs > 2


@pytest.mark.parametrize(("max_rel", "want"), [(1e-3, 4), (1e-4, 4), (5e-5, 2), (1e-5, 2), (1e-6, 0)])
def test_a_tight_parity_bar_takes_winograd_back(max_rel: float, want: int) -> None:
    assert winograd_allowed(Tolerance(max_rel=max_rel, top1_agreement=0.97)) == want
