"""Labels of features, found by a rule and held to text that was not used to find them.

**The rule.** What may be said of a token: which token it is, which stands before it and which comes next, whether
these are of a class of words (names, countries, sad words, ...), and what `reading` knows of the place (a name that
the text had before, a review whose mood is sad, ...). Of all that, a feature's label is what describes best where
it is on (the highest F1: the harmonic mean of precision, the share of the places where the feature is on that the
label describes, and recall, the share of the places the label describes where the feature is on), if precision is at
least 0.85 and recall at least 0.2. On held-out text the label must be right at more than 80 % of the places where
the feature is on; else the feature has none. Both times the feature must be on at 20 places or more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mechtui.embedded.reading import CLASSES, Reading

FILE = "labels.json"
PLACES_AT_LEAST = 20
PRECISION_FOUND, RECALL_FOUND = 0.85, 0.2
PRECISION_HELD = 0.8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Firings:
    """Where features are on: feature, and place among the places looked at, both int64 [firing]; how many of each."""

    feature: NDArray[np.int64]
    place: NDArray[np.int64]
    features: int
    places: int

    def each(self) -> NDArray[np.int64]:
        """Places where each feature is on, [feature]."""
        return np.bincount(self.feature, minlength=self.features)


@dataclass(frozen=True)
class Label:
    """What a feature stands for: where it is on `description` holds in `precision` of the `firings` places."""

    feature: int
    description: str
    precision: float
    recall: float
    firings: int


@dataclass(frozen=True)
class Places:
    """The places looked at: id, the id before and the id after (-1: none), and tags, each [place]."""

    now: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    tags: dict[str, NDArray[np.bool_]]


def places(reading: Reading, where: NDArray[np.bool_]) -> Places:
    """What is so at the tokens that `where` [row, position] picks, row by row."""
    shape = reading.tokens.shape
    before = np.full(shape, -1)
    before[:, 1:] = reading.tokens[:, :-1]
    after = np.full(shape, -1)
    after[:, :-1] = np.where(reading.counts[:, 1:], reading.tokens[:, 1:], -1)
    tags = {name: tag[where] for name, tag in reading.tags.items()}
    return Places(reading.tokens[where], before[where], after[where], tags)


def shown(token: str) -> str:
    """A token in a label."""
    return json.dumps(token, ensure_ascii=False)


def _families(at: Places, vocabulary: list[str]) -> Iterator[tuple[list[str], NDArray[np.int64], NDArray[np.bool_]]]:
    """Families of descriptions no two of which hold at one place: the descriptions, which of them a place has
    (-1: none), [place], and a table that says which of them make up each class, [class, description].

    A place's own class follows from its token, so classes are counted by adding tokens up.
    """
    words = [token.strip() for token in vocabulary]
    for ids, frame, class_frame in (
        (at.now, "{}", "{}"),
        (at.before, "after {}", "after {}"),
        (at.after, "before {}", "before {}"),
    ):
        descriptions = [frame.format(shown(token)) for token in vocabulary]
        members = np.array([[word in kind for word in words] for kind in map(frozenset, CLASSES.values())])
        yield descriptions + [class_frame.format(name) for name in CLASSES], ids, members
    for tag in ("a name that the text had before", "a name for the first time"):
        ids = np.where(at.tags[tag], at.now, -1)
        suffix = ", which the text had before" if "before" in tag else ", for the first time"
        yield [shown(token) + suffix for token in vocabulary], ids, np.zeros((0, len(vocabulary)), dtype=bool)


def _counts(on: Firings, ids: NDArray[np.int64], size: int) -> tuple[Floats, Floats]:
    """At how many places each id is [id], and at how many of them each feature is on [feature, id]."""
    there = ids >= 0
    of_places = np.bincount(ids[there], minlength=size)
    pair = there[on.place]
    key = on.feature[pair] * size + ids[on.place[pair]]
    return of_places.astype(float), np.bincount(key, minlength=on.features * size).reshape(-1, size).astype(float)


def _described(at: Places, on: Firings, vocabulary: list[str]) -> Iterator[tuple[list[str], Floats, Floats]]:
    """Of every family: descriptions, places that each holds at [description], firings there [feature, description]."""
    for descriptions, ids, members in _families(at, vocabulary):
        of_places, of_firings = _counts(on, ids, len(vocabulary))
        if len(members):
            sums = members.T.astype(float)
            of_places = np.concatenate([of_places, of_places @ sums])
            of_firings = np.concatenate([of_firings, of_firings @ sums], 1)
        yield descriptions, of_places, of_firings
    names = list(at.tags)
    table = np.stack([at.tags[name] for name in names]).astype(float)
    of_firings = np.stack([np.bincount(on.feature, row[on.place], minlength=on.features) for row in table], 1)
    yield names, table.sum(1), of_firings


def find(at: Places, on: Firings, vocabulary: list[str]) -> list[Label]:
    """The best label of every feature that has one by the rule, on the text that labels are found on."""
    firings = on.each().astype(float)
    best = np.zeros(on.features)
    chosen: dict[int, Label] = {}
    for descriptions, of_places, there in _described(at, on, vocabulary):
        precision = there / np.maximum(firings, 1)[:, None]
        recall = there / np.maximum(of_places, 1)[None]
        allowed = (precision >= PRECISION_FOUND) & (recall >= RECALL_FOUND) & (firings >= PLACES_AT_LEAST)[:, None]
        score = np.where(allowed, 2 * precision * recall / np.maximum(precision + recall, 1e-9), 0)
        which = score.argmax(1)
        for feature in (score[np.arange(on.features), which] > best + 1e-9).nonzero()[0].tolist():
            k = int(which[feature])
            best[feature] = score[feature, k]
            chosen[feature] = Label(
                feature, descriptions[k], precision[feature, k], recall[feature, k], int(firings[feature])
            )
    return [chosen[feature] for feature in sorted(chosen)]


def held(labels: Iterable[Label], at: Places, on: Firings, vocabulary: list[str]) -> list[Label]:
    """The same labels with precision, recall and firings as these places have them, whatever they are."""
    wanted: dict[str, list[Label]] = {}
    for label in labels:
        wanted.setdefault(label.description, []).append(label)
    firings = on.each()
    measured = []
    for descriptions, of_places, there in _described(at, on, vocabulary):
        for k, description in enumerate(descriptions):
            for label in wanted.pop(description, ()):
                right = there[label.feature, k]
                measured.append(
                    replace(
                        label,
                        precision=float(right / max(firings[label.feature], 1)),
                        recall=float(right / max(of_places[k], 1)),
                        firings=int(firings[label.feature]),
                    )
                )
    return sorted(measured, key=lambda label: label.feature)


def often(label: Label) -> bool:
    """Whether its feature is on often enough for a verdict."""
    return label.firings >= PLACES_AT_LEAST


def earned(label: Label) -> bool:
    """Whether a label holds as held-out text has it."""
    return often(label) and label.precision > PRECISION_HELD


def write(labels: Iterable[Label], path: Path) -> None:
    """A list of {feature, description, precision, recall, firings}, a line each."""
    lines = [
        json.dumps(
            {
                "feature": label.feature,
                "description": label.description,
                "precision": round(label.precision, 3),
                "recall": round(label.recall, 3),
                "firings": label.firings,
            },
            ensure_ascii=False,
        )
        for label in labels
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def load(path: Path) -> list[Label]:
    """What `write` wrote."""
    return [Label(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
