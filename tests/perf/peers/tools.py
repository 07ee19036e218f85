"""The tools side by side: how each is told its task, and where it leaves its own figures."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.perf.peers.machine import Cores, bounded
from tests.perf.peers.task import QUANTILES, Said, Task

HERE = Path(__file__).parent
START_S = 60.0
"""A tool may take this long beside the load itself: AIPerf starts ten processes on its one core."""
OWN = "Loadstone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its arguments and what it needs in its environment."""

    argv: list[str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One row: `peer` is the requirement it needs, None for ours. `json_only` tools cannot send a binary body."""

    name: str
    peer: str | None
    command: Callable[[Task, str, Path], Command]
    """From the task, the Python to run it with, and a folder of its own."""
    read: Callable[[Path], Said]
    """Its figures, from the same folder. Raises KeyError, ValueError or OSError when they are not there."""
    json_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one tool under one load; `said` None with the `problem` when it has no figures."""

    tool: str
    said: Said | None
    problem: str | None
    wall_s: float | None = None
    cpu_s: float | None = None
    """Of the whole run, with start and end."""
    trace: tuple[tuple[int, int], ...] = ()
    """See `machine.Ended`."""


def measure(tool: Tool, task: Task, python: str, cores: Cores, folder: Path) -> Row:
    """Run one tool on its core; never raises for what the tool does."""
    folder.mkdir(parents=True, exist_ok=True)
    command = tool.command(task, python, folder)
    log = folder / "log.txt"
    ended = bounded(command.argv, log=log, timeout_s=task.duration_s + START_S, cpu=cores.client, env=command.env)
    said = None
    problem = None if ended.problem is None else f"{ended.problem}{_error(log)}"
    if problem is None:
        try:
            said = tool.read(folder)
        except (KeyError, ValueError, OSError) as error:
            problem = f"left no figures: {type(error).__name__} {error}"
    return Row(tool=tool.name, said=said, problem=problem, wall_s=ended.wall_s, cpu_s=ended.cpu_s, trace=ended.trace)


def _error(log: Path) -> str:
    """The last error that a program logged, when its last line is not that."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if " ERROR " in line]
    return f"; it logged: {lines[-1].strip()[:300]}" if lines else ""


def _said(folder: Path) -> Said:
    return Said.from_mapping(json.loads((folder / "said.json").read_text()))


def _own(task: Task, python: str, folder: Path) -> Command:
    task.write(folder / "task.json")
    argv = [sys.executable, "-m", "tests.perf.peers.own_client", str(folder / "task.json"), str(folder / "said.json")]
    return Command(argv=argv, env={})


def _locust(users: int) -> Callable[[Task, str, Path], Command]:
    def command(task: Task, python: str, folder: Path) -> Command:
        replace(task, users=users).write(folder / "task.json")
        argv = [python, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless", "--only-summary"]
        argv += ["--users", str(users), "--spawn-rate", str(users), "--stop-timeout", "5"]
        argv += ["--run-time", f"{round(task.duration_s)}s", "--host", f"http://{task.host}:{task.port}"]
        # Exit code 0 also with failed requests: they are counted, and shown.
        argv += ["--exit-code-on-error", "0"]
        return Command(argv=argv, env={"PEERS_TASK": str(folder / "task.json"), "PEERS_OUT": str(folder / "said.json")})

    return command


def _loadgen(task: Task, python: str, folder: Path) -> Command:
    task.write(folder / "task.json")
    program = str(HERE / "loadgen_client.py")
    return Command(argv=[python, program, str(folder / "task.json"), str(folder / "said.json"), str(folder)], env={})


def read_loadgen(folder: Path) -> Said:
    """Percentiles from LoadGen's own summary, counts from its system under test."""
    summary = (folder / "mlperf_log_summary.txt").read_text()
    counted = json.loads((folder / "said.json").read_text())
    latency_ms: dict[str, float | None] = {}
    for name, share in QUANTILES.items():
        found = re.search(rf"^{100 * share:.2f} percentile latency \(ns\)\s*:\s*(\d+)", summary, re.MULTILINE)
        latency_ms[name] = None if found is None else int(found[1]) / 1e6
    return Said(latency_ms=latency_ms, requests=counted["requests"], failures=counted["failures"])


def _aiperf(task: Task, python: str, folder: Path) -> Command:
    """The `raw` endpoint replays one JSON body. It wants a tokenizer and text in the answer: a folder with a tokenizer of two
    words, and the model's name, which every answer of the Open Inference Protocol holds."""
    payload = json.loads(Path(task.body).read_text())
    (folder / "inputs.json").write_text(json.dumps({"data": [{"session_id": "one", "payloads": [payload]}]}))
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "tokenizer.json").write_text(json.dumps(_TOKENIZER))
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER_CONFIG))
    argv = [python, "-m", "aiperf", "profile", "--model", "model", "--url", f"http://{task.host}:{task.port}{task.path}"]
    argv += ["--endpoint-type", "raw", "--input-file", str(folder / "inputs.json"), "--custom-dataset-type", "inputs_json"]
    argv += ["--tokenizer", str(tokenizer), "--extra-inputs", "response_field:model_name"]
    argv += ["--request-rate", f"{task.rate_per_s:.6g}", "--arrival-pattern", task.arrivals]
    argv += ["--benchmark-duration", f"{task.duration_s:g}", "--random-seed", str(task.seed)]
    argv += ["--artifact-dir", str(folder / "out"), "--ui", "none", "--no-server-metrics", "--no-gpu-telemetry"]
    # Its caches go with the folder, and nothing is fetched or told.
    return Command(argv=argv, env={"HOME": str(folder), "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"})


_TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1}, "unk_token": "<unk>"},
}
_TOKENIZER_CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 1_000_000}


def read_aiperf(folder: Path) -> Said:
    """`request_latency` of its JSON export; requests that failed are in neither its percentiles nor its count."""
    export = json.loads((folder / "out" / "profile_export_aiperf.json").read_text())
    latency = export["request_latency"]
    if latency["unit"] != "ms":
        raise ValueError(f"request_latency is in {latency['unit']}")
    failures = int(export.get("error_request_count", {}).get("avg", 0))
    return Said(
        latency_ms={name: latency[name] for name in QUANTILES},
        requests=int(export["request_count"]["avg"]) + failures,
        failures=failures,
    )


TOOLS = (
    Tool(name=OWN, peer=None, command=_own, read=_said),
    Tool(name="Locust, 10 users", peer="locust", command=_locust(10), read=_said),
    Tool(name="Locust, 100 users", peer="locust", command=_locust(100), read=_said),
    Tool(name="AIPerf", peer="aiperf", command=_aiperf, read=read_aiperf, json_only=True),
    Tool(name="MLPerf LoadGen", peer="mlcommons-loadgen", command=_loadgen, read=read_loadgen),
)
