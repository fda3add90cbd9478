"""Every key that `mechtui run` prints is in docs/lines.md, in the row of its question."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.headless.output import WRITE
from mechtui.headless.work import items_of
from mechtui.link.messages import Checked
from mechtui.views import specs
from tests.engine.all_views import session_for
from tests.lines import lines_of, write_files

LINES = (Path(__file__).parents[2] / "docs" / "lines.md").read_text(encoding="utf-8")


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
    return printed_by(gpt2_model, tmp_path_factory.mktemp("files"), specs())


def printed_by(model: Model, folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """What `mechtui run` prints of all lines of these views."""
    lines = [line for name in names for line in lines_of(name)]
    vectors = ('v = diff L1.pre "Love" "Hate"', "w = neuron L0N999")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(write_files(folder))
        session = session_for(model, "zero L0H1", "add L1.pre v x2", vectors=vectors)
        [item] = items_of([("", session)], lines)
        opened = Engine(model).open(session)
        answered = {}
        for question in item.asked:
            *_, (clean, edited, _) = opened.answer(question)
            answered[question] = (clean, edited)
    return item.result(model.ready, Checked("m", {"logits": 0.0, "pattern": 0.0, "z": 0.0}), answered)


def undocumented(name: str, text: str, printed: dict[str, Any]) -> list[str]:
    """The keys of a view's answers that a row of the table does not name."""
    found = [printed[run].get(line) for run in ("clean", "edited") for line in lines_of(name)]
    answers = [answer for answer in found if answer is not None]
    assert answers
    assert all(answers)
    return [key for answer in answers for key in keys(answer) if f"`{key}`" not in text]


@pytest.mark.parametrize("name", sorted(specs()))
def test_every_key_of_an_answer_is_documented(name: str, printed: dict[str, Any]) -> None:
    assert not undocumented(name, row(name), printed)


@pytest.mark.parametrize("name", sorted(specs()))
def test_npz_takes_every_view(name: str, printed: dict[str, Any]) -> None:
    lines = [line for line in lines_of(name) if line in printed["clean"]]
    said = {
        **printed,
        **{run: {line: printed[run][line] for line in lines if line in printed[run]} for run in ("clean", "edited")},
    }
    file = io.BytesIO()
    WRITE["npz"](file, [said], True)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        assert json.loads(str(stored["json"])) == json.loads(json.dumps([said]))
        for entry in set(stored.files) - {"json"}:
            _, run, rest = entry.split("/", 2)
            line, key = rest.rsplit("/", 1)
            np.testing.assert_array_equal(stored[entry], np.array(said[run][line][key], dtype=np.float64))


def test_every_other_key_is_documented(printed: dict[str, Any]) -> None:
    text = LINES.split("\n## `mechtui run`")[1]
    assert not [key for key in (*printed, *keys(printed["model"])) if f"`{key}`" not in text]
    assert all(f"`{key}`" in text for key in keys(printed["tokens"]))
    stands = LINES.split("\n## Session files")[1].split("\n## ")[0]
    assert not [key for key in printed["session"] if f"`{key}`" not in stands and f"\n{key} =" not in stands]
