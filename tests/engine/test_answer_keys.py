"""Every key that `mechtui run` prints is in docs/lines.md, in the row of its question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.headless.work import items_of
from mechtui.link.messages import Checked
from mechtui.session.grammar.words import quote
from mechtui.views import specs
from tests.engine.twin import SOURCE, session_of

LINES = (Path(__file__).parents[2] / "docs" / "lines.md").read_text(encoding="utf-8")
VIEWS = {
    "attention": ("attention L0H1", "attention L0H1 scores", "attention L0H1 value"),
    "attribution": (
        "attribution measured",
        "attribution L0H1 answer",
        "attribution L0.mlp top3",
        "attribution L0H1 measured",
        "attribution over cases",
    ),
    "heads": ("heads", "heads norm over cases"),
    "dose": ("dose add L1.pre v -2..2 step2 layers text tokens2", "dose add L1.pre v 0..1 over cases"),
    "sweep": ("sweep zero L*H*", "sweep patch L*.pre", "sweep zero L*H* estimate", "sweep zero L0H1 over cases"),
    "generate": ("generate 2",),
    "path": ("path L1H0.q", "path L0H1>L1H0.v", "path logits"),
    "perplexity": (f"perplexity {quote(str(Path(__file__).with_name('notes.txt')))} window24",),
    "circuit": ("circuit L0H1", "circuit L0H1 trigrams", "circuit L0H1 directions"),
    "faithfulness": ("faithfulness L0H1 L1.mlp",),
    "compare": (f"compare {quote(str(Path(__file__).with_name('other.toml')))}",),
}


def keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)


def row(name: str) -> str:
    """What the table says of one question."""
    rows = re.findall(rf"^\| `{name}[ `].*$", LINES, re.MULTILINE)
    assert len(rows) == 1, name
    return str(rows[0])


@pytest.fixture(scope="module")
def printed(gpt2_model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    lines = [line for name in specs() for line in VIEWS.get(name, (name,))]
    vectors = ('v = diff L1.pre "Love" "Hate"', "w = neuron L0N999")
    cases = tmp_path_factory.mktemp("cases") / "cases.csv"
    cases.write_text("prompt\nWhen Mary\nWhen John\n")
    texts = {"answer": " Mary", "foil": " John", "cases": str(cases)}
    session = session_of("zero L0H1", "add L1.pre v x2", source=SOURCE, vectors=vectors, **texts)
    [item] = items_of([("", session)], lines)
    opened = Engine(gpt2_model).open(session)
    answered = {}
    for question in item.asked:
        *_, (clean, edited, _) = opened.answer(question)
        answered[question] = (clean, edited)
    return item.result(gpt2_model.ready, Checked("m", {"logits": 0.0, "pattern": 0.0, "z": 0.0}), answered)


@pytest.mark.parametrize("name", sorted(specs()))
def test_every_key_of_an_answer_is_documented(name: str, printed: dict[str, Any]) -> None:
    text = row(name)
    for run in ("clean", "edited"):
        for line in VIEWS.get(name, (name,)):
            found = printed[run].get(line)
            if found is not None:
                assert found
                assert not [key for key in keys(found) if f"`{key}`" not in text], line


def test_every_other_key_is_documented(printed: dict[str, Any]) -> None:
    text = LINES.split("\n## `mechtui run`")[1]
    assert not [key for key in (*printed, *keys(printed["model"])) if f"`{key}`" not in text]
    assert all(f"`{key}`" in text for key in keys(printed["tokens"]))
    stands = LINES.split("\n## Session files")[1].split("\n## ")[0]
    assert not [key for key in printed["session"] if f"`{key}`" not in stands and f"\n{key} =" not in stands]
