"""What every page is wrapped in: its policy, style and scripts, the template engine, and the last gate for foreign text.

A page is one HTML file that needs nothing else. It may run only the scripts whose hashes it carries, and may fetch nothing;
whatever comes from a result is escaped, and enters scripts only as JSON data.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from reports import text


def render(template: str, *, drawn: Mapping[str, Any], scripts: Sequence[str], styles: Sequence[str], **values: Any) -> str:
    """The page of `template`. `drawn` are plotly figures by key; without one, plotly's own code (megabytes) is left out.

    `scripts` and `styles` name files beside the template, which sees their text, `policy`, `drawn` and `values`.
    """
    code = [asset(name) for name in scripts]
    if drawn:
        code.insert(0, plotly())
    return (
        _environment()
        .get_template(template)
        .render(
            drawn=drawn,
            style=Markup("\n".join(asset(name) for name in styles)),
            scripts=[Markup(script) for script in code],
            policy=policy(code),
            **values,
        )
    )


def policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts, inline styles (plotly sets them), images that the page itself makes."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
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
def asset(name: str) -> str:
    """The text of a file beside the templates."""
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def plotly() -> str:
    """Plotly's own code, as it stands in a page."""
    from plotly.offline import get_plotlyjs

    # The parser reads carriage returns as line ends, which would change the hash.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")
