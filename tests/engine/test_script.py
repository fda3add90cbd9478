"""The exported program, run, gives the logits that the engine gives."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.engine.api import Engine
from mechtui.engine.errors import SessionError
from mechtui.engine.model import Model
from mechtui.export.program import Exported, program
from mechtui.export.script import script
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import named_dictionaries, parse_question, spec_of, specs
from mechtui.views.question import plain
from mechtui.views.spec import Cost
from mechtui.views.tokens import Tokens
from tests.engine.all_views import session_for
from tests.engine.conftest import load_now
from tests.grid.families import make
from tests.lines import PROMPT, SOURCE, of_one_prompt, refused, write_files

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
    "clamp L0N5-8 @3,-1 x2",
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
    "cut-path L0H1-2>L1H0.k @3,-1",
    "cut-path L*.attn>L*.mlp",
    "patch-path L0H*>L1H1.v @9",
    "patch-path embed>L1.mlp @10",
]


def exported(model: Model, session: Session, lacking: bool = False) -> Exported:
    """The session with the engine's answers to its views. lacking: those that it says too little for are left out."""
    opened = Engine(model).open(session, questions=[parse_question(line).asked() for line in session.views])
    shown: dict[str, Any] = {}
    for line in session.views:
        try:
            clean, edited, _ = list(opened.answer(parse_question(line).asked()))[-1]
        except SessionError:
            assert lacking, line
            continue
        shown[line] = (clean.json() if clean else None, edited.json() if edited else None)
    [(tokens, _, _)] = opened.answer(Tokens())
    left_out = {problem.index: problem.sentence for problem in opened.problems}
    session = replace(session, views=tuple(shown))
    named = named_dictionaries(session, map(parse_question, session.views))
    return Exported(session, model.ready, tokens, shown, left_out, opened.told_of(named))  # type: ignore[arg-type]


def each_run(line: str) -> bool:
    """Whether a program answers it for the edited run too."""
    question = parse_question(line)
    module = importlib.import_module(f"mechtui.views.{spec_of(question).name}.script")
    return module.each_run(question) if hasattr(module, "each_run") else getattr(module, "EACH_RUN", True)


def text_of(it: Exported) -> str:
    return script(program(it))


def with_logits(model: Model, session: Session) -> tuple[str, torch.Tensor]:
    """The program, and the logits [pos, d_vocab] of the engine's edited run."""
    opened = Engine(model).open(session)
    assert opened.problems == ()
    assert opened.edited is not None
    return text_of(exported(model, session)), opened.edited.logits()


def run(program: str) -> dict[str, Any]:
    """What its names hold at the end."""
    names: dict[str, Any] = {}
    grad = torch.is_grad_enabled()
    try:
        with redirect_stdout(StringIO()):
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
    model = request.getfixturevalue(f"{family}_model")
    session = Session(
        prompt=PROMPT,
        source=SOURCE,
        bos=bos,  # type: ignore[arg-type]
        vectors=tuple(parse_vector(vector) for vector in VECTORS),
        edits=(parse_edit(line),),
    )
    text, logits = with_logits(model, session)
    assert f"# %% Edit {format_edit(session.edits[0])}\n" in text
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


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
    model = request.getfixturevalue(f"{family}_model")
    session = Session(prompt=PROMPT, edits=tuple(parse_edit(line) for line in lines))
    if model.ready.bos_auto:
        session = Session(prompt=PROMPT, edits=session.edits, bos="yes")
    text, logits = with_logits(model, session)
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama", "attn-only-2l"])
def test_a_program_of_linear_mode_proves_its_numbers(family: str, request: pytest.FixtureRequest) -> None:
    alone = family == "attn-only-2l"
    model = load_now(family) if alone else request.getfixturevalue(f"{family}_model")
    edits = ["zero L0H1", "scale L1H0 @-1 x3", "cut L1H1 -1>0-3", "zero L1H2.q", "add L1.pre d x5", "zero embed @2"]
    edits += [] if alone else ["add L0.mid d", "scale L1N3-9 x4", "mean L0.mlp"]
    views = ["next_tokens", "effects", "attribution", "attribution L1H1", "sweep zero L*H*", "path logits cut"]
    views += [] if alone else ["attribution L1.mlp", "sweep scale L*.mid x2"]
    session = Session(
        prompt=PROMPT,
        answer=" Mary",
        foil=" John",
        linear=True,
        vectors=(parse_vector(VECTORS[0]),),
        edits=tuple(parse_edit(line) for line in edits),
        views=tuple(views),
    )
    text, logits = with_logits(model, session)
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-3, rtol=1e-3)


def test_a_program_holds_the_norms_behind_parts_of_blocks_too(tmp_path: Path) -> None:
    model = load_now(make("olmo 2", tmp_path))
    edits = tuple(map(parse_edit, ("scale L1.attn @-1 x2", "zero L0.mlp", "zero L0H1", "zero embed @3")))
    text, logits = with_logits(model, Session(prompt="When Mary and John went to", linear=True, edits=edits))
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


def test_a_program_of_linear_mode_says_that_it_has_no_paths(gpt2_model: Model) -> None:
    edits = tuple(map(parse_edit, ("zero L0H1", "cut-path L0H0>L1H1.v", "# cut-path L0H0>L1H1.q")))
    views = ("next_tokens", "effects", "path L1H1.v")
    session = Session(prompt=PROMPT, answer=" Mary", foil=" John", linear=True, edits=edits, views=views)
    text = text_of(exported(gpt2_model, session))
    assert "has no paths" in text
    assert "edited_logits" not in run(text)


def test_the_entropy_of_a_pattern_that_an_edit_made_negative_is_the_screens(gpt2_model: Model) -> None:
    edits = (parse_edit("scale L0H1.pattern x-1"),)
    run(text_of(exported(gpt2_model, Session(prompt=PROMPT, edits=edits, views=("heads entropy",)))))


def test_several_edits_act_in_order(gpt2_model: Model) -> None:
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
    text, logits = with_logits(gpt2_model, session)
    assert "zero L0H0" not in text.partition("import math")[2]
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_paths_go_with_each_other_and_with_edits(family: str, request: pytest.FixtureRequest) -> None:
    """A path that two lines name is one; edits of what is read come behind, those of the stream before."""
    lines = ("cut-path L0H1>L1H1.q", "zero L0H1", "scale L1H1.q x2", "cut-path L0H*>L1H1.q", "cut-path L0.mlp>L1H1.q")
    lines += (
        "cut-path L0.attn>L1H1.q @-1,3",
        "cut-path L0H2>L1.mlp",
        "scale L1.mid x2",
        "zero L0H2",
        "scale L1.pre x2",
    )
    edits = tuple(parse_edit(line) for line in lines)
    session = Session(prompt=PROMPT, answer=" Mary", foil=" John", edits=edits, views=("lens mid",))
    text, logits = with_logits(request.getfixturevalue(f"{family}_model"), session)
    assert "Not computed" not in text
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("zero L9H0", "has no L9H0: its layers are 0 to 1"),
        ("zero L0H9", "has no L0H9: its heads are 0 to 3"),
        ("zero L0H0 @99", "there is no position 99: the prompt has"),
        ("patch L0H0", "the session has none"),
        ("add L0.pre love", "there is no steering vector love"),
    ],
)
def test_what_the_screen_left_out_is_left_out(line: str, sentence: str, gpt2_model: Model) -> None:
    edits = (parse_edit(line), parse_edit("zero L0H1"))
    text = text_of(exported(gpt2_model, Session(prompt=PROMPT, edits=edits, views=("next_tokens",))))
    said = " ".join(text.partition(f"# %% Edit {format_edit(edits[0])}\n")[2].split("\n# "))
    assert said.startswith("# Left out, here as on the screen: ")
    assert sentence in said.partition("# %%")[0]
    names = run(text)  # the answers, too, are those of the other edit alone
    assert ("edited", "next_tokens") in names["wanted"]


def test_a_direction_of_folded_weights_has_the_norms_weight(gpt2_folder: Path) -> None:
    model = load_now(gpt2_folder, fold_ln=True)
    session = Session(
        prompt=PROMPT,
        bos="yes",
        vectors=tuple(parse_vector(vector) for vector in VECTORS[2:4]),
        edits=(parse_edit("add L1.post t x2"), parse_edit("add L1.mid n")),
        views=("residual", "attention L1H2 value", "attribution", "vectors", "attribution L1H1"),
    )
    text, logits = with_logits(model, session)
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)
    assert "Not computed: folded weights have the first norm's bias among the values' biases" in text


# All that a program is asked of all views, and what it refuses. What is asked over cases has tests of its own.
QUESTIONS = tuple(line for name in specs() for line in of_one_prompt(name))
REFUSED = tuple(line for name in specs() for line in refused(name))
TARGETS: list[dict[str, str]] = [{}, {"answer": " st", "foil": " Mar"}, {"answer": " st", "foil": ""}]
ALL_EDITS = (
    *("scale L0.mlp x2", "# add L1.mid t x9", "add L1.mid n x3", "zero L1H2 @-1", "# zero L0.attn"),
    *("add L1.mid @3 t", "scale L1.post x1.5"),
)


def programmed(
    model: Model, lines: Sequence[str], target: Mapping[str, str], lacking: bool
) -> tuple[Exported, dict[str, Any]]:
    """A session with all these lines on this model, as its program is written, and the program's names once it ran.
    lacking: whether lines that the session's target is not enough for are left out."""
    session = session_for(model, *ALL_EDITS, bos="yes", views=tuple(lines), **target)
    it = exported(model, session, lacking)
    return it, run(text_of(it))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("target", TARGETS, ids=["no target", "both", "no foil"])
def test_every_view_says_the_same(
    target: dict[str, str], family: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program compares all its numbers with the engine's by itself."""
    monkeypatch.chdir(write_files(tmp_path))
    both = bool(target.get("foil"))
    # How the target is said is the same for all lines of a job, which cost many runs.
    lines = [
        line
        for name, view in specs().items()
        for line in (of_one_prompt(name) if both or view.cost is not Cost.JOB else of_one_prompt(name)[:1])
    ]
    it, names = programmed(request.getfixturevalue(f"{family}_model"), lines, target, lacking=not both)
    check_program(it, names)
    if both:
        assert set(it.shown) == set(QUESTIONS)  # type: ignore[arg-type]
    else:
        assert "next_tokens" in it.shown  # type: ignore[operator]


def check_program(it: Exported, names: Mapping[str, Any]) -> None:
    """The program has compared every run of every view that it answers, and every number and word of it counts."""
    wanted, answers, differences = names["wanted"], names["answers"], names["differences"]
    for line, (clean, edited) in it.shown.items():  # type: ignore[union-attr,misc]
        runs = ["clean"] * bool(clean) + ["edited"] * bool(edited and each_run(line))
        assert [run for run, name in wanted if name == line] == ([] if line in REFUSED else runs), line
    # Every number and every word of every view counts.
    for (which, line), tables in wanted.items():
        for name, cells in tables.items():
            changed = [*cells]
            last = len(changed) - 1
            changed[last] = _other(changed[last])
            changed = np.array(changed) if isinstance(cells, np.ndarray) else changed
            [sentence] = differences(which, line, {**tables, name: changed}, answers[which, line])
            place = re.escape(name).replace(re.escape("[]"), r"\[[0-9]+\]")
            should = re.escape(repr(_python(changed[last])))
            assert re.fullmatch(rf"{re.escape(line)}, {which} run: {place} should be {should} and is .+", sentence)


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _other(value: Any) -> Any:
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + 1
    # A share of a source's effect of a hundredth of a logit is not exact.
    return 7.5 if np.isnan(value) else value + 1 + abs(value) / 50


def test_a_model_that_transformer_lens_computes_otherwise_is_refused(gpt2_folder: Path, tmp_path: Path) -> None:
    """Its bridge divides the scores of a model that does not."""
    folder = Path(shutil.copytree(gpt2_folder, tmp_path / "unscaled"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"scale_attn_weights": False}))
    text = text_of(exported(load_now(folder), Session(prompt=PROMPT)))
    with pytest.raises(SystemExit, match=r"TransformerLens computes other logits for .* than transformers"):
        run(text)


def test_what_no_program_answers_is_told_in_the_program(gpt2_model: Model) -> None:
    views = ("generate 7", "next_tokens")
    session = Session(prompt=PROMPT, bos="yes", edits=(parse_edit("scale L0.mlp x2"),), views=views)
    it = exported(gpt2_model, session)
    text = text_of(replace_shown(it, {**it.shown, "nonsense": None, "residual": None}))
    assert "\n# %% generate 7\n# Not computed: scale L0.mlp x2 acts on generated tokens too" in text
    assert "\n# %% nonsense\n# Not computed: nonsense is not a question" in text
    assert "they are compared with nothing" in " ".join(text.partition("# %% residual")[2][:900].split("\n# "))
    names = run(text)
    assert {line for _, line in names["answers"]} == {"next_tokens", "residual"}
    assert {line for _, line in names["wanted"]} == {"next_tokens"}


def replace_shown(it: Exported, shown: dict[str, Any]) -> Exported:
    return Exported(it.session, it.ready, it.tokens, shown, it.left_out)


def program_answers(model: Model, session: Session) -> dict[tuple[str, str], dict[str, Any]]:
    """(run, question line) -> what the exported program says."""
    answers: dict[tuple[str, str], dict[str, Any]] = run(text_of(exported(model, session)))["answers"]
    return answers


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
