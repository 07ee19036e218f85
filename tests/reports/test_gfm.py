"""Foreign text in Markdown, read back by a Markdown parser: the text is there, and nothing else came of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reports import gfm, text

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# What Markdown could make something of, in any order.
SPICY = st.text(alphabet="ab1 \\`*_[]()<>~&$|!#@:/.-+=\n\t\"'{}^", max_size=40)


def inline(markdown: str) -> list[Token]:
    return [child for token in PARSER.parse(markdown) for child in token.children or ()]


def shown(said: str) -> str:
    return " ".join(text.clean(said).split())


def joined(tokens: list[Token]) -> str:
    return "".join(token.content for token in tokens).replace("\u2060", "")


@given(SPICY)
@example("<img src=x onerror=alert(1)>")
@example("[x](javascript:alert(1)) ![y](z)")
@example("&lt;script&gt; &#60;b&#62;")
@example("# heading")
@example("1. list")
@example("- [ ] task")
@example("a\\|b\\\\|c")
@example("_a_b_ __c__ ~~d~~ $e$")
def test_a_paragraph_shows_the_text_and_only_the_text(said: str) -> None:
    blocks = [token.type for token in PARSER.parse(gfm.plain(said))]
    assert blocks in ([], ["paragraph_open", "inline", "paragraph_close"])
    seen = inline(gfm.plain(said))
    assert {token.type for token in seen} <= {"text", "text_special"}
    assert joined(seen) == shown(said)


@given(SPICY, SPICY)
@example("a|b", "c\\|d")
@example("x\\", "|")
def test_a_cell_stays_one_cell(first: str, second: str) -> None:
    lines = gfm.table([("one", False), ("two", True)], [[gfm.plain(first), gfm.plain(second)]])
    tokens = PARSER.parse("\n".join(lines))
    assert [token.type for token in tokens].count("td_open") == 2
    assert [token.type for token in tokens].count("table_open") == 1
    cells = [token.children or [] for token in tokens if token.type == "inline"][2:]
    assert [joined(cell) for cell in cells] == [shown(first), shown(second)]


@given(SPICY)
@example("`")
@example("a``b`")
def test_code_is_shown_as_it_is(said: str) -> None:
    seen = inline(gfm.code(said))
    assert [token.type for token in seen] == ["code_inline"] * bool(shown(said))
    assert joined(seen) == shown(said)


@pytest.mark.parametrize(("said", "calls"), [("@here", True), ("ort@local-1", False), ("#12", True), ("C#", False)])
def test_nobody_is_mentioned(said: str, calls: bool) -> None:
    assert ("\u2060" in gfm.plain(said)) is calls
