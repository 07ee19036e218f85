"""The night as GitHub-flavoured Markdown, for a step's summary, a merge request or a mail."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reports import text
from reports.gate import words
from reports.gate.words import Row

LIMIT_BYTES = 1 << 20
"""Of one step's summary on GitHub, which drops a longer one as a whole."""
_ROOM_BYTES = 64 << 10
"""Left for what else the step writes."""
_MARKS = {"pass": "✅", "regression": "❌", "inconclusive": "❓", "invalid": "⚠️"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")


def render(document: Row, limit_bytes: int = LIMIT_BYTES - _ROOM_BYTES) -> str:
    """The summary; candidates that would go beyond the limit are left out, the first ones kept, and that is said."""
    found, used, left_out = [], 0, 0
    end = "\n{} candidates more are in gate.json and gate.html.\n"
    for number, part in enumerate(_parts(document)):
        size = len(part.encode())
        if number and used + size > limit_bytes - len(end) - 20:
            left_out += 1
            continue
        found.append(part)
        used += size
    return "".join(found) + (end.format(left_out) if left_out else "")


def _parts(document: Row) -> Iterator[str]:
    verdict = document["verdict"]
    base = document["baseline"]
    head = [
        f"## {_MARKS[verdict]} {_escaped(words.headline(document))}",
        "",
        f"Baseline {_escaped(base['id'])}, accepted by {_escaped(base['by'], 120)} ({_escaped(base['message'], 300)}). "
        f"Exit code {document['exit_code']}.",
        "",
        *(f"- {_escaped(each)}" for each in [*words.tally(document), *words.notes(document)[:50]]),
        "",
    ]
    yield "\n".join(head) + "\n"
    for candidate in document["candidates"]:
        yield "\n".join(_candidate(candidate)) + "\n"


def _candidate(candidate: Row) -> Iterator[str]:
    verdict = candidate["verdict"]
    yield f"### {_MARKS[verdict]} {_escaped(candidate['id'], 80)}: {words.VERDICTS[verdict]}, {words.self_test(candidate)}"
    yield ""
    if candidate["reason"] is not None:
        yield _escaped(candidate["reason"], 2000)
        yield ""
    if not any(row["ratio"] is not None for row in candidate["metrics"]):
        return
    yield "| metric | baseline | tonight | change | 95 % interval | pairs | p | threshold | visible | verdict |"
    yield "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |"
    for row in candidate["metrics"]:
        cells = [
            words.label(row["metric"]),
            words.figure(row, "baseline"),
            words.figure(row, "tonight"),
            words.change(row["ratio"]),
            words.interval(row),
            str(row["pairs"] or text.DASH),
            words.p_value(row["p"]),
            f"{row['threshold']:.0%}",
            words.share(row["visible"]),
            words.VERDICTS[row["verdict"]] + (" (improved)" if row["improved"] else ""),
        ]
        yield "| " + " | ".join(_escaped(cell) for cell in cells) + " |"
    yield ""


def _escaped(value: object, limit: int = 600) -> str:
    """Text that Markdown shows as it is: on one line, nothing in it a mark-up."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.clean(value, limit).split()))
