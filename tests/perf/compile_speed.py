"""How fast the TVM backend's code is beside ONNX Runtime, OpenVINO and eager torch: `python -m tests.perf.compile_speed`.

One process per number of threads loads the same ONNX file into all engines, float32 forced, and runs them in blocks in turn
(torch runs the program that the file was exported from, in a process of its own, because it and TVM do not share one well):
an engine's pool may spin after its last call and would take the core from the next engine's first, hence a pause and
uncounted calls before each block. A round's ratio is of two medians taken within seconds; the table shows the median over
the rounds, so a slow minute of the machine cancels. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

MODELS = ("resnet50", "resnet50 without Winograd", "mobilenet_v2", "bert_base", "vit_b16")
ENGINES = ("ort", "openvino", "torch", "tvm")
NAMES = {"openvino": "OpenVINO", "torch": "torch eager", "tvm": "TVM"}
PAUSE_S = 0.15
UNCOUNTED = 2
CALLS_PER_BLOCK = 4


def main(argv: list[str]) -> int:
    arguments = _arguments(argv)
    if arguments.torch:
        _serve_torch(Path(arguments.torch), arguments.threads[0])
        return 0
    if arguments.child:
        print(json.dumps(_measure(Path(arguments.child), arguments)))
        return 0
    table: dict[str, dict[str, Any]] = {}
    for model in arguments.models:
        folder = _prepared(model.split(" ")[0])
        table[model] = {}
        for threads in arguments.threads:
            table[model][str(threads)] = _in_child(folder, model, threads, arguments)
            print(_line(model, threads, table[model][str(threads)]), file=sys.stderr, flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1), encoding="utf-8")
    print(render(table))
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--torch", help=argparse.SUPPRESS)
    parser.add_argument("--winograd", type=int, default=4, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _prepared(model: str) -> Path:
    from compilers.cache import default_cache
    from compilers.intake import resolve

    log = default_cache() / "logs" / f"compile-speed-{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return resolve(model, default_cache(), log=log).folder


def _in_child(folder: Path, model: str, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measured on the first `threads` CPUs that this process may use."""
    cpus = sorted(os.sched_getaffinity(0))[:threads]
    if len(cpus) < threads:
        raise SystemExit(f"{threads} threads need as many CPUs; this process may use {len(cpus)}")
    winograd = 0 if "without Winograd" in model else 4
    command = [sys.executable, "-m", "tests.perf.compile_speed", "--child", str(folder), "--threads", str(threads)]
    command += ["--rounds", str(arguments.rounds), "--winograd", str(winograd)]
    environment = os.environ | {"TVM_NUM_THREADS": str(threads), "TVM_BIND_THREADS": "0", "OMP_NUM_THREADS": str(threads)}
    command = ["taskset", "-c", ",".join(map(str, cpus)), *command]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def _measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds per call by engine, and each one's ratio to ONNX Runtime, over the rounds."""
    from compilers import spec_io

    threads, (payload, *_) = arguments.threads[0], spec_io.read_payloads(folder)
    torch, tvm = _Torch(folder, threads), _tvm(folder, arguments.winograd, payload)
    calls = {
        "ort": _ort(folder, threads, payload),
        "openvino": _openvino(folder, threads, payload),
        "tvm": tvm,
    }
    rounds: dict[str, list[float]] = {name: [] for name in ENGINES}
    for turn in range(arguments.rounds):
        # The order turns, so that no engine always follows the same one.
        for at in range(len(ENGINES)):
            name = ENGINES[(at + turn) % len(ENGINES)]
            rounds[name].append(torch.block() if name == "torch" else _block(calls[name]))
    torch.close()
    base = rounds["ort"]
    return {
        "milliseconds": {name: round(median(values) * 1e3, 3) for name, values in rounds.items()},
        "ratio": {name: round(median(a / b for a, b in zip(rounds[name], base, strict=True)), 4) for name in ENGINES},
        "ratio_spread": {name: _quartiles([a / b for a, b in zip(rounds[name], base, strict=True)]) for name in ENGINES},
        "rounds": arguments.rounds,
    }


def _block(call: Callable[[], Any]) -> float:
    """The median seconds of one engine's calls, its pool warm and its predecessor's asleep."""
    time.sleep(PAUSE_S)
    for _ in range(UNCOUNTED):
        call()
    spent = []
    for _ in range(CALLS_PER_BLOCK):
        begun = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begun)
    return median(spent)


def _quartiles(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [round(ordered[len(ordered) // 4], 4), round(ordered[(3 * len(ordered)) // 4], 4)]


def _ort(folder: Path, threads: int, payload: Mapping[str, Any]) -> Callable[[], Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    inputs = dict(payload)
    return lambda: session.run(None, inputs)


def _openvino(folder: Path, threads: int, payload: Mapping[str, Any]) -> Callable[[], Any]:
    import openvino as ov

    from compilers.backend_openvino import _settings

    core = ov.Core()
    request = core.compile_model(
        core.read_model(folder / "model.onnx"), "CPU", _settings(threads, "fp32")
    ).create_infer_request()
    inputs = list(payload.values())
    return lambda: request.infer(inputs, share_inputs=True)


def _tvm(folder: Path, winograd: int, payload: Mapping[str, Any]) -> Callable[[], Any]:
    import tvm

    from compilers import spec_io
    from compilers.targets import resolve, tvm_target
    from compilers.tvm import frontend, pipeline

    spec, target = spec_io.read_spec(folder), resolve("host")
    module = frontend.load(folder / "model.onnx", {item.name: item.shape for item in spec.inputs})
    compiled = pipeline.compile_module(module, target, tvm.target.Target(tvm_target(target)), winograd=winograd)
    main = tvm.relax.VirtualMachine(compiled.executable, tvm.cpu())["main"]
    inputs = [tvm.runtime.tensor(payload[item.name]) for item in spec.inputs]
    return lambda: main(*inputs)


class _Torch:
    """Eager torch in a child that answers each line on its input with the seconds of one block."""

    def __init__(self, folder: Path, threads: int) -> None:
        command = [sys.executable, "-m", "tests.perf.compile_speed", "--torch", str(folder), "--threads", str(threads)]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def block(self) -> float:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("block\n")
        self._child.stdin.flush()
        return float(self._child.stdout.readline())

    def close(self) -> None:
        self._child.communicate("")


def _serve_torch(folder: Path, threads: int) -> None:
    import torch

    from compilers import spec_io
    from compilers.backend_torch import load_program, use_threads

    use_threads(threads)
    spec, (payload, *_) = spec_io.read_spec(folder), spec_io.read_payloads(folder)
    call = load_program(folder / spec_io.PROGRAM).module(check_guards=False)
    inputs = [torch.from_numpy(payload[item.name]) for item in spec.inputs]
    with torch.inference_mode():
        for _ in sys.stdin:
            print(_block(lambda: call(*inputs)), flush=True)


def render(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table in Markdown: time as a ratio to ONNX Runtime's, less is faster; the fastest engine in bold."""
    threads = sorted({count for row in table.values() for count in row}, key=int)
    heads = [f"{NAMES[name]}, {count} thread{'s' if count != '1' else ''}" for count in threads for name in ENGINES[1:]]
    lines = ["| model | " + " | ".join(heads) + " | ONNX Runtime, ms |", "| --- |" + " --- |" * (len(heads) + 1)]
    for model, row in table.items():
        cells, base = [], []
        for count in threads:
            if count not in row:
                cells += ["not measured"] * (len(ENGINES) - 1)
                continue
            ratio = row[count]["ratio"]
            best = min(ratio.values())
            cells += [f"**{ratio[name]:.3f}**" if ratio[name] == best else f"{ratio[name]:.3f}" for name in ENGINES[1:]]
            base.append(f"{row[count]['milliseconds']['ort']:.1f}")
        lines.append(f"| {model} | " + " | ".join(cells) + f" | {' / '.join(base)} |")
    return "\n".join(lines)


def _line(model: str, threads: int, row: Mapping[str, Any]) -> str:
    parts = [f"{name} {row['milliseconds'][name]:.1f} ms ({row['ratio'][name]:.3f})" for name in ENGINES]
    return f"{model}, {threads} threads: {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
