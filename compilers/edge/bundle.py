"""The folder that is handed over: library, runner, loader, header, payloads to check with, manifest and digests."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from compilers import cache
from compilers.edge import emit
from compilers.edge.needs import needs
from compilers.edge.plan import Plan
from compilers.edge.toolchain import Toolchain
from compilers.targets import Target
from harness.nouns import ModelSpec

MANIFEST, SUMS, LIBRARY, RUNNER, LOADER = "bundle.json", "SHA256SUMS", "libmodel.so", "run", "loadstone_model.py"
FORMAT = 1
_CARRIED = ("loadstone_model.h", "run.cpp", "sha256.h", LOADER)
_EXPORTS = "{ global: loadstone_*; __tvm_ffi_main; local: *; };\n"
_WEIGHTS = "weights.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One input set with the reference's outputs, both in the model's order."""

    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]


def write(
    plan: Plan,
    kernels: Path,
    model: ModelSpec,
    target: Target,
    tools: Toolchain,
    payloads: Sequence[Payload],
    work: Path,
    out: Path,
) -> None:
    """Link `kernels` (an object file) by `plan` into the bundle `out`, using the folder `work` for what lies between.

    Raises CannotCompile when a tool refuses.
    """
    _link(plan, kernels, model, tools, work, out)
    for name in _CARRIED:
        _copy_source(name, out)
    _write_payloads(payloads, out / "check")
    manifest = _manifest(plan, model, target, tools, out)
    (out / "README.md").write_text(_readme(manifest), encoding="utf-8")
    seal(out, manifest)


def seal(out: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with the digest of every other file, and SHA256SUMS with the manifest's as well."""
    for made_here in (MANIFEST, SUMS, cache.MANIFEST):
        (out / made_here).unlink(missing_ok=True)
    digests = _digests(out)
    cache.write_json(out / MANIFEST, {**manifest, "files": digests})
    every = {**digests, MANIFEST: cache.file_digest(out / MANIFEST)}
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(every.items())), encoding="utf-8")


def _digests(out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): cache.file_digest(path) for path in sorted(out.rglob("*")) if path.is_file()}


def _link(plan: Plan, kernels: Path, model: ModelSpec, tools: Toolchain, work: Path, out: Path) -> None:
    for name in ("loadstone_model.h", "plan.h", "runtime.cpp", "run.cpp", "sha256.h"):
        _copy_source(name, work)
    (work / _WEIGHTS).write_bytes(emit.weights(plan))
    (work / "exports.map").write_text(_EXPORTS, encoding="utf-8")
    text = emit.model(plan, model.name, model.inputs, model.outputs, model.tolerance.max_rel, _WEIGHTS)
    (work / "model.cpp").write_text(text, encoding="utf-8")
    for name in ("model", "runtime"):
        tools.compile(work / f"{name}.cpp", work / f"{name}.o")
    objects = [work / "model.o", work / "runtime.o", kernels]
    tools.link_library(objects, out / LIBRARY, work / "exports.map")
    tools.link_program(work / "run.cpp", out / RUNNER)


def _copy_source(name: str, folder: Path) -> None:
    with resources.as_file(resources.files("compilers.edge.runtime").joinpath(name)) as path:
        shutil.copyfile(path, folder / name)


def _write_payloads(payloads: Sequence[Payload], folder: Path) -> None:
    folder.mkdir()
    for number, payload in enumerate(payloads):
        for kind, arrays in (("input", payload.inputs), ("output", payload.outputs)):
            for at, array in enumerate(arrays):
                (folder / f"{number}-{kind}{at}.bin").write_bytes(np.asarray(array, order="C").tobytes())


def _manifest(plan: Plan, model: ModelSpec, target: Target, tools: Toolchain, out: Path) -> dict[str, Any]:
    """What is known of a bundle; nothing in it depends on when or where it was made."""
    return {
        "format": FORMAT,
        "model": {"name": model.name, "digest": model.digest, "weights": model.weights},
        "inputs": [asdict(tensor) for tensor in model.inputs],
        "outputs": [asdict(tensor) for tensor in model.outputs],
        "tolerance": asdict(model.tolerance),
        "target": asdict(target),
        "linked_with": tools.version,
        "needs": needs((out / LIBRARY, out / RUNNER)),
        "arena_bytes": plan.arena_bytes,
        "weights_bytes": plan.weights_bytes,
    }


def _readme(manifest: Mapping[str, Any]) -> str:
    target, needed = manifest["target"], manifest["needs"]
    ports = "\n".join(
        f"- {kind} `{tensor['name']}`: {tensor['dtype']} {list(tensor['shape'])}"
        for kind in ("input", "output")
        for tensor in manifest[f"{kind}s"]
    )
    library = f"glibc {needed['glibc']} or later" if needed["glibc"] else "the system's C library"
    return f"""# {manifest["model"]["name"]} for {target["name"]}

Runs on {target["os"]} {target["arch"]} ({target["mcpu"]}: {target["processor"]}) with {library} and nothing else.

{ports}

    sha256sum -c SHA256SUMS      are all files as they were written?
    ./run --info                 what the model takes and gives
    ./run --check                run the payloads in check/ and compare with the reference outputs
    ./run --bench 10             latency over ten seconds; --threads N limits the cores
    ./run image.bin -o out       raw little-endian values in, out0.bin and so on out

From Python (3.8 or later; numpy is used when it is there):

    from loadstone_model import Model
    with Model("this folder") as model:
        outputs = model.run({{{manifest["inputs"][0]["name"]!r}: array}})

From C or C++, include `loadstone_model.h` and link `libmodel.so`:

    c++ client.cpp -I. -L. -lmodel -Wl,-rpath,'$ORIGIN' -o client

`run.cpp` is the source of `run` and shows every call. `bundle.json` says what the bundle is, with the digest of every file:
the runner and the loader refuse one that was altered.
"""
