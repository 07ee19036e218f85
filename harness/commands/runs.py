"""`report` over several runs: the comparison of some, and the index of a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from harness import resultfile
from harness.commands.report import display, stored, write_into
from harness.errors import UsageError
from harness.store import STATE
from reports import comparison, comparison_page, comparison_view, index_page, text
from reports import index as indexing
from reports.comparison import Run
from reports.index import Entry

MOST_RUNS = 12
_CANNOT_TELL = 4


def compare(paths: Sequence[Path], out: Path | None, *, as_json: bool) -> int:
    """Write the page that holds each run after the first against it; 4 when no pair of them may be compared."""
    if len(paths) > MOST_RUNS:
        raise UsageError(f"{len(paths)} runs are too many for one comparison (at most {MOST_RUNS}); see report --index FOLDER")
    places = [path.resolve() for path in paths]
    folders = [_folder(place) for place in places]
    twice = next((path for path, folder in zip(paths, folders, strict=True) if folders.count(folder) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice; a run differs from itself in nothing")
    file = out or folders[0].parent / "comparison.html"
    with display() as shown:
        shown.now("comparing")
        runs = [
            Run(letter=chr(ord("A") + number), name=folder.name, result=_result(path), link=_link(folder, file))
            for number, (path, folder) in enumerate(zip(places, folders, strict=True))
        ]
        found = comparison.compare(runs)
        written = write_into(file.parent, file.name, comparison_page.render(runs, found))
    _say(comparison.to_json(runs, found), [comparison_view.sentence(each) for each in found], written, as_json=as_json)
    return _CANNOT_TELL if all(each.refused for each in found) else 0


def index(folder: Path, out: Path | None, *, as_json: bool) -> int:
    """Write the page over every run of `folder`; what cannot be read is on it with its reason."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the one that holds the run folders, such as runs")
    if (folder / STATE).is_file() or (folder / "result.json").is_file():
        raise UsageError(f"{folder} is a run itself; give the folder that holds it, or `loadstone report {folder}`")
    file = (out or folder / "index.html").resolve()
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read ({error.strerror})") from error
    if not inside:
        raise UsageError(f"{folder} holds no run folders; give the one that does, such as runs")
    with display() as shown:
        shown.now("reading the runs")
        entries = [_entry(path, file) for path in inside]
        written = write_into(file.parent, file.name, index_page.render(folder.resolve().name, entries))
    _say(indexing.to_json(entries), [indexing.claim(entries)], written, as_json=as_json)
    return 0


def _entry(path: Path, file: Path) -> Entry:
    """What a folder holds; a run that is being made, was killed or cannot be read has its reason instead of a result."""
    if not (path / "result.json").is_file():
        begun = f"no result yet; `loadstone bench --resume {path}` finishes it"
        return Entry(name=path.name, reason=begun if (path / STATE).is_file() else "no run: it holds no result.json")
    try:
        return Entry(name=path.name, result=resultfile.load(path), link=_link(path.resolve(), file))
    except UsageError as error:
        return Entry(name=path.name, reason=str(error))


def _result(run: Path) -> dict[str, Any]:
    """The published result, which can be read while a bench goes on in the folder; the stored one where there is none."""
    return resultfile.load(run) if run.is_file() or (run / "result.json").is_file() else stored(run)


def _folder(run: Path) -> Path:
    """The folder of a run that is given by it or by its result.json."""
    return run.parent if run.is_file() else run


def _link(folder: Path, file: Path) -> str | None:
    """The address of a run's report from the page at `file`, None where there is no report."""
    if not (folder / "report.html").is_file():
        return None
    return "./" + quote(Path(os.path.relpath(folder / "report.html", file.resolve().parent)).as_posix())


def _say(found: dict[str, Any], said: Sequence[str], written: Path, *, as_json: bool) -> None:
    """JSON alone, or the sentences; and where the page is."""
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))
    console = Console(stderr=as_json)
    for line in said:
        console.print(Text(text.clean(line)))
    console.print(Text(f"Report: {text.clean(written, 4096)}"), soft_wrap=True)
