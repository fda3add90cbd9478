"""The exported program, run, gives the logits that the engine gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import load_now

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.session.document import Session, Token
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.script import ScriptError, ViewLines, script
from mechtui.views import parse_question, specs
from mechtui.views.question import plain
from mechtui.views.script import Around, scripts

PROMPT = "When Mary and John went to the store, John gave a drink to"
SOURCE = "When Mary and John went to the store, Mary gave a drink to"
VECTORS = (
    'd = diff L1.pre "Love" "Hate" | " Mary" " John" unit',
    'm = diff L1.pre "Love it" "Hate it" @all',
    "n = neuron L0N5",
    't = token " Mary"',
    'p = pca L1.mid " Mary" | " John" | " store" | " drink"',
)
# What acts on a row of keys must leave what its query does not see hidden, whatever it does to the rest.
TABLES = [
    *(f"{op} L1H0-1.{part}{at}" for op in ("zero", "mean") for part in ("pattern", "scores") for at in ("", " @3,-2")),
    *(f"patch L1H2.{part}{at}" for part in ("pattern", "scores") for at in ("", " @3,-2")),
    *(f"scale L*H1.{part} x{by}" for part in ("pattern", "scores") for by in ("0", "-1", "-0.3", "2.5")),
    "scale L1H1.scores @-1 x-2",
    "noise L1H*.pattern @2-7 sd0.5 seed3",
    "noise L0H1.scores sd2",
]
EDITS = [
    *TABLES,
    "zero L1H2 @-1",
    "zero L*H0-1.v",
    "mean L0.mlp @3,5",
    "mean L1H1.pattern",
    "resample L1H2.q seed7",
    "patch L1.pre @10",
    "patch L1H3.pattern @-1",
    "scale L0N5 x3",
    "noise embed @3 sd2 seed5",
    "noise L1H1.scores sd0.5",
    "add L1.pre d x5",
    "add L1.mid n",
    "add L1.post t x2",
    "add L0.post @1 m",
    "project L1.mid p",
    "cut L1H0-1 -1>0-3",
    "cut L0H0 *>0",
    "cut L1H2 5>2 raw",
]


def exported(
    model: Model, folder: Path, session: Session, views: dict[str, ViewLines] | None = None
) -> tuple[str, torch.Tensor]:
    """The program, and the logits [pos, d_vocab] of the engine's edited run."""
    opened = Engine(model).open(session)
    assert opened.problems == ()
    source = tuple(Token(id, "") for id in opened.source_ids)
    bos = session.bos == "yes"
    text = script(
        session,
        model.shape,
        opened.tokens,
        place=str(folder),
        bos=bos,
        source=source,
        alignment=opened.alignment,
        views=views or {},
    )
    assert opened.edited is not None
    return text, opened.edited.logits()


def run(program: str) -> dict[str, Any]:
    """What its names hold at the end."""
    names: dict[str, Any] = {}
    grad = torch.is_grad_enabled()
    try:
        exec(compile(program, "exported", "exec"), names)
    finally:
        torch.set_grad_enabled(grad)
    return names


def edited_logits(program: str) -> torch.Tensor:
    names = run(program)
    assert not torch.equal(names["edited_logits"], names["clean_logits"])
    logits: torch.Tensor = names["edited_logits"][0]
    return logits


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("bos", ["yes", "no"])
@pytest.mark.parametrize("line", EDITS)
def test_every_edit_comes_out_the_same(line: str, bos: str, family: str, request: pytest.FixtureRequest) -> None:
    model, folder = request.getfixturevalue(f"{family}_model"), request.getfixturevalue(f"{family}_folder")
    session = Session(
        prompt=PROMPT,
        source=SOURCE,
        bos=bos,  # type: ignore[arg-type]
        vectors=tuple(parse_vector(vector) for vector in VECTORS),
        edits=(parse_edit(line),),
    )
    program, logits = exported(model, folder, session)
    assert f"# {format_edit(session.edits[0])}\ndef edit_1" in program
    torch.testing.assert_close(edited_logits(program), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "lines",
    [
        ("scale L1H1.scores x-1", "zero L1H1.scores @4", "noise L1H1.scores sd1", "mean L1H1.scores @-1"),
        ("scale L1H1.pattern x-2", "cut L1H1 *>0-3", "cut L1H1 *>5 raw"),
        ("zero L1H1.pattern", "cut L1H1 *>0"),
        ("scale L0.mlp x2", "freeze L1H*.scores"),
        ("scale L0.mlp x2", "freeze L1H*.pattern @3,-2", "mean L1H0.pattern"),
    ],
)
def test_edits_of_one_table_act_on_each_others_rows(
    lines: tuple[str, ...], family: str, request: pytest.FixtureRequest
) -> None:
    model, folder = request.getfixturevalue(f"{family}_model"), request.getfixturevalue(f"{family}_folder")
    session = Session(prompt=PROMPT, edits=tuple(parse_edit(line) for line in lines))
    if model.ready.bos_auto:
        session = Session(prompt=PROMPT, edits=session.edits, bos="yes")
    program, logits = exported(model, folder, session)
    torch.testing.assert_close(edited_logits(program), logits, atol=1e-4, rtol=1e-4)


def test_several_edits_act_in_order(gpt2_model: Model, gpt2_folder: Path) -> None:
    lines = (
        "scale L1.pre x2",
        "add L1.pre d x5",
        "# zero L0H0",
        "scale L1.pre x0.5",
        "mean L0H1",
        'freeze L1H1 @" John"#2',
    )
    lines += ("freeze L1H2.pattern", "add L1.mid d", "scale L1.post x2", "project L1.mid @3 d")
    session = Session(
        prompt=PROMPT,
        bos="yes",
        vectors=(parse_vector(VECTORS[0]),),
        edits=tuple(parse_edit(line) for line in lines),
        references=(SOURCE, "Mary gave a drink"),
    )
    program, logits = exported(gpt2_model, gpt2_folder, session)
    assert "zero L0H0" not in program
    torch.testing.assert_close(edited_logits(program), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("zero L9H0", "m has no L9H0: its layers are 0 to 1"),
        ("zero L0H9", "m has no L0H9: its heads are 0 to 3"),
        ("zero L0H0 @99", "there is no position 99: the prompt has 5 tokens, 0 to 4"),
        ("patch L0H0", "the session has none"),
        ("add L0.pre love", "there is no steering vector love"),
    ],
)
def test_what_cannot_be_applied_is_refused(line: str, sentence: str, gpt2_model: Model) -> None:
    session = Session(prompt=PROMPT, edits=(parse_edit(line),))
    tokens = [Token(0, "a")] * 5
    with pytest.raises(ScriptError, match=sentence):
        script(session, gpt2_model.shape, tokens, place="m", bos=False)


def test_a_direction_of_folded_weights_is_refused(gpt2_folder: Path) -> None:
    """The final norm's weight is in it, so that the raw weights have another."""
    model = load_now(gpt2_folder, fold_ln=True)
    session = Session(
        prompt=PROMPT,
        bos="yes",
        vectors=(parse_vector(VECTORS[3]), parse_vector(VECTORS[2])),
        edits=(parse_edit("add L1.post t x2"),),
    )
    with pytest.raises(ScriptError, match=r"t = token .* folded weights"):
        script(session, model.shape, [Token(0, "a")] * 5, place="m", bos=True, folded=True)
    other = Session(prompt=PROMPT, bos="yes", vectors=session.vectors, edits=(parse_edit("add L1.mid n"),))
    program, logits = exported(model, gpt2_folder, other)
    torch.testing.assert_close(edited_logits(program), logits, atol=1e-4, rtol=1e-4)


# What a view's script says is what `mechtui run` says, of both runs. The edits leave nothing as it was.
# The lines of a view, if its name alone is not all there is to it.
LINES = {
    "attention": ["attention L1H2", "attention L1H3 scores", "attention L0H1 value"],
    "effects": ["effects", "effects @4"],
    "generate": ["generate 7 prompt", "generate 7 prompt temperature1.5 top_p0.9 seed3"],
    "heads": ["heads entropy", "heads first @3", "heads norm"],
    "scores": ["scores copying"],
    "lens": ["lens", "lens mid"],
    "next_tokens": ["next_tokens", "next_tokens @3 top4"],
    "sweep": [
        *("sweep zero L*H*", "sweep mean L*H0-1.v @1-3", "sweep patch L1H*", "sweep patch L*.pre"),
        *("sweep add L*.mlp n x2", "sweep scale L0.attn x2", "sweep resample L0H* seed3", "sweep freeze L1.mlp"),
    ],
}
# What is refused where the session names an answer and no foil.
BOTH = ("sweep", "attribution")
QUESTIONS = [line for name in specs() if find_spec(f"mechtui.views.{name}.script") for line in LINES.get(name, [name])]
TARGETS: list[dict[str, str]] = [{}, {"answer": " st", "foil": " Mar"}, {"answer": " st"}]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("target", TARGETS, ids=["no target", "both", "no foil"])
def test_every_view_says_the_same(target: dict[str, str], family: str, request: pytest.FixtureRequest) -> None:
    model, folder = request.getfixturevalue(f"{family}_model"), request.getfixturevalue(f"{family}_folder")
    session = Session(
        prompt=PROMPT,
        source=SOURCE,
        bos="yes",
        vectors=tuple(map(parse_vector, VECTORS[2:4])),
        edits=tuple(
            map(
                parse_edit,
                ("scale L0.mlp x2", "# add L1.mid t x9", "add L1.mid n x3", "zero L1H2 @-1", "# zero L0.attn"),
            )
        ),
        views=tuple(line for line in QUESTIONS if len(target) != 1 or line.split()[0] not in BOTH),
        **target,
    )
    answers = program_answers(model, folder, session)
    opened = Engine(model).open(session, questions=[parse_question(line) for line in session.views])
    for line in session.views:
        clean, edited, _ = list(opened.answer(parse_question(line)))[-1]
        said = {"clean": clean, "edited": edited}
        assert {run for run, name in answers if name == line} == {run for run, answer in said.items() if answer}
        for run, answer in said.items():
            if answer is not None:
                # Shares of the source's effect, which is a hundredth of a logit here: what is rounded grows with them.
                close = 5e-3 if line.startswith("sweep patch") else 1e-4
                same(answers[run, line], answer.json(), f"{line}, {run}", close)


def test_what_no_program_answers_is_told_in_the_program(gpt2_model: Model, gpt2_folder: Path) -> None:
    views = ("heads induction", "generate 7", "nonsense", "next_tokens")
    session = Session(prompt=PROMPT, bos="yes", edits=(parse_edit("scale L0.mlp x2"),), views=views)
    around = Around(session, gpt2_model.shape, Engine(gpt2_model).open(session).tokens)
    program, _ = exported(gpt2_model, gpt2_folder, session, scripts(views, around))
    assert "\n# heads induction: no program computes induction of all heads\n" in program
    assert "\n# generate 7: scale L0.mlp x2 acts on generated tokens too, which no program can do" in program
    assert "\n# nonsense: nonsense is not a question" in program
    assert {line for _, line in run(program)["answers"]} == {"next_tokens"}


def program_answers(model: Model, folder: Path, session: Session) -> dict[tuple[str, str], dict[str, Any]]:
    """(run, question line) -> what the exported program says."""
    opened = Engine(model).open(session)
    source = tuple(model.token(id) for id in opened.source_ids)
    around = Around(session, model.shape, opened.tokens, source, opened.alignment)
    text, _ = exported(model, folder, session, scripts(session.views, around))
    return run(text)["answers"]


def same(mine: Any, expected: Any, where: str, close: float = 1e-4) -> None:
    """The same words and numbers; the program may leave keys out. `mechtui run` has no text for part of a character."""
    if isinstance(mine, torch.Tensor):
        mine = plain(mine.numpy())
    if isinstance(mine, str) and "\ufffd" in mine:
        mine = ""
    if isinstance(mine, dict):
        assert mine, where
        assert mine.keys() <= expected.keys(), where
        for key, value in mine.items():
            same(value, expected[key], f"{where}: {key}", close)
    elif isinstance(mine, list):
        assert len(mine) == len(expected), where
        for number, value in enumerate(mine):
            same(value, expected[number], f"{where}[{number}]", close)
    elif isinstance(mine, float):
        assert mine == pytest.approx(expected, abs=close, rel=1e-4), where
    else:
        assert mine == expected, where
