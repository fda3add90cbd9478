"""What a program is written from, and as what; nothing runs here."""

from __future__ import annotations

import ast
import itertools
import json
import math
import pathlib
import re
import shlex
from pathlib import Path

import nbformat
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mechtui.cli import cli
from mechtui.export.file import written
from mechtui.export.loading import loading
from mechtui.export.nnsight import _translated
from mechtui.export.program import Exported, ExportError, program
from mechtui.export.wanted import leaves
from mechtui.export.wanted import written as as_text
from mechtui.link.messages import Ready
from mechtui.session.dictionaries import About
from mechtui.session.document import ModelShape, Session, Token
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views.script import ViewLines, quoted
from mechtui.views.tokens import TokensAnswer
from mechtui.visible import seen

READY = Ready(
    name="m",
    source="m",
    shape=ModelShape(2, 4, 4, 32, 8, 128, 305, 64),
    device="cpu",
    dtype="float32",
    weights="raw",
    bos_token="",
    bos_auto=False,
    architecture="GPT2LMHeadModel",
    seconds=1.0,
    place="m",
)
# Texts that would end a string, a comment, a cell or a line of Markdown, or turn the text around them.
HOSTILE = 'a"b\'c\\ \n# %% x\n""" \u202e `*_<b> \r\x1b[31m {x} $y$'


def exported(
    prompt: str = "a b", edits: tuple[str, ...] = (), vectors: tuple[str, ...] = (), **more: object
) -> Exported:
    tokens = TokensAnswer((Token(0, "a"), Token(1, " b")), 0, np.zeros(2))
    made = tuple(map(parse_vector, vectors))
    session = Session(prompt=prompt, edits=tuple(map(parse_edit, edits)), vectors=made)
    return Exported(session, READY, tokens, **more)  # type: ignore[arg-type]


numbers = st.none() | st.floats(-1e6, 1e6) | st.integers(-9999, 9999)
answers = st.dictionaries(
    st.sampled_from(("pattern", "values", "top")),
    numbers
    | st.lists(st.lists(numbers, min_size=1, max_size=9), min_size=1, max_size=4)
    | st.lists(st.text(max_size=4), min_size=1, max_size=5)
    | st.lists(st.fixed_dictionaries({"id": st.integers(0, 99), "prob": numbers}), min_size=1, max_size=4),
    min_size=1,
)


@given(answers)
def test_what_is_written_is_what_was_shown_to_four_digits(answer: dict[str, object]) -> None:
    read = eval(as_text(answer, ViewLines()), {"numbers": lambda text: np.array(text.split(), dtype=float)})
    found = [cell for cells in read.values() for cell in cells]
    for (place, value), cell in zip(_in_order(answer), found, strict=True):
        if isinstance(value, str) or place.endswith(".id"):
            assert cell == value
        elif value is None:
            assert math.isnan(cell)
        else:
            assert cell == pytest.approx(value, rel=6e-4)


def _in_order(answer: dict[str, object]) -> list[tuple[str, object]]:
    """Table by table."""
    tables: dict[str, list[tuple[str, object]]] = {}
    for place, value in leaves(answer):
        tables.setdefault(re.sub(r"\[[0-9]+\]", "[]", place), []).append((place, value))
    return [cell for cells in tables.values() for cell in cells]


def test_what_a_view_omits_is_left_out() -> None:
    text = as_text({"top": [{"id": 3, "hex": "ff"}], "bos": 1}, ViewLines(omits=("top.hex", "bos")))
    assert ast.literal_eval(text) == {"top[].id": [3]}


@given(st.text())
def test_a_quoted_text_is_itself(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isprintable()


@pytest.mark.parametrize("ending", [".py", ".ipynb"])
def test_a_prompt_is_never_code(ending: str) -> None:
    it = exported(HOSTILE, ("zero L0H0",), shown={"next_tokens": ({"logit_diff": 1.5}, {"logit_diff": 2.5})})
    text = written(it, f"a{ending}")
    if ending == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        assert "<b>" not in "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        assert all(char == "\n" or char.isprintable() for char in text)
        assert text.count("\n# %% ") == len(program(it)) - 1
        code = text
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    [prompt] = [call.args[0] for call in calls if ast.unparse(call.func) == "encode"]
    assert ast.literal_eval(prompt) == HOSTILE


@pytest.mark.parametrize("ending", ["", ".gguf"])
@pytest.mark.parametrize("before", ["", '"', "'", "\\", '"""', "\n"])
def test_a_models_name_is_never_code(before: str, ending: str, tmp_path: Path) -> None:
    """The program that does not find its model says so, with the name as it is, and runs nothing of it."""
    from msgspec.structs import replace

    name = f"{before}{{print('run')}}{before} + print('run'){ending}"
    ready = replace(READY, name=name, source=f"\x1b[31m{name}", place=str(tmp_path / name))
    it = exported()
    text = written(Exported(it.session, ready, it.tokens), "a.py")
    assert all(char == "\n" or char.isprintable() for char in text)
    printed: list[object] = []
    with pytest.raises(SystemExit) as stopped:
        exec(loading(ready).code, {"pathlib": pathlib, "print": printed.append})
    assert not printed
    said = str(stopped.value)
    assert said.startswith(f"{tmp_path / name} is not here: ")
    if ending:
        command = said.partition(" is not here: ")[2].removesuffix(" makes it again")
        assert shlex.split(command) == ["mechtui", "--model", seen(name)]


def test_a_notebook_has_prose_before_all_code() -> None:
    cells = json.loads(written(exported(shown={"residual": None}), "a.ipynb"))["cells"]
    kinds = [cell["cell_type"] for cell in cells]
    assert kinds[0] == "markdown"
    assert all(before == "markdown" for before, kind in itertools.pairwise(kinds) if kind == "code")
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_an_edit_that_no_program_makes_leaves_the_clean_run() -> None:
    from msgspec.structs import replace

    it = exported(edits=("scale L0H0.scores x2",), shown={"next_tokens": ({"logit_diff": 1.5}, {"logit_diff": 2.5})})
    assert 'wanted["edited", "next_tokens"]' in written(it, "a.py")
    native = Exported(it.session, replace(READY, architecture="TransformerLensNative", place="/m"), it.tokens, it.shown)
    text = written(native, "a.py")
    assert "TransformerLens does not show the scores of m, so no program edits them" in " ".join(text.split("\n# "))
    assert 'wanted["clean", "next_tokens"]' in text
    assert "edited_logits" not in text


def test_a_view_of_a_vector_whose_dictionary_is_not_known_is_left_out() -> None:
    text = written(exported(vectors=("f = feature res2 5",), shown={"vectors": None, "next_tokens": None}), "a.py")
    assert "Not computed: how the dictionary res2 is read is not known." in text
    assert "vector_0" not in text


@pytest.mark.parametrize("file", [f"{HOSTILE}/ae.{ending}" for ending in ("safetensors", "npz", "pt")])
def test_a_dictionarys_file_and_name_are_never_code(file: str) -> None:
    about = About("res", "x\nprint(1)", "standard", file, "blocks.0.hook_resid_pre", "blocks.0.hook_resid_pre", 9, 32)
    vectors = ("f = feature res 5 unit",)
    text = written(exported(vectors=vectors, edits=("add L0.pre f",), dictionaries=(about,)), "a.py")
    assert all(char == "\n" or char.isprintable() for char in text)
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    assert file in [ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "pathlib.Path"]
    assert "vector_0 = dictionary_0.D[5]\nvector_0 = vector_0 / vector_0.norm()" in text
    assert "print(1)" not in [ast.unparse(call) for call in calls]


def test_a_program_for_nnsight_makes_edits_of_features_where_modules_give_what_they_read() -> None:
    from msgspec.structs import replace

    about = About("tc", "SAELens", "topk", "a.npz", "blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out", 9, 32, k=3)
    it = exported(edits=("zero tcF5",), shown={"next_tokens": ({}, {})}, dictionaries=(about,))
    text = written(it, "a.py", "nnsight")
    assert 'act(at + "mlp.hook_in", block.ln_2.output)' in text
    assert 'read = dictionary_0.rows(noted["blocks.1.mlp.hook_in"])' in text
    assert "edited_logits, edited = run(tokens, hooks)" in text
    folded = Exported(it.session, replace(READY, weights="folded"), it.tokens, it.shown, dictionaries=(about,))
    said = " ".join(written(folded, "a.py", "nnsight").split("\n# "))
    assert "Not made: what a norm makes before its weights is no module's output, and tc reads that." in said
    assert 'noted["blocks.1.ln2.hook_normalized"]' in written(folded, "a.py")


def test_a_program_for_nnsight_says_what_it_leaves_out_and_of_which_models_it_is() -> None:
    from msgspec.structs import replace

    shown = {"next_tokens": ({"logit_diff": 1.5}, {"logit_diff": 2.5}), "composition": None, "attention L0H0": None}
    it = exported(edits=("zero L0H1", "# cut L0H0 *>0"), shown=shown)
    text = written(it, "a.py", "nnsight")
    names = [node.names[0].name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
    assert "transformer_lens" not in [*names, text]
    assert "bridge" not in text
    assert "edited_logits, edited = run(tokens, hooks)" in text
    assert text.count("# Not made: pattern and scores are no module's output") == 1
    assert text.count("# Not computed: it is computed from parts that TransformerLens alone gives by name") == 1
    assert 'answers["edited", "attention L0H0"]' in text
    for architecture in ("TransformerLensNative", "BloomForCausalLM"):
        other = Exported(it.session, replace(READY, architecture=architecture), it.tokens, it.shown)
        with pytest.raises(
            ExportError, match=f"m is {architecture}, and programs for nnsight know GPT2, Llama, Mistral"
        ):
            written(other, "a.py", "nnsight")


def test_a_model_that_no_program_can_load() -> None:
    from msgspec.structs import replace

    with pytest.raises(ExportError, match="m is no model that a program can load"):
        program(Exported(Session(), replace(READY, place=""), exported().tokens))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["script", "--prompt", "a", "--output", "a.ipynb"], "--output a.ipynb should end in .py, or be -"),
        (["notebook", "--prompt", "a", "--output", "a.py"], "--output a.py should end in .ipynb, or be -"),
        (["script", "--prompt", "a", "--output", "nowhere/a.py"], "there is no folder nowhere"),
        (["script"], "there is no prompt"),
        (["notebook", "--prompt", "a", "--view", "lense"], "did you mean lens?"),
    ],
)
def test_a_mistake_is_said_before_the_model_is_loaded(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["export", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('texts = [("She had seen a bridge", "  # at_mid")]  # the bridge, seen', ""),
        ('own = cache["blocks.0.attn.hook_attn_scores"]', "scores before the softmax"),
        ('own = f"{seen(hook)}"', "pattern and scores"),
        ("W = bridge.W_U", "TransformerLens alone"),
    ],
)
def test_a_text_reaches_for_nothing_that_nnsight_has_not(line: str, said: str) -> None:
    view = _translated(ViewLines(body=[line]))
    assert (said in view.problem) if said else (not view.problem and list(view.body) == [line])
