"""Whether a torch.export archive may be handed to torch, and a clean copy of it that may.

`torch.export.load` trusts its file: it unpickles custom objects and weights, loads compiled libraries, evaluates symbolic
expressions, executes guard code and resolves operator names by attribute. So the file is read here with the standard zip
reader, everything but plain weights and a plain graph is refused, and what is left is written to a new archive; torch sees
only that one. The child sets TORCH_FORCE_WEIGHTS_ONLY_LOAD as well, so that the tensors it does unpickle hold no code.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError

MAX_ENTRIES = 20_000
MAX_TOTAL_BYTES = 16 << 30
MAX_RATIO = 100
_SMALL_BYTES = 1 << 20  # an entry this small may be compressed as well as it likes
_MAX_JSON_BYTES = 256 << 20
_NAME = "model"  # torch.export.save knows one model per archive, under this name

_ALLOWED = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(version|serialization_id)"
    rf"|models/{_NAME}\.json|data/sample_inputs/{_NAME}\.pt"
    rf"|data/weights/(weight_\d+|{_NAME}_weights_config\.json)"
    rf"|data/constants/(tensor_\d+|{_NAME}_constants_config\.json)"
)
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|prim)\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond|map_impl|scan|while_loop)"
    r"|torch\.sym_(int|float|max|min|not|ite|sum|sqrt)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)"
)
_FUNCTION = re.compile(
    r"[su]\d+|Mod|PythonMod|FloorDiv|CleanDiv|CeilToInt|FloorToInt|TruncToInt|IntTrueDiv|FloatTrueDiv|ToFloat|Max|Min|Eq|Ne|Lt|Le"
    r"|Gt|Ge|And|Or|Not|True|False|true|false|oo|int_oo|Identity|PowByNatural|Where"
    r"|Add|Mul|Pow|Integer|Float|Rational|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan"
)
_SYMBOL = re.compile(r"Symbol\('[suz]+\d+'(, (positive|integer|nonnegative)=True)*\)")
_EXPRESSION = re.compile(r"[\w\s+\-*/%(),.<>=&|~]*")
_TEXT = re.compile(r"[\w .,:/\-+<>=]*")
_IDENTIFIER = re.compile(r"[\w.]*")  # becomes an argument or attribute name in code that torch generates
_CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "builtins.NoneType", "collections.OrderedDict", None}


def check_archive(path: Path) -> None:
    """Refuse a file that is not a zip archive of sane size and names; cheap, reads only the directory of the archive."""
    _entries(path)


def _entries(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Entries by name below the archive's one root folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, OSError, NotImplementedError) as error:
        raise UsageError(f"{path}: not a torch.export archive: {error}; save it with torch.export.save") from error
    _refuse_unsafe_sizes(path, infos)
    names = [_safe_name(path, info.filename) for info in infos]
    if len(set(names)) != len(names):
        raise UsageError(f"{path}: the archive holds two entries of one name")
    roots = {name.split("/")[0] for name in names}
    if len(roots) != 1 or any("/" not in name for name in names):
        raise UsageError(f"{path}: not a torch.export archive (no single root folder); save it with torch.export.save")
    entries = {name.split("/", 1)[1]: info for name, info in zip(names, infos, strict=True)}
    if f"models/{_NAME}.json" not in entries:
        raise UsageError(f"{path}: holds no models/{_NAME}.json; save it with torch.export.save of torch 2.8 or later")
    return entries


def _refuse_unsafe_sizes(path: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    if len(infos) > MAX_ENTRIES:
        raise UsageError(f"{path}: {len(infos)} entries, more than {MAX_ENTRIES}")
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL_BYTES:
        raise UsageError(f"{path}: {total >> 20} MiB when unpacked, more than {MAX_TOTAL_BYTES >> 20}")
    for info in infos:
        if info.file_size > _SMALL_BYTES and info.file_size > MAX_RATIO * info.compress_size:
            raise UsageError(f"{path}: entry {info.filename!r} unpacks to more than {MAX_RATIO} times its size")
        if info.flag_bits & 1:
            raise UsageError(f"{path}: entry {info.filename!r} is encrypted")


def _safe_name(path: Path, name: str) -> str:
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ":" in name or ".." in parts or "" in parts or "." in parts:
        raise UsageError(f"{path}: unsafe entry name {name!r}")
    return name


def clean_copy(path: Path, copy: Path) -> None:
    """Write to `copy` an archive with the graph and plain tensors of `path` and nothing else.

    Raises UsageError naming what is refused: pickled objects, compiled code, operators outside torch's own, or text that
    torch would evaluate.
    """
    entries = _entries(path)
    for name in entries:
        if not _ALLOWED.fullmatch(name):
            raise UsageError(f"{path}: entry {name!r} is not a graph or a plain tensor (objects and code are refused)")
    try:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as target:
            for name, info in entries.items():
                if name.endswith(".json"):
                    target.writestr(f"{_NAME}/{name}", _clean_json(path, name, source.read(info)))
                    continue
                with source.open(info) as reader, target.open(f"{_NAME}/{name}", "w", force_zip64=True) as writer:
                    while chunk := reader.read(1 << 20):
                        writer.write(chunk)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: damaged archive: {error}") from error


def _clean_json(path: Path, name: str, content: bytes) -> bytes:
    if len(content) > _MAX_JSON_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_JSON_BYTES >> 20} MiB")
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    if name.startswith("models/"):
        # Guards only repeat what static shapes say, and torch executes their text; metadata is for people.
        value["guards_code"] = []
        value = _without_metadata(value)
        for key, text in _texts(value, ""):
            if (reason := refused_text(key, text)) is not None:
                raise UsageError(f"{path}: {name}: {reason}: {text[:80]!r}")
    else:
        for entry in value.get("config", {}).values():
            if not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
                raise UsageError(f"{path}: {name}: {entry.get('path_name')!r} is not a plain tensor")
    return json.dumps(value).encode()


def _without_metadata(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: {} if key == "metadata" else _without_metadata(inner) for key, inner in value.items()}
    return [_without_metadata(inner) for inner in value] if isinstance(value, list) else value


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every string below `value` with the key it stands under; names used as keys count as well."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield "", name
            yield from _texts(inner, name)


def refused_text(key: str, text: str) -> str | None:
    """Why a string of the graph may not reach torch, or None. Pure."""
    if key == "target":
        return None if _OPERATOR.fullmatch(text) else "operator outside torch's own"
    if key == "expr_str":
        text = _SYMBOL.sub("s0", text)
        names = re.findall(r"[A-Za-z_]\w*", text)
        plain = _EXPRESSION.fullmatch(text) and all(_FUNCTION.fullmatch(name) for name in names)
        return None if plain else "symbolic expression with unknown names"
    if key in ("in_spec", "out_spec"):
        return _refused_spec(text)
    allowed = _IDENTIFIER if key == "name" else _TEXT
    return None if allowed.fullmatch(text) else "text that could be taken for code"


def _refused_spec(text: str) -> str | None:
    """A structure of arguments is JSON again: nested containers of Python's own, with plain names as keys."""
    if not text:
        return None
    try:
        root = json.loads(text)
    except ValueError:
        return "argument structure that is not JSON"
    return None if isinstance(root, list) and len(root) == 2 and _plain(root[1]) else "argument structure of an unknown type"


def _plain(spec: Any) -> bool:
    if not isinstance(spec, dict) or spec.keys() != {"type", "context", "children_spec"} or spec["type"] not in _CONTAINERS:
        return False
    try:
        context = json.loads(spec["context"]) if spec["context"] is not None else None
    except (ValueError, TypeError):
        return False
    names = context if isinstance(context, list) else [] if context is None else [context]
    return all(isinstance(name, str) and _IDENTIFIER.fullmatch(name) for name in names) and all(
        map(_plain, spec["children_spec"])
    )
