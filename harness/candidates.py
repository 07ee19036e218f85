"""Every combination that could serve the model, each with a readable id and a stable content key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from harness.nouns import Candidate, CompileOptions, InstanceType, ModelSpec


def enumerate_candidates(model: ModelSpec, backends: Sequence[str], instances: Sequence[InstanceType]) -> tuple[Candidate, ...]:
    """One candidate per backend and instance, with as many threads as the instance has cores of this machine."""
    return tuple(_candidate(model, backend, instance) for instance in instances for backend in backends)


def _candidate(model: ModelSpec, backend: str, instance: InstanceType) -> Candidate:
    options = CompileOptions(backend=backend, threads=cores_of(instance))
    identity = {"model": model.digest, "options": asdict(options), "instance": instance.name, "workers": 1}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return Candidate(id=f"{backend}@{instance.name}", key=key, model=model, options=options, instance=instance)


def cores_of(instance: InstanceType) -> int:
    """The cores of this machine that stand for a local slice: k of `local-k`."""
    return int(instance.name.removeprefix("local-"))
