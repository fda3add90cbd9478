"""Sweeps over features: beside plain Hugging Face models whose activations numpy changes, one feature at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.engine.api import Engine, OpenSession, SessionError
from mechtui.engine.model import Model
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question
from mechtui.views.sweep import SweepAnswer
from tests.dictionaries import Array, saelens
from tests.engine.test_feature_edits import PLACES, Plain
from tests.engine.test_feature_programs import session_of as feature_session
from tests.engine.test_script import exported, run, text_of
from tests.engine.twin import PROMPT, SOURCE, Twin, make_twin

# Shares of a change for a slope: between them it is as good as straight.
STEP = 0.003
LINES = ("zero aF*", "patch aF*", "zero aF5-24 @3,-1", "mean aF*", "scale aF5-24 x-1")


@pytest.fixture(params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request, "direct")


def asked(opened: OpenSession, line: str) -> tuple[SweepAnswer, SweepAnswer | None]:
    *_, (clean, edited, more) = opened.answer(parse_question(f"sweep {line}"))
    assert isinstance(clean, SweepAnswer)
    assert edited is None or isinstance(edited, SweepAnswer)
    assert not more
    return clean, edited


def made(line: str, acts: Array, source: Array) -> Array:
    """What numpy makes of all activations [pos, feature]."""
    new = acts.copy()
    which = np.ix_([3, 13] if "@" in line else range(14), range(5, 25) if "5-24" in line else range(acts.shape[1]))
    there = {"zero": 0 * acts, "patch": source, "mean": np.tile(acts.mean(0), (14, 1)), "scale": -acts}
    new[which] = there[line.split(maxsplit=1)[0]][which]
    return new


def moved(new: Array, feature: int, share: float, acts: Array) -> Array:
    """Some of the way for one feature alone."""
    some = acts.copy()
    some[:, feature] += share * (new - acts)[:, feature]
    return some


@pytest.mark.parametrize("place", PLACES)
def test_cells_are_as_by_hand_and_estimates_are_slopes(place: str, twin: Twin, tmp_path: Path) -> None:
    make, reads, writes = PLACES[place]
    plain = Plain(twin.plain, make(tmp_path, twin.engine.model.shape.d_model), reads, writes)
    session = Session(prompt=PROMPT, source=SOURCE, align="left", bos="no", saes=(Sae("a", str(plain.made.path)),))
    session = replace(session, answer=" Mary", foil=" John")
    opened = Engine(twin.engine.model).open(session)
    answer, foil = opened.targets_at(13)
    ids, source_ids = list(opened.ids), list(opened.source_ids)
    (_, acts), (there, source) = plain.run(ids), plain.run(source_ids)

    def difference(change: object = None) -> float:
        logits, _ = plain.run(ids, change)  # type: ignore[arg-type]
        return float(logits[-1, answer].double() - logits[-1, foil].double())

    before, last = difference(), there[-1].double()
    for line in LINES if place == "pre" else LINES[:2]:
        found, edited = asked(opened, line)
        assert edited is None
        assert found.features is not None
        assert found.estimates is not None
        new = made(line, acts, source)
        change = np.abs(new - acts)
        features = [int(name[1:]) for name in found.columns]
        assert set(np.flatnonzero((change > 1e-4).any(0))) <= set(features)
        assert (change[:, features].max(0) > 1e-6).all(), "one that nothing changes is not swept"
        assert found.rows == ("a",)
        assert found.features.off + len(features) == (20 if "5-24" in line else 40)
        assert features
        whole = float(last[answer] - last[foil]) - before if line.startswith("patch") else 1.0
        assert found.metric == ("normalised" if line.startswith("patch") else "logit_diff")
        scale = float(np.abs(found.estimates).max()) * abs(whole)
        for column in range(0, len(features), 1 if place in ("pre", "transcoder") else 5):
            to = partial(moved, new, features[column])
            exact = (difference(partial(to, 1.0)) - before) / whole
            assert found.values[0, column] == pytest.approx(exact, abs=3e-5 / abs(whole), rel=1e-4), (line, column)
            slope = (difference(partial(to, STEP)) - difference(partial(to, -STEP))) / (2 * STEP)
            assert found.estimates[0, column] * whole == pytest.approx(slope, abs=4e-3 * scale + 1e-3), (line, column)
            at = int(found.features.at[column])
            assert change[at, features[column]] == pytest.approx(change[:, features[column]].max(), abs=1e-4)
            assert found.features.value[column] == pytest.approx(acts[at, features[column]], abs=1e-4)
            assert found.features.becomes[column] == pytest.approx(new[at, features[column]], abs=1e-4)
        # The last block's MLP is read at the last token, where the embeddings are the source's, too.
        assert (np.abs(found.values).max() > 1e-3) == ((place, line) != ("over a layer", "patch aF*"))


def session_with(tmp_path: Path, model: Model, *edits: str) -> Session:
    sae = Sae("res1", str(saelens(tmp_path, model.shape.d_model).path))
    return Session(
        prompt=PROMPT,
        source=SOURCE,
        answer=" Mary",
        foil=" John",
        bos="no",
        saes=(sae,),
        edits=tuple(map(parse_edit, edits)),
    )


def test_the_edited_run_has_features_of_its_own(tmp_path: Path, gpt2_model: Model) -> None:
    session = session_with(tmp_path, gpt2_model, "scale L0.mlp x4")
    clean, edited = asked(Engine(gpt2_model).open(session), "zero res1F* @-1")
    assert edited is not None
    assert clean.columns != edited.columns
    assert edited.baseline is not None
    for column in (0, len(edited.columns) - 1):
        line = parse_edit(f"zero res1{edited.columns[column]} @-1")
        opened = Engine(gpt2_model).open(replace(session, edits=(*session.edits, line)))
        answer, foil = opened.targets_at(13)
        assert opened.edited is not None
        logits = opened.edited.logits()[-1]
        assert float(logits[answer] - logits[foil]) - edited.baseline == pytest.approx(
            float(edited.values[0, column]), abs=2e-5
        )


def test_what_turns_features_on_sweeps_all_that_are_named(tmp_path: Path, gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_with(tmp_path, gpt2_model))
    for line in ("clamp res1F3-9 x5", "add res1F3-9 x2"):
        found, _ = asked(opened, line)
        assert found.columns == tuple(f"F{feature}" for feature in range(3, 10))
        assert found.features is not None
        assert found.features.off == 0


def test_in_linear_mode_cells_add_up(tmp_path: Path, gpt2_model: Model) -> None:
    session = replace(session_with(tmp_path, gpt2_model, "zero L0H1"), linear=True)
    clean, edited = asked(Engine(gpt2_model).open(session), "zero res1F*")
    assert edited is not None
    np.testing.assert_allclose(edited.values, clean.values, atol=1e-4)
    whole = Engine(gpt2_model).open(replace(session, edits=(parse_edit("zero res1F*"),)))
    answer, foil = whole.targets_at(13)
    assert whole.edited is not None
    change = (whole.edited.logits() - whole.clean.logits())[-1]
    assert float(change[answer] - change[foil]) == pytest.approx(float(clean.values.sum()), abs=1e-3)


def test_a_line_that_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, gpt2_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Engine(gpt2_model).open(session_with(tmp_path, gpt2_model))
    monkeypatch.setattr("mechtui.engine.feature_sweeps.MOST_FEATURES", 40)
    for line, why in {
        "zero res8F*": "there is no dictionary res8; did you mean res1?",
        "zero res1F40": "there is no res1F40: the features of res1 are 0 to 39",
        "scale res1F* x1": "scale res1F* x1 changes nothing: each of these features stays as it is where it acts",
        "patch res1F3 @20": "20",
    }.items():
        with pytest.raises(SessionError, match=why.replace("?", r"\?").replace("*", r"\*")):
            asked(opened, line)
    monkeypatch.setattr("mechtui.engine.feature_sweeps.MOST_FEATURES", 4)
    with pytest.raises(SessionError, match=r"7 features of res1 .* has 4 at most: .* res1F3-6"):
        asked(opened, "clamp res1F3-9 x5")
    with pytest.raises(LineError, match="each case has other features on: leave over cases out"):
        parse_question("sweep zero res1F* over cases")
    with pytest.raises(LineError, match="a sweep goes over heads, layers or features"):
        parse_question("sweep zero L0N3")


def test_a_program_sweeps_features_and_finds_the_same_numbers(gpt2_model: Model, tmp_path: Path) -> None:
    views = (
        *("sweep zero preF*", "sweep patch tcF5-20 @9-13", "sweep patch tcF* ig3 estimate", "sweep mean zF* estimate"),
        *("sweep clamp midF3-9 @-1 x2", "sweep patch midF* plan", "sweep scale overF* x2 plan"),
    )
    session = feature_session(gpt2_model, tmp_path, views=views)
    edited = feature_session(gpt2_model, tmp_path, "scale L0.mlp x2", views=views[:2])
    for each in (session, edited):
        it = exported(gpt2_model, each)
        text = text_of(it)
        assert text.count("compared with nothing") == text.count("Not computed") == 0
        run(text)
    # One that was kept says less, and a number that is another is found.
    line = "sweep zero preF*"
    clean, also = it.shown[line] or (None, None)
    assert clean is not None
    assert also is not None
    for key in ("feature", "labels", "at", "value", "becomes", "off", "estimates", "estimated_by", "agreement"):
        del clean[key], also[key]
    run(text_of(it))
    also["values"][0][-1] += 0.1
    with pytest.raises(AssertionError):
        run(text_of(it))
