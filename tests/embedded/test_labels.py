"""The rule by which features get labels, on features whose meaning is put in by hand; and what is known of the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mechtui.embedded import folder, labels
from mechtui.embedded.labels import Firings, Label, Places
from mechtui.embedded.reading import CLASSES, Reading, read, words_of


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return Tokenizer.from_file(str(folder("demo") / "tokenizer.json"))


@pytest.fixture(scope="module")
def vocabulary(words: Tokenizer) -> list[str]:
    return [words.decode([id]) for id in range(words.get_vocab_size())]


@pytest.fixture(scope="module")
def reading(words: Tokenizer) -> Reading:
    return read(words, seed=1, rows=60)


def firings(on: list[NDArray[np.bool_]]) -> Firings:
    feature, place = np.stack(on).nonzero()
    return Firings(feature, place, len(on), len(on[0]))


def test_a_feature_is_called_what_it_stands_for(reading: Reading, vocabulary: list[str]) -> None:
    at = labels.places(reading, reading.counts)
    kind = np.array([word.strip() in CLASSES["a name"] for word in vocabulary])
    noise = np.random.default_rng(0).random(len(at.now))
    the = at.now == vocabulary.index(" the")
    on = firings(
        [
            the,
            the & (noise < 0.5),  # half of them: still the best that can be said
            the & (noise < 0.1),  # too few of them: no recall
            kind[at.now],
            kind[at.now] | (noise < 0.05),  # too much else: no precision
            at.before == vocabulary.index(" to"),
            kind[at.after] & (at.after >= 0),
            at.tags["in a story"],
            noise < 0.2,
        ]
    )
    found = {label.feature: label for label in labels.find(at, on, vocabulary)}
    assert {feature: label.description for feature, label in found.items()} == {
        0: '" the"',
        1: '" the"',
        3: "a name",
        5: 'after " to"',
        6: "before a name",
        7: "in a story",
    }
    assert found[1].precision == 1
    assert found[1].recall == pytest.approx((the & (noise < 0.5)).sum() / the.sum())
    assert found[0].firings == the.sum()


def test_a_label_must_hold_where_it_was_not_found(reading: Reading, vocabulary: list[str]) -> None:
    at = labels.places(reading, reading.counts)
    the, a = (at.now == vocabulary.index(word) for word in (" the", " a"))
    claimed = [Label(feature, '" the"', 1.0, 1.0, 1000) for feature in range(3)]
    rare = the & (np.cumsum(the) <= 19)
    right, wrong, seldom = labels.held(claimed, at, firings([the, the | a, rare]), vocabulary)
    assert (right.precision, right.recall) == (1, 1)
    assert wrong.precision == pytest.approx(the.sum() / (the | a).sum())
    assert [labels.earned(label) for label in (right, wrong, seldom)] == [True, wrong.precision > 0.8, False]


def test_counts_are_what_counting_place_by_place_gives(reading: Reading, vocabulary: list[str]) -> None:
    """Every description of a small reading, counted by the words it is made of."""
    at = labels.places(reading, reading.counts)
    at = Places(*(ids[:400] for ids in (at.now, at.before, at.after)), {k: tag[:400] for k, tag in at.tags.items()})
    on = np.random.default_rng(1).random((3, 400)) < 0.3
    for description in (
        '" the"',
        'after " the"',
        'before ","',
        "a place",
        "after a name",
        "before a comma or full stop",
    ):
        (label, *_) = labels.held([Label(1, description, 0, 0, 0)], at, firings(list(on)), vocabulary)
        ids = at.before if description.startswith("after") else at.after if description.startswith("before") else at.now
        what = description.removeprefix("after ").removeprefix("before ")
        holds = [
            id >= 0 and (what == f'"{vocabulary[id]}"' or vocabulary[id].strip() in CLASSES.get(what, ())) for id in ids
        ]
        assert label.precision == pytest.approx((on[1] & holds).sum() / on[1].sum())
        assert label.recall == pytest.approx((on[1] & holds).sum() / max(1, sum(holds)))


def test_what_is_known_of_the_text(words: Tokenizer, reading: Reading) -> None:
    text = words_of(words)
    again = reading.tags["a name that the text had before"]
    for row, position in np.argwhere(again)[:50].tolist():
        start = max(i for i in range(position) if reading.tokens[row, i] == reading.tokens[0, 0])
        assert text[reading.tokens[row, position]] in CLASSES["a name"]
        assert reading.tokens[row, position] in reading.tokens[row, start:position] or text[
            reading.tokens[row, position]
        ] in [text[id] for id in reading.tokens[row, start:position]]
    before_verb = reading.tags["after a subject in the plural, before its verb"]
    ends = {
        text[reading.tokens[row, at + 1]]
        for row, at in np.argwhere(before_verb).tolist()
        if at + 1 < before_verb.shape[1] and not before_verb[row, at + 1] and reading.counts[row, at + 1]
    }
    assert ends == {"are", "were"}
    assert not (again & reading.tags["a name for the first time"]).any()


def test_held_out_text_is_without_what_was_read(words: Tokenizer, reading: Reading) -> None:
    other = read(words, seed=2, rows=10, but=reading.texts)
    same = read(words, seed=1, rows=10, but=reading.texts)
    assert other.fresh.sum() > 0.9 * other.counts.sum()
    assert same.fresh[:, 1:].sum() == 0
    assert (same.tokens == reading.tokens[:10]).mean() > 0.99


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = [Label(3, '" Mary", which the text had before', 0.914, 0.5, 40), Label(7, "a sad word", 1.0, 0.25, 200)]
    labels.write(made, tmp_path / labels.FILE)
    assert labels.load(tmp_path / labels.FILE) == made
