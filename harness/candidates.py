"""Every combination that could serve the model, each with a readable id and a stable content key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from compilers.precision import FP32, label
from harness.nouns import Candidate, CompileOptions, InstanceType, ModelSpec


def enumerate_candidates(
    model: ModelSpec, backends: Sequence[str], instances: Sequence[InstanceType], precisions: Sequence[str] = (FP32,)
) -> tuple[Candidate, ...]:
    """One candidate per backend, precision and instance, with as many threads as the instance has cores of this machine."""
    return tuple(
        _candidate(model, backend, precision, instance)
        for instance in instances
        for backend in backends
        for precision in precisions
    )


def _candidate(model: ModelSpec, backend: str, precision: str, instance: InstanceType) -> Candidate:
    options = CompileOptions(backend=backend, precision=precision, threads=cores_of(instance))
    identity = {"model": model.digest, "options": asdict(options), "instance": instance.name, "workers": 1}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    name = f"{label(backend, precision)}@{instance.name}"
    return Candidate(id=name, key=key, model=model, options=options, instance=instance)


def cores_of(instance: InstanceType) -> int:
    """The cores of this machine that stand for a local slice: k of `local-k`."""
    return int(instance.name.removeprefix("local-"))
