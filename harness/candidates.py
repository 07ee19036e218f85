"""Every combination that could serve the model, each with a readable id and a stable content key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from compilers.precision import FP32, label
from harness.errors import UsageError
from harness.nouns import Candidate, CompileOptions, InstanceType, ModelSpec
from harness.request import Remote

ENDPOINT = "endpoint"
"""What stands for the backend of a candidate that somebody else serves."""


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


def remote_candidates(
    model: ModelSpec, endpoints: Sequence[tuple[Remote, InstanceType]], taken: Sequence[str]
) -> tuple[Candidate, ...]:
    """One candidate per endpoint that somebody else serves. Raises UsageError for an id that is among `taken` ones."""
    found = tuple(_remote(model, remote, instance) for remote, instance in endpoints)
    for candidate in found:
        if candidate.id in taken:
            raise UsageError(
                f"--endpoint: {candidate.id} is a candidate of this machine already; give the endpoint another name"
            )
    return found


def _remote(model: ModelSpec, remote: Remote, instance: InstanceType) -> Candidate:
    """How it was compiled and with how many threads it runs is not known, and the queue counts as one server's until its
    answers say otherwise."""
    options = CompileOptions(backend=ENDPOINT, target="unknown", precision="unknown")
    identity = {"model": model.digest, "remote": asdict(remote), "instance": instance.name}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    name = f"{remote.name}@{instance.name}"
    return Candidate(id=name, key=key, model=model, options=options, instance=instance, remote=remote)


def cores_of(instance: InstanceType) -> int:
    """The cores of this machine that stand for a local slice: k of `local-k`."""
    return int(instance.name.removeprefix("local-"))
