"""Principal components of words against numpy's singular values of transformers' own hidden states."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mechtui.engine.api import OpenSession, SessionError
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.views import parse_question
from mechtui.views.geometry import Geometry, GeometryAnswer
from tests.engine.reference import run
from tests.engine.twin import Twin, make_twin, session_of

LINE = 'geometry L0.post "Mary" "John" "store" "drink" "gave" in "went to the {}"'
WORDS = ("Mary", "John", "store", "drink", "gave")
EDITS = ("scale L0.mlp x-2", "add L0.mid n x3")
VECTORS = ("n = neuron L0N5",)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def hidden(twin: Twin, part: str, layer: int, texts: list[str], edits: tuple[str, ...] = ()) -> np.ndarray:
    """[text, d_model]: the last token's activation, by the plain model."""
    session = session_of(vectors=VECTORS)
    bos = twin.tokens(session).bos
    vectors = {vector.name: twin.vector(vector, bos) for vector in session.vectors}
    rows = []
    for text in texts:
        ids = twin.text_ids(text, bos)
        acting = tuple(map(parse_edit, edits))
        words = [twin.tokenizer.decode([id]) for id in ids]
        kept = run(twin.plain, ids, acting, vectors=vectors, texts=words)[1]
        rows.append(kept[part, layer].numpy()[-1])  # type: ignore[index]
    return np.stack(rows).astype(np.float64)


def components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The variance's shares, coordinates and axes, each axis with its largest number positive."""
    _, spread, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    return spread**2 / (spread**2).sum(), (rows - rows.mean(0)) @ axes.T, axes


def test_words_lie_where_numpy_says_clean_and_edited(twin: Twin) -> None:
    texts = [f"went to the {word}" for word in WORDS]
    session = session_of(*EDITS, "zero L1H0 @3", vectors=VECTORS)
    [(clean, edited)] = twin.answers(session, LINE)
    assert isinstance(clean, GeometryAnswer)
    assert isinstance(edited, GeometryAnswer)
    assert (clean.words, clean.layer, clean.part) == (WORDS, 0, "post")
    rows = hidden(twin, "post", 0, texts)
    bos = twin.tokens(session).bos
    with torch.no_grad():  # what the reference sees is what transformers itself calls the hidden state
        own = twin.plain(torch.tensor([twin.text_ids(texts[0], bos)]), output_hidden_states=True).hidden_states[1]
    np.testing.assert_allclose(rows[0], own[0, -1].numpy(), atol=1e-5)
    explained, places, axes = components(rows)
    np.testing.assert_allclose(clean.explained, explained[:4], atol=1e-5)
    np.testing.assert_allclose(clean.coordinates, places[:, :4], atol=1e-3)
    np.testing.assert_allclose(clean.in_clean, clean.coordinates, atol=1e-6)
    moved = hidden(twin, "post", 0, texts, EDITS)
    explained, places, _ = components(moved)
    np.testing.assert_allclose(edited.explained, explained[:4], atol=1e-5)
    np.testing.assert_allclose(edited.coordinates, places[:, :4], atol=1e-3)
    np.testing.assert_allclose(edited.in_clean, (moved - rows.mean(0)) @ axes[:4].T, atol=1e-3)
    assert np.abs(edited.in_clean - clean.in_clean).max() > 0.1
    assert len(edited.left_out) == 1
    assert edited.left_out[0].startswith("zero L1H0 @3: ")
    # Without edits all is as it was, to the bit, and whatever the prompt nothing runs again.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenSession, "run_once", None)
        twin.answers(session_of(*EDITS, vectors=VECTORS, prompt="Other"), LINE)
        [(again, none)] = twin.answers(session_of(vectors=VECTORS, prompt="a"), LINE)
    assert none is None
    np.testing.assert_array_equal(again.coordinates, clean.coordinates)  # type: ignore[attr-defined]


def test_an_axis_is_the_steering_vector_that_its_line_says(twin: Twin) -> None:
    texts = [f"went to the {word}" for word in WORDS]
    question = parse_question(LINE)
    assert isinstance(question, Geometry)
    axes = components(hidden(twin, "post", 0, texts))[2]
    opened = twin.engine.open(session_of())
    for component in (1, 2):
        vector = question.vector("v", 0, component)
        assert parse_vector(format_vector(vector)) == vector
        np.testing.assert_allclose(opened.vector(vector).numpy(), axes[component - 1], atol=1e-3)


def test_the_middle_layer_the_sets_and_what_cannot_be(twin: Twin) -> None:
    [(clean, _)] = twin.answers(session_of(), "geometry months")
    assert isinstance(clean, GeometryAnswer)
    assert (len(clean.words), clean.layer, len(clean.explained)) == (12, 1, 6)
    for line, sentence in (
        ("geometry L9.post", "has no L9.post"),
        ('geometry L0.mlp "a" "b" "c" in "x{}"', None),
        (f'geometry "a" "b" "{"c" * 999}"', "tokens and .* reads"),
    ):
        if sentence is None:
            twin.answers(session_of(), line)
            continue
        with pytest.raises(SessionError, match=sentence):
            twin.answers(session_of(), line)
