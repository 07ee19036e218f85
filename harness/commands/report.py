"""`report`: what a finished run says, in every form. Progress goes to standard error, results to standard output."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import rates, resultfile
from harness.decision import decide
from harness.errors import UsageError
from harness.progress import Display
from harness.store import STATE, Store, write_atomically
from reports import table, tidy
from reports.exports import CHEAP, FORMS

ALL = "all"


def report(run: Path, formats: str | None, out: Path | None, *, demand: str | None = None, as_json: bool) -> int:
    """Write what RUN says in `formats` (comma-separated; default: all that can be written here), its fleets sized for another
    demand if one is given; returns the exit code."""
    forms, wanted = _forms(formats), None if demand is None else rates.per_second(demand, "--demand")
    with display() as shown:
        result = stored(run)
        if wanted is not None:
            result |= {"decision": decide.again(result, wanted)}
        own = run if run.is_dir() else run.parent
        publish(result, out or own, shown, run=own, forms=forms, as_json=as_json)
    return 0


def publish(
    result: dict[str, Any],
    folder: Path,
    shown: Display,
    *,
    run: Path | None = None,
    forms: Iterable[str] = CHEAP,
    as_json: bool,
) -> None:
    """Write result.json and `forms` into `folder`, and print the summary; `run` is the run folder, if it is another."""
    text = json.dumps(result, indent=1, allow_nan=False)
    write_into(folder, "result.json", text + "\n")
    shown.now("writing the report")
    written = [write_into(folder, FORMS[name].file, FORMS[name].of(result, run or folder)) for name in forms]
    shown.close()
    if as_json:
        print(text)
    table.print_summary(result, Console(stderr=as_json), written)


def write_into(folder: Path, name: str, content: str | bytes) -> Path:
    """The file `name` in `folder`, which is made; UsageError where it cannot be a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder} cannot be a folder ({error.strerror}); name another") from error
    write_atomically(folder / name, content)
    return folder / name


def stored(run: Path) -> dict[str, Any]:
    """The result of a run folder, or of a result.json by itself: whole and of the schema read here, or UsageError."""
    if run.is_file():
        return resultfile.load(run)
    if not (run / STATE).is_file():
        if not (run / "result.json").is_file():
            raise UsageError(f"{run} is not a run folder (no {STATE}, no result.json); see the folders under runs/")
        return resultfile.load(run)
    store = Store(run)
    try:
        found = store.get("result")
    finally:
        store.close()
    if found is None:
        raise UsageError(f"{run} has no result yet; finish it with `loadstone bench --resume {run}`")
    return resultfile.checked(found, run / STATE)


@contextmanager
def display() -> Iterator[Display]:
    """The progress of a command, on standard error."""
    with Display(Console(stderr=True)) as shown:
        yield shown


def _forms(formats: str | None) -> tuple[str, ...]:
    if formats is None:
        return tuple(name for name in FORMS if name != "parquet" or tidy.parquet_possible())
    asked = [name.strip() for name in formats.split(",") if name.strip()]
    for name in asked:
        if name not in (*FORMS, ALL):
            near = difflib.get_close_matches(name, FORMS, 1)
            raise UsageError(
                f"unknown format {name!r}{f'; did you mean {near[0]}?' if near else ''}; known: {', '.join((*FORMS, ALL))}"
            )
    if not asked:
        raise UsageError(f"--format names none; known: {', '.join((*FORMS, ALL))}")
    return tuple(FORMS) if ALL in asked else tuple(dict.fromkeys(asked))
