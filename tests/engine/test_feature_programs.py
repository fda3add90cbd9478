"""Edits of features, and features as vectors, in exported programs: they give the engine's numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mechtui.engine.model import Model
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import quote
from mechtui.session.ops import ops
from tests.dictionaries import saelens
from tests.engine.conftest import load_now
from tests.engine.test_script import PROMPT, SOURCE, edited_logits, exported, run, text_of, with_logits

# By dictionary, which ops act there; the last edits act where others read.
EDITS = (
    *("zero preF5-8", "clamp preF7 @-1 x5", "patch preF* @9-11", "add preF9-12 @2 x0.5", "scale midF* @3,-1 x-1.5"),
    *("mean zF* @3-6", "resample zF2-30 @3-6 seed3", "freeze tcF5-30", "add tcF5-8 @3,-1 x2", "zero overF*"),
    *("mean overF3-9", "# clamp overF3 x4", "add L1.mid v x2", "project L1.post w", "scale L0.pre x1.5", "zero L1H1"),
    *("scale L0.mlp @4 x3", "add L1.pre @2 v x-1"),
)
VECTORS = ("v = feature pre 7", "w = feature tc 9 unit")
VIEWS = (
    *("next_tokens", "effects", "vectors", "features pre top4", "features tc @3 value top4", "attribution"),
    *("dose clamp overF3 @-1 x1 0..4 step2", "dose scale tcF* 0..2 step1", "sweep zero L1H*", "directions 30 pre"),
    *("generate 2 prompt", "lens mid"),
)


def made(folder: Path, d_model: int) -> tuple[Sae, ...]:
    """Dictionaries that read and write in every way."""
    layer_norm, topk = {"normalize_activations": "layer_norm"}, {"k": 5}
    found = {
        "pre": saelens(folder / "pre", d_model, architecture="jumprelu"),
        "mid": saelens(folder / "mid", d_model, "blocks.1.hook_resid_mid", more=layer_norm),
        "z": saelens(folder / "z", d_model, "blocks.1.attn.hook_z", architecture="topk", more=topk),
        "tc": saelens(
            folder / "tc",
            d_model,
            "blocks.1.mlp.hook_in",
            architecture="jumprelu_skip_transcoder",
            hook_out="blocks.1.hook_mlp_out",
        ),
        "over": saelens(
            folder / "over",
            d_model,
            "blocks.0.hook_resid_pre",
            architecture="transcoder",
            hook_out="blocks.1.hook_mlp_out",
        ),
    }
    return tuple(Sae(name, str(each.path)) for name, each in found.items())


def session_of(model: Model, folder: Path, *edits: str, linear: bool = False, views: tuple[str, ...] = ()) -> Session:
    return Session(
        prompt=PROMPT,
        source=SOURCE,
        answer=" Mary",
        foil=" John",
        bos="yes",
        linear=linear,
        saes=made(folder, model.shape.d_model),
        vectors=tuple(map(parse_vector, VECTORS)),
        edits=tuple(map(parse_edit, edits)),
        views=views,
    )


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_program_makes_every_edit_of_features(family: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Together, each alone (effects), by how much (dose), and beside what else acts where their dictionaries read."""
    model = request.getfixturevalue(f"{family}_model")
    session = session_of(model, tmp_path, *EDITS, views=VIEWS)
    feature = parse_edit("zero preF3").site
    assert {edit.op for edit in session.edits if edit.site.kind == "feature"} == {
        name for name, op in ops().items() if not op.refuses(feature) and not name.endswith("-path")
    }
    text, logits = with_logits(model, session)
    # A dictionary's stream is that of where it writes.
    assert re.findall(r'"vectors\[\].layer": numbers\("(.*)"\)', text) == ["1 1"]
    for sentence in ("Not made", "Not computed", "Left out", "compared with nothing"):
        assert sentence not in text
    assert all(f"# %% Edit {format_edit(edit).removeprefix('# ')}\n" in text for edit in session.edits)
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-3, rtol=1e-3)


def test_a_vector_that_cannot_be_made_is_as_on_the_screen(gpt2_model: Model, tmp_path: Path) -> None:
    from msgspec.structs import replace

    session = session_of(gpt2_model, tmp_path, "add L1.pre w", views=("vectors", "features pre top4"))
    lines = ("a = feature pre 40", "b = neuron L0N999999", "c = feature z 3", "d = feature none 3", VECTORS[1])
    it = exported(gpt2_model, replace(session, vectors=tuple(map(parse_vector, lines))))
    text = text_of(it)
    assert "# Not " not in text
    names = run(text)
    assert [each["norm"] > 0 for each in names["answers"]["clean", "vectors"]["vectors"]] == [False] * 4 + [True]


def test_contexts_alone_bring_their_dictionary(gpt2_model: Model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Mary went to the store, and John gave her a drink. " * 3)
    line = f"contexts preF3 {quote(str(tmp_path / 'notes.txt'))} window16"
    session = Session(prompt=PROMPT, saes=made(tmp_path, gpt2_model.shape.d_model)[:1], views=(line,))
    text = text_of(exported(gpt2_model, session))
    assert "not known" not in text
    assert [each["units"] for kind, each in run(text)["answers"].items() if kind[1].startswith("contexts")] == [
        ["preF3"]
    ]


def test_means_over_reference_prompts_are_of_features_too(gpt2_model: Model, tmp_path: Path) -> None:
    from msgspec.structs import replace

    session = session_of(gpt2_model, tmp_path, "mean preF*", "mean tcF3-30 @3-6")
    text, logits = with_logits(gpt2_model, replace(session, references=(SOURCE, "Mary gave a drink")))
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


def test_a_program_of_linear_mode_changes_features_as_the_clean_run_has_them(gpt2_model: Model, tmp_path: Path) -> None:
    edits = [edit for edit in EDITS if not edit.startswith(("#", "project"))]
    session = session_of(gpt2_model, tmp_path, *edits, linear=True, views=("next_tokens", "effects", "attribution"))
    text, logits = with_logits(gpt2_model, session)
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-3, rtol=1e-3)


def test_what_folded_weights_read_the_program_has_before_the_norms_own(gpt2_folder: Path, tmp_path: Path) -> None:
    model = load_now(gpt2_folder, fold_ln=True)
    d_model, hook = model.shape.d_model, "blocks.1.ln2.hook_normalized"
    said, out = {"model_from_pretrained_kwargs": {"fold_ln": True}}, "blocks.1.hook_mlp_out"
    tc = saelens(tmp_path / "tc", d_model, hook, architecture="transcoder", hook_out=out, said=said)
    read = saelens(tmp_path / "read", d_model, hook, architecture="jumprelu", said=said)
    session = Session(
        prompt=PROMPT,
        answer=" Mary",
        foil=" John",
        bos="yes",
        saes=(Sae("tc", str(tc.path)), Sae("in", str(read.path))),
        edits=tuple(map(parse_edit, ("scale tcF* x3", "# clamp inF3-8 x2", "zero L1H1"))),
        views=("next_tokens", "features tc top4", "features in top4", "features tc share"),
    )
    text, logits = with_logits(model, session)
    said = " ".join(text.split("\n# "))
    why = "a program has raw weights, and in writes what folded ones read, which are centred."
    assert [f"Not {what}: {why}" in said for what in ("made", "computed")] == [True, True]
    assert text.count("\n# Not ") == 2
    torch.testing.assert_close(edited_logits(text), logits, atol=1e-4, rtol=1e-4)


def test_a_dictionary_that_is_not_known_leaves_the_clean_run(gpt2_model: Model, tmp_path: Path) -> None:
    from dataclasses import replace

    it = exported(gpt2_model, session_of(gpt2_model, tmp_path, "zero preF5", views=("next_tokens", "vectors")))
    text = text_of(replace(it, dictionaries=()))
    assert "# Not made: how the dictionary pre is read is not known." in text
    assert "# Not computed: how the dictionary pre is read is not known." in text
    assert "edited_logits" not in run(text)
