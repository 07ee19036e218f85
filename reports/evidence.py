"""What lets a reader check a candidate: where its raw samples lie, where it was measured, the command that does it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reports import result as read
from reports import text
from reports.result import Result

Row = Mapping[str, Any]

_INSIDE = re.compile(r"(samples|logs)/[A-Za-z0-9_~@+=,-][A-Za-z0-9._~@+=,-]*")
"""Paths that a link may have: a file in a folder of the run, named by nothing that a browser could read as an address."""
_OPTIONS = ("--backends", "--instances", "--precisions", "--slo", "--rate", "--endpoint", "--project", "--resume")
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the run folder; `href` is None when its name is not safe to follow."""

    name: str
    href: str | None
    said: str


def link(path: str | None) -> str | None:
    """The relative link to a file of the run folder beside the page, None for any other path."""
    return path if path is not None and _INSIDE.fullmatch(path) else None


def samples(row: Row) -> tuple[File, ...]:
    """The files of raw samples, one a run, in the order made."""
    found = []
    for step in read.rows(row, "steps"):
        path = read.text(step, "samples")
        if path is not None:
            n, rate = read.number(step, "n"), read.number(step, "offered_per_s")
            at = f" at {text.number(rate)}/s" if rate is not None else ""
            kind = text.name(read.text(step, "kind") or "run", 24)
            found.append(File(name=text.name(path, 80), href=link(path), said=f"{kind}{at}, n = {text.compact(n)}"))
    return tuple(found)


def where(result: Result, row: Row) -> Iterator[tuple[str, str | None]]:
    """The environment as far as it matters to this candidate."""
    endpoint = read.mapping(row, "endpoint")
    if endpoint:
        yield "Endpoint", " ".join(filter(None, (read.text(endpoint, "name"), read.text(endpoint, "url"))))
    if read.text(row, "basis") == "projected":
        yield "Machine", "none: projected, not measured"
        return
    packages = read.mapping(result, "environment", "packages")
    backend = read.text(row, "backend") or ""
    yield "Processor", read.text(result, "environment", "cpu_model")
    yield "Kernel", read.text(result, "environment", "kernel")
    yield "Fingerprint", read.text(result, "environment", "fingerprint")
    for name in _PACKAGES.get(backend, (backend,)):
        if read.text(packages, name):
            yield f"Package {text.name(name)}", read.text(packages, name)
    yield "Artifact digest", read.text(row, "artifact_digest")
    yield "Content key", read.text(row, "key")


_PACKAGES = {
    "ort": ("onnxruntime",),
    "torch": ("torch",),
    "inductor": ("torch",),
    "tvm": ("apache-tvm", "apache-tvm-ffi"),
    "tvm-bundle": ("apache-tvm", "apache-tvm-ffi"),
}


def command(result: Result, row: Row) -> str | None:
    """The run's command narrowed to one candidate, under the same limit and at the same rate; None where that is not known.

    Alone, a candidate would get a default limit and a rate of its own, so both are spelt out. One that somebody else serves is
    measured by the whole command.
    """
    given = read.text(result, "run", "command")
    backend, instance = read.text(row, "backend"), read.text(row, "instance")
    if given is None or backend is None or instance is None or read.text(row, "basis") == "projected":
        return None
    try:
        words = shlex.split(given)
    except ValueError:
        return None
    if words[1:2] != ["bench"]:
        return None
    if read.mapping(row, "endpoint"):
        return given
    precision = read.text(row, "precision")
    kept = _without(words)
    slo, rate = read.text(result, "slo", "text"), read.number(result, "reference_rate_per_s")
    spelt = None if rate is None else f"{rate:.6g}"
    other = None if precision == "fp32" else precision
    asked = (("--backends", backend), ("--instances", instance), ("--precisions", other), ("--slo", slo), ("--rate", spelt))
    return shlex.join(kept + [word for option, value in asked if value is not None for word in (option, value)])


def _without(words: list[str]) -> list[str]:
    """The words of a command but for `_OPTIONS` and their values."""
    kept, skip = list[str](), False
    for word in words:
        if skip:
            skip = False
        elif word.split("=", 1)[0] in _OPTIONS:
            skip = "=" not in word
        else:
            kept.append(word)
    return kept
