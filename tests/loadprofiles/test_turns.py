"""One run over several servers: everyone gets what is theirs, over connections of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import InfrastructureError, UsageError
from loadprofiles import samples
from loadprofiles.generator import Generator
from loadprofiles.plan import Plan
from tests.loadprofiles.server import serving


def plan(folder: Path, ports: tuple[int, ...], targets: list[int], **more: Any) -> Plan:
    files = {name: str(folder / f"{name}.npy") for name in ("order", "arrivals", "targets")}
    (folder / "body").write_bytes(b"x" * 50)
    np.save(files["order"], np.zeros(len(targets), np.uint16))
    np.save(files["arrivals"], np.arange(len(targets), dtype=np.int64) * 5_000_000)
    np.save(files["targets"], np.array(targets, np.uint8))
    fields: dict[str, Any] = {
        "host": "127.0.0.1", "port": ports[0], "also": ports[1:], "targets": files["targets"], "path": "/good", "headers": {},
        "bodies": (str(folder / "body"),), "order": files["order"], "arrivals": files["arrivals"], "in_flight_cap": 32,
        "connections": 32, "samples": str(folder / "samples.bin"), "duration_s": 1.0, "expect_body_bytes": 10,
    }  # fmt: skip
    return Plan(**{**fields, **more})


def test_each_request_goes_to_its_target(tmp_path: Path) -> None:
    targets = [0, 1, 2, 2, 1, 0] * 20
    with serving() as first, serving() as second, serving() as third, Generator(None, tmp_path / "log") as generator:
        reply = generator.run(plan(tmp_path, (first.port, second.port, third.port), targets), 30.0)
        assert reply.contradiction() is None
        assert [len(server.received) for server in (first, second, third)] == [40, 40, 40]
    found = samples.read(tmp_path / "samples.bin")
    assert (reply.succeeded, reply.connections_opened_in_window) == (120, 0)
    offsets = np.sort(found["due_ns"] - reply.start_ns)
    assert (offsets == np.arange(120) * 5_000_000).all()


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serving() as first, Generator(None, tmp_path / "log") as generator:
        with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1:1\b"):
            generator.run(plan(tmp_path, (first.port, 1), [0, 1]), 30.0)
        assert generator.run(plan(tmp_path, (first.port, first.port), [0, 1]), 30.0).succeeded == 2


@pytest.mark.parametrize("targets", [[0, 2], [0]])
def test_targets_must_cover_the_arrivals_with_ports_that_are_given(tmp_path: Path, targets: list[int]) -> None:
    with serving() as first, Generator(None, tmp_path / "log") as generator:
        asked = plan(tmp_path, (first.port, first.port), [0, 1])
        np.save(str(asked.targets), np.array(targets, np.uint8))
        with pytest.raises(InfrastructureError, match="targets do not cover"):
            generator.run(asked, 30.0)


@pytest.mark.parametrize("wrong", [{"also": ()}, {"arrivals": None, "users": 2, "in_flight_cap": None}])
def test_other_ports_need_arrivals_and_targets(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="other ports"):
        plan(tmp_path, (1, 2), [0, 1], **wrong)
