"""Every form in which a result leaves: one file each, beside result.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reports import junit, markdown, page, tidy
from reports.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """`cheap`: written by every bench, too. `beside`: wants the run folder as well, for what lies in it."""

    file: str
    write: Callable[..., str | bytes]
    cheap: bool = False
    beside: bool = False

    def of(self, result: Result, run: Path) -> str | bytes:
        return self.write(result, run) if self.beside else self.write(result)


FORMS = {
    "html": Form(file="report.html", write=page.render, cheap=True, beside=True),
    "md": Form(file="summary.md", write=markdown.render, cheap=True),
    "csv": Form(file="table.csv", write=tidy.csv, cheap=True),
    "parquet": Form(file="table.parquet", write=tidy.parquet),
    "junit": Form(file="junit.xml", write=junit.render),
}
CHEAP = tuple(name for name, form in FORMS.items() if form.cheap)
