from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compilers.pt2_checks import check_archive, clean_copy, refused_text
from harness.errors import UsageError

Graph = dict[str, Any]


def rewrite(
    source: Path, target: Path, edit: Callable[[Graph], None] | None = None, extra: dict[str, bytes] | None = None
) -> Path:
    """A copy of a program with its graph edited and entries added or replaced."""
    with zipfile.ZipFile(source) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    root = next(iter(entries)).split("/")[0]
    if edit is not None:
        graph = json.loads(entries[f"{root}/models/model.json"])
        edit(graph)
        entries[f"{root}/models/model.json"] = json.dumps(graph).encode()
    entries |= {f"{root}/{name}": content for name, content in (extra or {}).items()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        clean_copy(path, path.with_name("clean.pt2"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_sound_program_keeps_its_graph_and_weights(program: Path, tmp_path: Path) -> None:
    check_archive(program)
    clean_copy(program, tmp_path / "clean.pt2")
    with zipfile.ZipFile(program) as before, zipfile.ZipFile(tmp_path / "clean.pt2") as after:
        weights = [name for name in after.namelist() if "/weights/weight_" in name]
        assert len(weights) >= 6
        for name in weights:
            assert after.read(name) == before.read(f"net/{name.split('/', 1)[1]}")
        graph = json.loads(after.read("model/models/model.json"))
    assert graph["guards_code"] == []
    assert "stack_trace" not in json.dumps(graph)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 not a zip", b"\x80\x04\x95 pickle", random.Random(1).randbytes(100)],
    ids=["empty", "not a zip", "pickle", "noise"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"not a torch\.export archive"):
        check_archive(path)


def test_a_cut_archive_is_refused(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(program.read_bytes()[:-200])
    with pytest.raises(UsageError):
        check_archive(path)


@pytest.mark.parametrize("name", ["../escape", "/absolute", "a/../../b", "a\\b", "C:/x", "a//b"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(UsageError, match="unsafe entry name"):
        check_archive(path)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", bytes(20 << 20))
    with pytest.raises(UsageError, match="more than 100 times"):
        check_archive(path)


def test_duplicate_entries_are_refused(program: Path, tmp_path: Path) -> None:
    path = rewrite(program, tmp_path / "x.pt2")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("net/models/model.json", b"{}")
    with pytest.raises(UsageError, match="two entries of one name"):
        check_archive(path)


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/aotinductor/model/model.so",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "models/other.json",
        "extra/script.py",
        "serialized_state_dict.pt",
    ],
)
def test_entries_that_may_hold_code_are_refused(program: Path, tmp_path: Path, name: str) -> None:
    assert name in refused(rewrite(program, tmp_path / "x.pt2", extra={name: b"x"}))


def test_a_plain_entry_cannot_be_declared_an_object(program: Path, tmp_path: Path) -> None:
    config = {"config": {"c": {"path_name": "opaque_obj_/../tensor_0", "is_param": False, "use_pickle": True}}}
    extra = {"data/constants/tensor_0": b"x", "data/constants/model_constants_config.json": json.dumps(config).encode()}
    assert "not a plain tensor" in refused(rewrite(program, tmp_path / "x.pt2", extra=extra))


def _first_node(graph: Graph) -> Graph:
    found: Graph = graph["graph_module"]["graph"]["nodes"][0]
    return found


def _rename_input(graph: Graph) -> None:
    graph["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = "x=__import__('os').system('id')"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda graph: _first_node(graph).update(target="torch.hub.load"), "operator outside"),
        (lambda graph: _first_node(graph).update(target="torch.serialization.os.system"), "operator outside"),
        (lambda graph: _first_node(graph).update(target="torch.ops.mylib.op.default"), "operator outside"),
        (lambda graph: _first_node(graph).update(target="_operator.attrgetter"), "operator outside"),
        (_rename_input, "taken for code"),
        (lambda graph: graph["graph_module"]["graph"].update(sym_int_values={"s0": {"expr_str": "open('x')"}}), "symbolic"),
        (lambda graph: graph["graph_module"]["graph"].update(sym_int_values={"s0": {"expr_str": "os.system"}}), "symbolic"),
    ],
)
def test_text_that_torch_would_run_is_refused(
    program: Path, tmp_path: Path, edit: Callable[[Graph], None], reason: str
) -> None:
    assert reason in refused(rewrite(program, tmp_path / "x.pt2", edit))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("expr_str", "s0"),
        ("expr_str", "Mul(Integer(2), Symbol('s40', positive=True, integer=True))"),
        ("expr_str", "4*s12 + Max(1, u0)//FloorDiv(s0, 2)"),
        ("target", "torch.ops.aten.conv2d.default"),
        ("target", "_operator.getitem"),
        ("as_string", "bmhd,bnhd->bmhn"),
        ("name", "p_conv.weight"),
        ("in_spec", '[1, {"type": "builtins.tuple", "context": "null", "children_spec": []}]'),
    ],
)
def test_plain_text_passes(key: str, text: str) -> None:
    assert refused_text(key, text) is None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("expr_str", "__import__('os')"),
        ("expr_str", "s0.__class__"),
        ("expr_str", "lambda: 0"),
        ("expr_str", "Symbol('s40', positive=f())"),
        ("expr_str", "Symbol('s40').func('x')"),
        ("name", "a b"),
        ("as_string", "a\nimport x"),
        ("as_string", "f(x)"),
        ("", 'a"b'),
        ("in_spec", '[1, {"type": "collections.defaultdict", "context": "null", "children_spec": []}]'),
        ("in_spec", '[1, {"type": null, "context": "{\\"__enum__\\": true, \\"fqn\\": \\"os:x\\"}", "children_spec": []}]'),
        ("in_spec", "[1"),
    ],
)
def test_other_text_does_not(key: str, text: str) -> None:
    assert refused_text(key, text) is not None
