"""The Markdown summary: what a reviewer looks for, every edge whole, and never longer than a step summary may be."""

from __future__ import annotations

from typing import Any

from reports import markdown
from tests.reports.test_gfm import PARSER


def test_it_says_what_won_at_which_figures_and_why_the_others_lost(full: dict[str, Any]) -> None:
    said = markdown.render(full)
    for part in (
        "## Serve resnet50 with openvino@local-1\n",
        "| 1 = | **openvino@local-1** | 15.4 (15.1–15.7) | 55.9 (55.4–56.6) |",
        "| 3 | inductor@local-1 | 10.0 (9.6–10.3) |",
        "(1) n = 960 is too small for p99: it needs 1000",
        "| tensorrt@local-1 | skipped | needs an NVIDIA GPU, and this machine has none |",
        "| tvm@local-1 | failed at compile | the compiler was stopped after 900 s;",
        "Scaling: keep SageMakerVariantInvocationsPerInstance at 565, between 2 and 4 instances.",
        "`loadstone bench resnet50 --profile quick --slo 'p99<190ms' --seed 1`",
    ):
        assert part in said


def test_every_edge_is_a_document_of_headings_paragraphs_and_whole_tables(edge: dict[str, Any]) -> None:
    tokens = PARSER.parse(markdown.render(edge))
    kinds = {token.type for token in tokens} | {child.type for token in tokens for child in token.children or ()}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "fence", "code_block", "em_open", "s_open"}
    rows = [token for token in tokens if token.type == "tr_open"]
    ranked = sum(row["status"] == "ranked" for row in edge.get("candidates") or ())
    others = len(edge.get("candidates") or ()) - ranked
    assert len(rows) == ranked + bool(ranked) + others + bool(others)


def test_banners_come_first(full: dict[str, Any]) -> None:
    full["run"]["state"] = "partial"
    lines = [line for line in markdown.render(full).splitlines() if line]
    assert lines[1].startswith("> **This run is not complete.**")


def test_it_is_cut_at_a_line_within_the_limit_of_a_step_summary(full: dict[str, Any]) -> None:
    loser = full["candidates"][-1]
    full["candidates"] += [loser | {"id": f"c{place}", "reason": "ü" * 500} for place in range(2000)]
    said = markdown.render(full)
    assert markdown.LIMIT_BYTES - 2000 < len(said.encode()) <= markdown.LIMIT_BYTES <= 1 << 20
    assert said.endswith("the rest is in report.html.\n")
    assert "| c0 |" in said
