"""What the end-to-end tests share: a model file the project has never seen, and the command as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper


def write_residual_net(path: Path, *, channels: int = 48, size: int = 28, blocks: int = 2) -> Path:
    """A small residual network with squeeze-and-excite gates, none of the built-in architectures, batch axis symbolic."""
    rng = np.random.default_rng(3)
    nodes, weights = [], []

    def weight(name: str, *shape: int) -> str:
        fan_in = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        weights.append(numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name))
        return name

    nodes.append(helper.make_node("Conv", ["image", weight("stem", channels, 3, 3, 3)], ["h0"], pads=[1, 1, 1, 1]))
    for i in range(blocks):
        nodes += [
            helper.make_node("Conv", [f"h{i}", weight(f"w{i}", channels, channels, 3, 3)], [f"c{i}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{i}"], [f"r{i}"]),
            helper.make_node("GlobalAveragePool", [f"r{i}"], [f"p{i}"]),
            helper.make_node("Conv", [f"p{i}", weight(f"g{i}", channels, channels, 1, 1)], [f"q{i}"]),
            helper.make_node("Sigmoid", [f"q{i}"], [f"s{i}"]),
            helper.make_node("Mul", [f"r{i}", f"s{i}"], [f"m{i}"]),
            helper.make_node("Add", [f"m{i}", f"h{i}"], [f"h{i + 1}"]),
        ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"h{blocks}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", weight("head", channels, 10)], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture(scope="session")
def unseen_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_residual_net(tmp_path_factory.mktemp("model") / "unseen-net.onnx")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One artifact cache for all end-to-end tests: the user's own if there is one, so that CI compiles resnet50 once."""
    given = os.environ.get("LOADSTONE_CACHE")
    return Path(given) if given else tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "LOADSTONE_CACHE": str(cache)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "harness.cli", *arguments]


@contextmanager
def started(arguments: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """A running command whose whole family is gone afterwards, whatever the test did."""
    process: subprocess.Popen[str] = subprocess.Popen(arguments, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        for child in family(process.pid):
            child.kill()
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def family(pid: int) -> list[psutil.Process]:
    """The living descendants of a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def all_gone(processes: list[psutil.Process], within_s: float = 10.0) -> bool:
    """Whether every one of them ends in time; a zombie nobody waits for holds nothing and counts as ended."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not any(map(_alive, processes)):
            return True
        time.sleep(0.05)
    return False
