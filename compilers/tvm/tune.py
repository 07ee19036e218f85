"""Where a model's cuts come from: the rules' defaults, records of earlier searches, or a search now."""

from __future__ import annotations

from functools import partial
from typing import Any

from compilers.targets import Target
from compilers.tvm import cuts, records
from compilers.tvm.cuts import Choose
from compilers.tvm.search import search, works_of
from harness.nouns import CompileOptions


def tuned(
    module: Any, target: Target, tvm_target: Any, options: CompileOptions, *, winograd: int, tvm_version: str
) -> tuple[Choose, dict[str, Any] | None]:
    """How to cut `module`'s kernels, and what to tell of a search or its records; None when neither was asked for.

    Kernels with a record are not searched again. Raises UsageError for a damaged record file.
    """
    plain = partial(cuts.default, target=target, winograd=winograd)
    path = records.path_of(options)
    if path is None:
        return plain, None
    place = records.where(target, tvm_version, options.threads, winograd)
    known = records.read(path)
    works = works_of(module, target, tvm_target, winograd=winograd)
    here = {record.work for record in known.values() if record.where == place}
    told: dict[str, Any] = {"records": str(path), "kernels": len(works), "from_records": len(here & works.keys())}
    if options.search_s:
        rest = {work: count for work, count in works.items() if work not in here}
        found = search(rest, target, tvm_target, winograd=winograd, seconds=options.search_s, place=place)
        records.add(path, found.records)
        known |= {record.key: record for record in found.records}
        told |= {
            "tried": found.tried,
            "spent_s": round(found.spent_s, 2),
            "left_out": found.left_out,
            "faster": sum(record.found_ns < record.default_ns for record in found.records),
            # By the kernels alone, with cold weights; the model's own latency is measured apart.
            "saved_us": round(sum(works[r.work] * (r.default_ns - r.found_ns) for r in found.records) / 1e3, 1),
        }
    return records.chooser(known, place, plain), told
