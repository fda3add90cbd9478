"""Lines of paths: read, written again, and refused in one sentence that says what would be right."""

from __future__ import annotations

import pytest

from mechtui.app.edits_line import Known, complete, complete_edit
from mechtui.headless.asking import _refuse
from mechtui.link.messages import EditProblem
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question

REFUSED = {
    "cut-path L5H5": "L5H5 should be SENDER>RECEIVER, as in L5H5>L8H6.q",
    "cut-path L5H5>": "L5H5> should be SENDER>RECEIVER",
    "cut-path L5H5.q>L8H6.q": "a sender is a head (L5H5), L5.attn, L5.mlp, embed or pos",
    "cut-path L5.pre>L8H6.q": "L5.pre sends nothing by itself",
    "cut-path L5N7>L8H6.q": "L5N7 sends nothing by itself",
    "cut-path L5H5>L8H6": "write L8H6.q, L8H6.k or L8H6.v",
    "cut-path L5H5>L8.mlp.q": "an MLP has no queries, keys or values: write L8.mlp",
    "cut-path L5H5>L8.attn": "a receiver is L8H6.q, L8H6.k, L8H6.v or L8.mlp",
    "cut-path L8H1>L8H6.q": "L8H1 writes nothing that L8H6.q could read: a sender stands in an earlier layer",
    "cut-path L8.mlp>L8.mlp": "a sender stands in an earlier layer",
    "cut-path L3-9H0>L8H6.q": "a sender stands in an earlier layer",
    "cut-path L*H*>L0H0.q": "a sender stands in an earlier layer",
    "cut-path L5H5>L8H6.q x2": "nothing more is expected here",
    "sweep cut-path L5H5>L8H6.q": "path L8H6.q ranks its senders",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_no_path_is_refused(line: str) -> None:
    with pytest.raises(LineError) as error:
        (parse_question if line.startswith("sweep") else parse_edit)(line)
    assert REFUSED[line] in error.value.problem
    assert 0 < error.value.column <= len(line)


@pytest.mark.parametrize(
    "line",
    [
        "cut-path L5H5>L8H6.q",
        "cut-path L*H*>L8H0-2.k @-1",
        'patch-path L0-3.mlp>L8.mlp @" John"#2',
        "# cut-path embed>L0H0.v",
        "patch-path pos>L*.mlp",
        "cut-path L8.attn>L8.mlp",
        "cut-path L8H*>L*H*.q",
    ],
)
def test_a_path_reads_back(line: str) -> None:
    assert format_edit(parse_edit(line)) == line


def test_completion_leads_through_a_path() -> None:
    known = Known(Session())
    assert "cut-path" in [each.word for each in complete_edit("cut", known)]
    assert [each.word for each in complete_edit("cut-path L5H5", known)] == ["L5H5>"]
    assert [each.word for each in complete_edit("cut-path L5H5>L8H6", known)] == [
        f"L5H5>L8H6.{part}" for part in ("q", "k", "v")
    ]
    (mlp,) = complete_edit("patch-path L5.mlp>L8.", known)
    assert complete("patch-path L5.mlp>L8.", mlp) == "patch-path L5.mlp>L8.mlp "
    (sender,) = complete_edit("patch-path L5.a", known)
    assert complete("patch-path L5.a", sender) == "patch-path L5.attn>"


@pytest.mark.parametrize("line", ["cut-path L5H5>L99H0.q", "patch-path L5.mlp>L99.mlp @3", "cut-path embed>L99H0.v"])
def test_a_headless_run_points_at_the_path_that_the_model_lacks(line: str) -> None:
    edit = parse_edit(line)
    with pytest.raises(LineError, match="no layer 99") as error:
        _refuse(Session(edits=(edit,)), (EditProblem(0, "edit 1", "the model has no layer 99"),))
    assert (error.value.line, error.value.column) == (line, line.index(" ") + 1)
