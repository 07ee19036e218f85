"""The report as one HTML file that needs nothing else: no network, no neighbouring file, light or dark, on paper too."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from reports import details, figures, ink, text
from reports.result import Result
from reports.view import view


def render(result: Result) -> str:
    """The page of `result`, UTF-8 text of at most a few megabytes, most of which is plotly's own code.

    The page may run only the two scripts whose hashes it carries, and may fetch nothing. Whatever comes from the result is
    escaped, and enters scripts only as JSON data.
    """
    pictures = figures.pictures(result)
    drawn = {picture.key: picture.figure for picture in pictures if picture.figure is not None}
    scripts = [_asset("page.js")]
    if drawn:
        scripts.insert(0, _plotly())
    return (
        _environment()
        .get_template("page.html")
        .render(
            view=view(result),
            pictures=pictures,
            drawn=drawn,
            pens=_key(result, drawn),
            step_columns=details.STEP_COLUMNS,
            style=Markup(_asset("page.css")),
            scripts=[Markup(script) for script in scripts],
            policy=_policy(scripts),
        )
    )


def _key(result: Result, drawn: dict[str, Any]) -> list[ink.Pen]:
    """The pens that at least one picture uses."""
    used = {trace.get("legendgroup") for figure in drawn.values() for trace in figure["data"]}
    return [pen for pen in ink.pens(result).values() if pen.group in used]


def _policy(scripts: list[str]) -> str:
    """The content security policy: these scripts, inline styles (plotly sets them), images that the page itself makes."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """The last gate before the page: None is a dash, and no text keeps a character that could disguise it."""
    if value is None:
        return text.DASH
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return text.clean(value, 20_000).replace(" %", "\u00a0%")


@cache
def _asset(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # The parser reads carriage returns as line ends, which would change the hash.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")
