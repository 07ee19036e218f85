"""Faults made on purpose, live: a disturbed run must say so, and name what disturbed it. Forty of each: `make perf`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from tests.perf.generator_faults import CAUSES, FAULTS, Rig, names_its_cause, rig


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("rig"), run_s=1.0) as made:
        yield made


@pytest.mark.parametrize("fault", CAUSES)
def test_a_disturbed_run_is_invalid_and_says_by_what(it: Rig, fault: str) -> None:
    for seed in range(2):
        try:
            verdict = FAULTS[fault](it, seed)
        except InfrastructureError as error:
            pytest.skip(str(error))
        assert names_its_cause(verdict, fault), verdict.reasons


def test_nothing_is_left_of_the_faults(it: Rig) -> None:
    assert not [path for path in Path("/sys/fs/cgroup").glob("**/loadstone-faults-*") if path.is_dir()]
    assert it.server.alive()
