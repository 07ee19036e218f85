"""The rules of the layout, kept true by reading the imports: who may import what, and how large a file may grow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "compilers", "loadprofiles", "reports")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

TVM_RULES = ("approx", "attention", "conv", "dense", "depthwise", "rows", "winograd")

HEAVY = {
    "locust": {"loadprofiles/locustfile.py"},
    "gevent": {"loadprofiles/locustfile.py"},
    "geventhttpclient": {"loadprofiles/locustfile.py"},
    "torch": {
        "compilers/backend_neuron.py",
        "compilers/backend_torch_cuda.py",
        "compilers/backend_torch.py",
        "compilers/backend_inductor.py",
        "compilers/builtin.py",
        "compilers/program.py",
    },
    "transformers": {"compilers/builtin.py"},
    "onnxruntime": {
        "compilers/backend_ort_cuda.py",
        "compilers/backend_ort.py",
        "compilers/quantise.py",
        "compilers/reference.py",
    },
    "openvino": {"compilers/backend_openvino.py"},
    "tvm": {
        "compilers/targets/llvm_names.py",
        "compilers/backend_tvm.py",
        *(
            f"compilers/tvm/{name}.py"
            for name in ("attention", "fold", "frontend", "layouts", "legalise", "pipeline", "rewriter", "trial")
        ),
        *(f"compilers/tvm/rules/{name}.py" for name in TVM_RULES),
        "compilers/tvm/schedules/epilogue.py",
        "compilers/tvm/schedules/prefetch.py",
        "compilers/backend_tvm_bundle.py",
        "compilers/edge/graph.py",
        "compilers/edge/device.py",
        "compilers/backend_tvm_cuda.py",
        "compilers/gpu/session.py",
    },
    "pandas": {"reports/tidy.py", "reports/plots_load.py"},
    "plotly": {
        "reports/shell.py",
        "reports/figures.py",
        *(
            f"reports/plots_{kind}.py"
            for kind in ("artifact", "autoscale", "cost", "fleet", "latency", "load", "runs", "timeline")
        ),
    },
    "ruptures": {"harness/steady.py"},
    "numba": {"harness/fleet/kernel.py"},
    "uvicorn": {"harness/serving/server.py"},
    "boto3": {"harness/catalogue/aws.py"},
    "botocore": {"harness/catalogue/aws.py"},
}
"""Each heavy library and the only files that may import it."""

PURE = (
    "nouns",
    "errors",
    "statistics",
    "measurement",
    "timeline",
    "limits",
    "validity",
    "steady",
    "slo",
    *(f"capacity/{path.stem}" for path in sorted((ROOT / "harness" / "capacity").glob("*.py"))),
    *(f"catalogue/{name}" for name in ("nouns", "processors", "reading", "choose", "pricelist")),
    "ranking",
    "comparison",
    "checkup",
    "cost",
    "scaling",
    "experiment",
    "race",
    "twin",
    "interference",
    "phases",
    "depth",
    "lanes",
    *(f"gate/{name}" for name in ("creep", "decision", "night", "paired", "pooled", "result", "schedule", "selftest")),
    *(f"fleet/{name}" for name in ("policies", "demand", "service", "kernel", "servers", "nouns", "simulate", "sweep")),
    *(f"decision/{name}" for name in ("options", "pareto", "fleets", "demandmap", "changes", "sensitivity", "decide")),
    "rates",
    "fleet/exports",
    "fleet/kubernetes",
    "reached/dialects",
    *(f"projection/{path.stem}" for path in sorted((ROOT / "harness" / "projection").glob("*.py"))),
    "truth/law",
    "truth/spec",
    "truth/discipline",
    "truth/draws",
    "truth/queueing",
    "truth/answers",
)
"""Modules of harness/ that decide: values in, values out."""

IMPURE = {"subprocess", "socket", "threading", "time", "os", "psutil", "sqlite3", "urllib", "http", "random", "asyncio"}

FUNCTION_LINES = 60
MODULE_LINES = 330


def imports(path: Path) -> set[str]:
    """Every module a file imports, at any depth of nesting, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_heavy_libraries_stay_in_their_files(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    for library, homes in HEAVY.items():
        assert library not in roots or name_of(path) in homes, f"{name_of(path)} imports {library}"


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_only_values(module: str) -> None:
    found = imports(ROOT / "harness" / f"{module}.py")
    assert not {name.split(".")[0] for name in found} & IMPURE
    assert not any(name.startswith(("compilers", "reports")) for name in found)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_data_flows_one_way(path: Path) -> None:
    package, found = name_of(path).split("/")[0], {name.split(".")[0] for name in imports(path)}
    forbidden = {
        "loadprofiles": {"compilers", "reports"},
        "compilers": {"loadprofiles", "reports"},
        "reports": {"compilers", "loadprofiles"},
        "harness": set(),
    }[package]
    assert not found & forbidden, f"{name_of(path)} imports {found & forbidden}"
    if package == "harness" and path.parent.name != "commands":
        assert "reports" not in found, "only the shell renders"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MODULE_LINES, f"{name_of(path)} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{name_of(path)}: {node.name} has {length} lines"


def test_the_makefile_stays_small() -> None:
    targets = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "  ## " in line]
    assert 5 <= len(targets) <= 12
