"""The pictures over time: what was measured when and whether it was valid, the machine's signals, and the warm-ups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports import cells, ink, text
from reports import result as read
from reports.ink import Drawn
from reports.result import Result

Row = Mapping[str, Any]

_KINDS = (
    ("start", "server start", "var(--part3)"),
    ("warm-up", "warm-up", "var(--part0)"),
    ("closed", "closed loop", "var(--part2)"),
    ("search", "search", "var(--part1)"),
    ("reference", "reference rate", "var(--s0)"),
    ("confirm", "confirmation", "var(--s2)"),
    ("invalid", "invalid run", "var(--bad)"),
)
_SIGNALS = (
    ("steal", "steal"),
    ("server_foreign", "others on the server's cores"),
    ("generator_foreign", "others on the generator's core"),
    ("run_queue_wait", "generator waiting"),
    ("generator_cpu", "generator CPU"),
    ("loop_lag_ms", "generator standing still"),
    ("cpu_pressure", "CPU pressure"),
)
_LANE_PX = 26


def _visits(result: Result) -> Iterator[tuple[int, Row]]:
    """Every visit with the place of its candidate in the file; a hidden twin's under that of its original."""
    places = {read.text(row, "id"): place for place, row in enumerate(read.rows(result, "candidates"))}
    for visit in read.rows(result, "timeline", "visits"):
        place = places.get((read.text(visit, "candidate") or "").removesuffix("~twin"))
        if place is not None:
            yield place, visit


def _stretches(visit: Row) -> Iterator[tuple[str, float, float]]:
    """(kind, begin, length) of everything in a visit, in s."""
    warm = read.mapping(visit, "warm_up")
    runs = [(read.number(run, "begin_s"), read.number(run, "length_s"), run) for run in read.rows(visit, "runs")]
    begin, length = read.number(warm, "begin_s"), read.number(warm, "length_s")
    first = begin if begin is not None else next((at for at, _, _ in runs if at is not None), None)
    start = read.number(visit, "start_s")
    if first is not None and start is not None:
        yield "start", first - start, start
    if begin is not None and length:
        yield "warm-up", begin, length
    for at, lasted, run in runs:
        if at is not None and lasted:
            yield ("invalid" if read.flag(run, "valid") is False else read.text(run, "kind") or "search"), at, lasted


def timeline(result: Result) -> Drawn:
    """Above, a lane a candidate; below, each signal as a share of what a single second may reach. Both over minutes."""
    import plotly.graph_objects as go

    pens = ink.pens(result)
    found = [(place, *stretch) for place, visit in _visits(result) for stretch in _stretches(visit)]
    lanes = {place: lane for lane, place in enumerate(dict.fromkeys(place for place, *_ in found))}
    traces: list[Any] = []
    for kind, said, colour in _KINDS:
        own = [(lanes[place], begin / 60, length / 60) for place, which, begin, length in found if which == kind]
        if own:
            pattern = {"shape": "x", "size": 6, "fillmode": "overlay", "fgcolor": "var(--card)"} if kind == "invalid" else {}
            traces.append(
                go.Bar(
                    x=[length for _, _, length in own],
                    base=[begin for _, begin, _ in own],
                    y=[lane for lane, _, _ in own],
                    orientation="h",
                    name=said,
                    width=0.62,
                    marker={"color": colour, "line": {"width": 0}, "pattern": pattern},
                    hovertemplate=f"{said}, from minute %{{base:.2f}}<extra></extra>",
                )
            )
    below = _signals(result)
    height = 150 + _LANE_PX * len(lanes) + (170 if below else 0)
    split = 150 / (height - 90) if below else 0.0
    labels = [ink.safe(text.name(pens[place].label, 30)) for place in lanes]
    frame = ink.layout(
        height_px=height,
        barmode="overlay",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "xanchor": "left"},
        xaxis=ink.axis("minutes", rangemode="tozero", anchor="y2" if below else "y"),
        yaxis=ink.axis(
            "",
            tickmode="array",
            tickvals=list(range(len(lanes))),
            ticktext=labels,
            range=[len(lanes) - 0.5, -0.5],
            domain=[min(0.8, split + 0.06) if below else 0, 1],
        ),
        **({"yaxis2": ink.axis("share of limit", rangemode="tozero", domain=[0, split], tickformat=".0%")} if below else {}),
        shapes=[ink.limit("limit of one second", y=1.0) | {"yref": "y2"}] if below else [],
    )
    return Drawn(traces=traces + below, layout=frame, seen=_words(result), places=frozenset(lanes))


def _signals(result: Result) -> list[Any]:
    """The lines of the signals that reached a hundredth of their limit, at most seven."""
    import plotly.graph_objects as go

    columns, limits = read.mapping(result, "timeline", "seconds"), read.mapping(result, "timeline", "limits")
    minutes = [None if at is None else at / 60 for at in read.numbers(columns, "at_s")]
    lines = []
    for slot, (key, said) in enumerate(_SIGNALS):
        limit = read.number(limits, key)
        shares = [None if value is None or not limit else value / limit for value in read.numbers(columns, key)]
        if any(share is not None and share > 0.01 for share in shares):
            dash = ("solid", "dash", "dot", "dashdot")[slot % 4]
            x, y = _broken(minutes, shares)
            lines.append(
                go.Scatter(
                    x=x,
                    y=y,
                    yaxis="y2",
                    name=said,
                    mode="lines",
                    line={"color": f"var(--s{slot + 1})", "width": 1.2, "dash": dash},
                    hovertemplate=f"{said}: %{{y:.0%}} of the limit<extra></extra>",
                )
            )
    return lines


def _broken(minutes: Sequence[float | None], shares: Sequence[float | None]) -> tuple[list[float | None], list[float | None]]:
    """The points with a gap wherever nothing was measured for some seconds, so that no line is drawn across it."""
    x, y, last = list[float | None](), list[float | None](), None
    for at, share in zip(minutes, shares, strict=False):
        if at is None:
            continue
        if last is not None and at - last > 0.1:
            x.append(None)
            y.append(None)
        x.append(at)
        y.append(share)
        last = at
    return x, y


def _words(result: Result) -> str:
    invalid: dict[int, int] = {}
    runs: dict[int, int] = {}
    for place, visit in _visits(result):
        for run in read.rows(visit, "runs"):
            runs[place] = runs.get(place, 0) + 1
            invalid[place] = invalid.get(place, 0) + (read.flag(run, "valid") is False)
    rows = read.rows(result, "candidates")
    said = [f"{cells.label(rows[place])} {count} runs, {invalid[place]} of them invalid" for place, count in runs.items()]
    return "; ".join(said[:12]) + "."


def warm_up(result: Result) -> Drawn:
    """The median of each window of every warm-up, in ms, over the seconds since it began."""
    import plotly.graph_objects as go

    pens, traces, places, words = ink.pens(result), list[Any](), set[int](), list[str]()
    for place, visit in _visits(result):
        medians = read.numbers(visit, "warm_up", "window_ms")
        length, begins = read.number(visit, "warm_up", "length_s"), read.number(visit, "warm_up", "begins")
        if not length or not any(medians):
            continue
        pen, width_s = pens[place], length / len(medians)
        verdict = text.name(read.text(visit, "warm_up", "verdict") or "no verdict", 24)
        traces.append(
            go.Scatter(
                x=[(at + 0.5) * width_s for at in range(len(medians))],
                y=medians,
                name=pen.safe_label,
                legendgroup=pen.group,
                mode="lines+markers",
                opacity=pen.opacity,
                line={"color": pen.colour, "width": 1.2, "dash": pen.dash},
                marker={"size": 4, "color": pen.colour},
                hovertemplate=f"%{{y:.4~g}} ms, {verdict}",
            )
        )
        if place not in places:
            from_s = "never" if begins is None else f"after {text.number(begins * width_s)} s" if begins else "from the start"
            words.append(f"{pen.label} steady {from_s}")
        places.add(place)
    frame = ink.layout(xaxis=ink.axis("s since the first request", rangemode="tozero"), yaxis=ink.log_axis("median, ms"))
    return Drawn(traces=traces, layout=frame, seen="; ".join(words[:12]) + ".", places=frozenset(places))
