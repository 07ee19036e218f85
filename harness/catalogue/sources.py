"""Where the catalogue comes from: the shipped file, prices fetched from AWS, the user's files, each over the former."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from harness.catalogue import reading
from harness.catalogue.nouns import CatalogueRow
from harness.errors import UsageError

FETCHED, OWN = "prices-aws.csv", "instances.csv"


def folder() -> Path:
    """`$XDG_CONFIG_HOME/loadstone`, by default ~/.config/loadstone."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "loadstone"


def load_catalogue(given: Path | None = None, *, user_files: bool = True) -> tuple[CatalogueRow, ...]:
    """Every row; `given` is one more file, over all others. Raises UsageError for a file that cannot be read."""
    shipped = resources.files("harness").joinpath("data/instances.csv")
    rows = reading.read(shipped.read_text(encoding="utf-8"), "harness/data/instances.csv")
    own = [path for name in (FETCHED, OWN) if (path := folder() / name).is_file()] if user_files else []
    for path in own + ([] if given is None else [given]):
        rows = reading.read(_text(path), str(path), rows)
    return tuple(rows.values())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; --catalogue takes a CSV file of instances") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start}); --catalogue takes a CSV file of instances") from error
