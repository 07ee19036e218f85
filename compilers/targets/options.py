"""Compiler options, Neo's and ours, applied to a target; pure. An option is one function: target and value to target."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compilers.targets import isa
from compilers.targets.noun import Target
from compilers.targets.table import cpu_facts
from harness.errors import UsageError

_SetOption = Callable[[Target, Any], Target]

_SPELLINGS = {
    "gpu_code": "gpu-code",
    "trt_ver": "trt-ver",
    "cuda_ver": "cuda-ver",
    "num_cores": "num-cores",
    "DTYPE": "dtype",
}
"""Other spellings that Neo's pages use, and ours with an underscore."""

_FEATURE_SPELLINGS = {"vfpv4": "vfp4", "vfpv3": "vfp3"}
"""What Neo's own example and GCC call what LLVM calls otherwise."""

_ANDROID_API = range(21, 37)
_OBJECT = 'give an object such as {"mcpu": "cortex-a72"}'
_EIA = ("precision_mode", "signature_def_key", "output_names", "max_cluster_rank_threshold")


def parse(text: str) -> dict[str, Any] | str:
    """CompilerOptions as given: an object, or for Inferentia and Trainium the compiler's command line, quoted or not.

    Objects are JSON, or written as Neo's own pages print them, with single quotes.
    """
    if not text.strip():
        return {}
    if text.lstrip().startswith("-"):
        return text.strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        value = _python_literal(text)
        if value is None:
            raise UsageError(f"the compiler options are not JSON ({error}); {_OBJECT}") from error
    if isinstance(value, dict | str):
        return value
    raise UsageError(f"the compiler options must be an object; {_OBJECT}")


def _python_literal(text: str) -> Any | None:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def apply(target: Target, options: Mapping[str, Any] | str) -> Target:
    """`target` changed by `options`.

    Raises UsageError for an option the target does not take, with those it does; for a value it cannot have, with the
    nearest ones; and for values that contradict each other or the device.
    """
    if isinstance(options, str):
        return _command_line(target, options)
    given: dict[str, Any] = {}
    for key, value in options.items():
        name = _SPELLINGS.get(key, key)
        if name in given and given[name] != value:
            raise UsageError(f"option {name} is given twice, as {given[name]!r} and {value!r}")
        given[name] = value
    allowed = _allowed(target)
    for name in given:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"option {name!r} is not one of {target.name}'s: {hint}it takes {', '.join(allowed)}")
    for name, set_option in allowed.items():  # in their order: a CPU before its attributes, a GPU before its toolkit
        if name in given:
            target = set_option(target, given[name])
    return target


def _allowed(target: Target) -> dict[str, _SetOption]:
    """The options that mean something for this target, in the order in which they apply."""
    if target.name == "coreml":
        return {"class_labels": _kept("class_labels")}
    if target.name == "ml_eia2":
        return {name: _kept(name) for name in _EIA}
    if target.builder == "neuron":
        return {"dtype": _dtype}
    cpu: dict[str, _SetOption] = {"mcpu": _mcpu, "mattr": _mattr, "num-cores": _num_cores, "dtype": _dtype}
    if target.os == "android":
        return {**cpu, "ANDROID_PLATFORM": _android}
    if target.gpu is not None:
        return {
            **cpu,
            "gpu-code": _gpu_code,
            "cuda-ver": _cuda_ver,
            "trt-ver": _kept("trt-ver"),
            "JETPACK_VERSION": _kept("JETPACK_VERSION"),
        }
    return cpu


def _command_line(target: Target, text: str) -> Target:
    if target.builder != "neuron":
        raise UsageError(f"{target.name} takes its options as a JSON object, not as a command line ({text!r})")
    return _keep(target, "command-line", text)


def _mcpu(target: Target, value: Any) -> Target:
    known = isa.cpu_names(target.arch)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, n=3, cutoff=0.4)
        raise UsageError(f"mcpu {value!r} is not a CPU of {target.arch} (nearest: {', '.join(near) or 'none'})")
    if value == target.mcpu:
        return target
    facts = cpu_facts(value)
    changed = replace(
        target, mcpu=value, mattr=(), l1d_bytes=facts.get("l1d_bytes"), l2_bytes=facts.get("l2_bytes"), cache_line_bytes=64
    )
    return _refit(changed)


def _mattr(target: Target, value: Any) -> Target:
    """A list of signed features, or one string with commas."""
    given = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise UsageError(f'mattr {value!r} is not a list of signed features such as ["+neon"]')
    known = isa.feature_names(target.arch)
    signed: list[str] = []
    for each in given:
        name = _FEATURE_SPELLINGS.get(each[1:], each[1:])
        if each[:1] not in ("+", "-"):
            raise UsageError(f'mattr {each!r} has no sign: give "+{each}" or "-{each}"')
        if name not in known:
            near = ", ".join(difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.4)) or "none"
            raise UsageError(f"mattr {each!r} is not a feature of {target.arch} (nearest: {near})")
        signed.append(each[0] + name)
    _no_contradiction(signed)
    before = tuple(each for each in target.mattr if each[1:] not in {new[1:] for new in signed})
    return _refit(replace(target, mattr=(*before, *dict.fromkeys(signed))))


def _no_contradiction(signed: Iterable[str]) -> None:
    both = {each[1:] for each in signed if each[0] == "+"} & {each[1:] for each in signed if each[0] == "-"}
    if both:
        raise UsageError(f"mattr both adds and removes {', '.join(sorted(both))}")


def _refit(target: Target) -> Target:
    """Lanes, registers and precisions as the CPU and its attributes now have them."""
    unit = isa.vector_unit(
        target.arch, isa.with_attributes(target.arch, isa.cpu_features(target.arch, target.mcpu), target.mattr)
    )
    precisions = target.precisions if target.gpu is not None else unit.precisions
    return replace(target, lanes=unit.lanes, vector_registers=unit.registers, precisions=precisions)


def _num_cores(target: Target, value: Any) -> Target:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1024:
        raise UsageError(f"num-cores {value!r} is not a whole number from 1 to 1024")
    return replace(target, num_cores=value)


def _dtype(target: Target, value: Any) -> Target:
    """The type of the model's inputs; Neo knows two, each with two names."""
    names = {"float": "float32", "float32": "float32", "long": "int64", "int64": "int64"}
    if not isinstance(value, str) or value not in names:
        raise UsageError(f"dtype {value!r} is not one of {', '.join(names)}")
    return _keep(target, "dtype", names[value])


def _android(target: Target, value: Any) -> Target:
    level = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(level, bool) or not isinstance(level, int) or level not in _ANDROID_API:
        raise UsageError(f"ANDROID_PLATFORM {value!r} is not an API level from {_ANDROID_API[0]} to {_ANDROID_API[-1]}")
    return replace(target, mtriple=re.sub(r"\d*\Z", str(level), target.mtriple, count=1))


def _gpu_code(target: Target, value: Any) -> Target:
    if target.gpu is not None and value != target.gpu.arch:
        raise UsageError(f"gpu-code {value!r} contradicts {target.name}, whose GPU is {target.gpu.arch}; leave it out")
    return target


def _cuda_ver(target: Target, value: Any) -> Target:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,2}\.\d{1,2}", value):
        raise UsageError(f"cuda-ver {value!r} is not a release such as 12.9")
    if target.gpu is not None:
        why = out_of_range(target.gpu.cuda_first, target.gpu.cuda_last, value)
        if why is not None:
            raise UsageError(f"cuda-ver {value} contradicts {target.gpu.arch}, which needs {why}")
    return _keep(target, "cuda-ver", value)


def check_inputs(target: Target, dtypes: Sequence[str]) -> None:
    """Raises UsageError when the option dtype names a type that none of the model's inputs has."""
    wanted = dict(target.options).get("dtype")
    if wanted is not None and wanted not in dtypes:
        raise UsageError(f"dtype {wanted} contradicts the model, whose inputs are {', '.join(dict.fromkeys(dtypes))}")


def out_of_range(first: str, last: str | None, release: str) -> str | None:
    """The CUDA releases that would do, in words, when `release` is not among them."""
    if _version(release) < _version(first) or (last is not None and _version(release) > _version(last)):
        return f"CUDA {first} to {last}" if last else f"CUDA {first} or later"
    return None


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _kept(name: str) -> _SetOption:
    def keep(target: Target, value: Any) -> Target:
        return _keep(target, name, value if isinstance(value, str) else json.dumps(value))

    return keep


def _keep(target: Target, name: str, value: str) -> Target:
    others = tuple(each for each in target.options if each[0] != name)
    return replace(target, options=tuple(sorted((*others, (name, value)))))
