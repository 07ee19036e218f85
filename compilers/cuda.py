"""Whether an NVIDIA GPU and a runtime built for it are here, found out without importing anything."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

_NODES = ("nvidia[0-9]*", "nvhost-gpu", "dxg")
"""A card's driver, that of a Jetson, and Windows's in a Linux guest."""


def why_no_gpu(devices: Path = Path("/dev")) -> str | None:
    """Why there is no GPU to run on, or None when its driver shows one."""
    if any(found for pattern in _NODES for found in devices.glob(pattern)):
        return None
    return f"no NVIDIA GPU here: {devices} has no nvidia0, so no card or no driver"


def why_no_onnxruntime(version_of: Callable[[str], str | None]) -> str | None:
    """Why ONNX Runtime has no CUDA provider, and the package that has it."""
    if version_of("onnxruntime-gpu") is not None:
        return None
    plain = version_of("onnxruntime")
    have = f"onnxruntime {plain} has" if plain else "there is"
    swap = "pip uninstall onnxruntime && " if plain else ""
    return f"{have} no CUDAExecutionProvider: {swap}pip install onnxruntime-gpu{f'=={plain}' if plain else ''}"


def why_no_torch(version_of: Callable[[str], str | None]) -> str | None:
    """Why torch cannot use a GPU, as far as its version says, and how to get one that can."""
    version = version_of("torch")
    if version is None:
        return "torch is not installed: pip install 'loadstone[torch]'"
    number, _, build = version.partition("+")
    if build != "cpu":
        return None
    return (
        f"torch {version} is built without CUDA: pip install torch=={number} --index-url https://download.pytorch.org/whl/cu128"
    )


def installed(package: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def reasons(*found: str | None) -> str | None:
    """All that is missing, in one line."""
    missing = [each for each in found if each is not None]
    return "; ".join(missing) if missing else None
