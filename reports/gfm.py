"""Foreign text inside GitHub-flavoured Markdown: shown as it is, whatever it holds, on one line and in one cell."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from reports import text

_MARKS = re.compile(
    r"[\\`*\[\]~$]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore inside a word means nothing
    r"|:(?=[/a-z])"  # addresses and :names:
    r"|(?<=www)\."
    r"|^[-+=#]|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)",  # at the start of a line: lists and headings
    re.IGNORECASE,
)
_CALLS = re.compile(r"(?<!\w)@(?=\w)|#(?=\d)")
"""Mentions and numbers of issues, which are looked for after the Markdown was read; a joiner keeps them apart."""


def plain(said: object, limit: int = 600) -> str:
    """`said` as running text or the content of a cell."""
    shown = " ".join(text.clean(said, limit).split())
    shown = _CALLS.sub(lambda found: f"{found[0]}\u2060", shown)
    shown = _MARKS.sub(lambda found: f"\\{found[0]}", shown)
    # A pipe splits cells before anything else is read, so it must not stand there at all; nor must a tag.
    return html.escape(shown, quote=False).replace("|", "&#124;")


def code(said: object, limit: int = 4000) -> str:
    """`said` as a code span, outside tables: a pipe would end a cell."""
    shown = " ".join(text.clean(said, limit).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}" if shown else ""


def table(columns: Sequence[tuple[str, bool]], lines: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a column is its title and whether it holds figures. Cells are Markdown already."""
    made = ["| " + " | ".join(title for title, _ in columns) + " |"]
    made.append("| " + " | ".join("---:" if figures else "---" for _, figures in columns) + " |")
    return made + ["| " + " | ".join(line) + " |" for line in lines]
