"""The generator: the same text from the same seed, and what is kept out really is."""

from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from mechtui.embedded import folder, tokenizer
from mechtui.embedded.text import facts, ioi, words
from mechtui.embedded.text.corpus import END_OF_TEXT, Corpus, documents
from mechtui.embedded.text.document import MARK


@pytest.fixture(scope="module")
def shipped() -> Tokenizer:
    return Tokenizer.from_file(str(folder("demo") / "tokenizer.json"))


@pytest.fixture(scope="module")
def training_texts() -> list[str]:
    return [document.text for document in islice(documents(random.Random(11)), 6_000)]


def test_the_same_seed_gives_the_same_text() -> None:
    first = list(islice(documents(random.Random(4)), 200))
    assert first == list(islice(documents(random.Random(4)), 200))
    assert first != list(islice(documents(random.Random(5)), 200))


def test_rows_depend_on_seed_and_step_alone(shipped: Tokenizer) -> None:
    one = Corpus(shipped, seed=3, n_ctx=64)
    other = Corpus(shipped, seed=3, n_ctx=64)
    one.rows(0, 4, 0.5)
    a, b = one.rows(7, 8, 0.5), other.rows(7, 8, 0.5)
    assert np.array_equal(a.tokens, b.tokens)
    assert np.array_equal(a.weights, b.weights)
    assert (a.tokens[:, 0] == shipped.token_to_id(END_OF_TEXT)).all()


def test_only_repeats_of_random_tokens_count(shipped: Tokenizer) -> None:
    rows = Corpus(shipped, seed=0, n_ctx=128).rows(0, 16, 1.0)
    for tokens, weights in zip(rows.tokens, rows.weights, strict=True):
        for at in np.flatnonzero(weights):
            pair = tokens[at : at + 2]
            seen = [tokens[i : i + 2].tolist() for i in range(at)]
            assert pair.tolist() in seen


def test_marks_stand_before_whole_words(training_texts: list[str]) -> None:
    assert not any(MARK in text for text in training_texts)
    for document in islice(documents(random.Random(2)), 500):
        for mark in document.marks:
            assert document.text[mark] == " "


def test_held_out_pairs_never_meet(training_texts: list[str]) -> None:
    for document in islice(documents(random.Random(12)), 4_000):
        if document.kind != "ioi":
            continue
        there = [name for name in words.NAMES if name in document.text.replace(".", " ").replace(",", " ").split()]
        assert not any(ioi.held_pair(a, b) for i, a in enumerate(there) for b in there[i + 1 :])
    share = np.mean([ioi.held_pair(a, b) for a in words.NAMES for b in words.NAMES if a < b])
    assert 0.05 < share < 0.12


def _skeleton(frame: str) -> list[str]:
    """The longest stretches of a frame between its gaps."""
    pieces = [frame]
    for gap in ("{A}", "{B}", "{P}", "{G}", "{T}", "{S}", "{C}", "{v}"):
        pieces = [part for piece in pieces for part in piece.split(gap)]
    return [piece for piece in pieces if piece.strip()]


@pytest.mark.parametrize("frame", [*ioi.HELD_HANDOVERS, *(f[0] for f in facts.HELD_CAPITAL_FRAMES)])
def test_held_out_frames_never_occur(frame: str, training_texts: list[str]) -> None:
    pieces = _skeleton(frame)
    for text in training_texts:
        for sentence in text.split(". "):
            at = 0
            for piece in pieces:
                at = sentence.find(piece, at)
                if at < 0:
                    break
                at += len(piece)
            assert at < 0, f"{frame!r} in {sentence!r}"


@pytest.mark.parametrize(
    ("held", "trained"),
    [
        (ioi.HELD_OPENINGS, ioi.OPENINGS),
        (ioi.HELD_REMARKS, ioi.REMARKS),
        (ioi.HELD_HANDOVERS, ioi.HANDOVERS),
        (facts.HELD_CAPITAL_FRAMES, facts.CAPITAL_FRAMES),
        (facts.HELD_REVIEW_OPENINGS, facts.REVIEW_OPENINGS),
        *((facts.HELD_INTROS[order], facts.INTROS[order]) for order in facts.ORDERS),
    ],
)
def test_held_out_and_training_frames_are_disjoint(held: tuple[object, ...], trained: tuple[object, ...]) -> None:
    assert not set(held) & set(trained)


def test_held_out_nouns_never_share_a_sentence() -> None:
    rng = random.Random(0)
    singular = {form: noun for noun, plural in words.NOUNS.items() for form in (noun, plural)}
    for _ in range(2_000):
        subject, _, _ = facts.agreement(rng)
        _, head, *_, other = subject.split()
        assert not facts.held_nouns(singular[head], singular[other])


def test_answers_are_one_token(shipped: Tokenizer) -> None:
    for word in tokenizer.one_token_words():
        assert len(shipped.encode(" " + word).ids) == 1, word


def test_the_shipped_tokenizer_is_the_one_that_is_built(shipped: Tokenizer) -> None:
    assert tokenizer.build(seed=0).to_str() == shipped.to_str()


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_every_text_can_be_typed_and_read_back(text: str) -> None:
    words_of = Tokenizer.from_file(str(folder("demo") / "tokenizer.json"))
    assert words_of.decode(words_of.encode(text).ids, skip_special_tokens=False) == text
