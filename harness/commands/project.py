"""`project`: catalogue instances that nobody reached, from what a run measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compilers import work as working
from compilers.spec_io import ONNX
from harness import environment
from harness.catalogue import CatalogueRow, find, load_catalogue
from harness.commands.report import display, publish
from harness.errors import UsageError
from harness.projection import machines, tables
from harness.projection.attach import attach, base_to_json
from harness.projection.nouns import Hardware, Work
from harness.request import BenchRequest
from harness.store import STATE, Store

_REQUEST = TypeAdapter(BenchRequest)
_HERE: TypeAdapter[Hardware | str] = TypeAdapter(Hardware | str)
_WORK: TypeAdapter[Work | str] = TypeAdapter(Work | str)


def project(run: Path, names: Sequence[str], given: Path | None, *, as_json: bool) -> int:
    """Write RUN's result again with rows for `names`, in the place of those projected before."""
    if not names:
        raise UsageError("project onto what? --instances ml.c7g.large,ml.g5.xlarge; see `loadstone instances`")
    rows = chosen(names, given)
    if not (run / STATE).is_file():
        raise UsageError(f"{run} is not a run folder (no {STATE}); a projection needs the run that was measured")
    store = Store(run)
    try:
        result = store.get("result")
        if result is None:
            raise UsageError(f"{run} has no result yet; finish it with `loadstone bench --resume {run}`")
        request = _REQUEST.validate_python(store.get("request"))
        with display() as shown:
            found = with_projection(result, rows, store, request)
            store.put("result", found)
            publish(found, run, shown, as_json=as_json)
    finally:
        store.close()
    return 0


def chosen(names: Sequence[str], given: Path | None) -> tuple[CatalogueRow, ...]:
    """The catalogue rows of these names, each once. Raises UsageError for one that is not in the catalogue."""
    rows = load_catalogue(given)
    return tuple(find(name, rows) for name in dict.fromkeys(names))


def with_projection(
    result: dict[str, Any], rows: Sequence[CatalogueRow], store: Store, request: BenchRequest
) -> dict[str, Any]:
    base = store.get("projection_base")
    if base is None:
        raise UsageError(f"{store.folder} does not say what its machine and model are; run bench again with this version")
    return attach(
        result,
        rows,
        _HERE.validate_python(base["here"]),
        _WORK.validate_python(base["work"]),
        tables.load(),
        seed=request.seed,
        growth_per_min=request.growth_per_min,
        peak_per_s=request.peak_per_s,
    )


def keep_base(store: Store, model_folder: Path) -> None:
    """Note what this machine and the model are, once for a run."""
    if store.get("projection_base") is None:
        here = machines.here(environment.cpu(), environment.clock_ghz(), environment.cpu_family(), load_catalogue())
        store.put("projection_base", base_to_json(here, working.read(model_folder / ONNX)))
