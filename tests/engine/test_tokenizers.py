"""A tokenizer that fails, whatever it raises, is one sentence: at load, and for a text when it is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.errors import ModelError
from tests.engine.conftest import load_now
from tests.engine.twin import session_of


def _changed(folder: Path, to: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy whose tokenizer.json is changed."""
    copy: Path = shutil.copytree(folder, to / "model")
    path = copy / "tokenizer.json"
    kept = json.loads(path.read_text())
    change(kept)
    path.write_text(json.dumps(kept))
    return copy


def _higher(kept: dict[str, Any]) -> None:
    kept["model"]["vocab"] = {piece: id + 10**6 for piece, id in kept["model"]["vocab"].items()}
    kept["added_tokens"] = []


UNUSABLE = {
    # What it cannot parse makes the library panic, and that is no Exception in Python.
    "a panic while it is read": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "no token for what it does not know": {"model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"b": 0}}},
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_tokenizer_that_fails_is_one_sentence(what: str, llama_folder: Path, tmp_path: Path) -> None:
    folder = _changed(llama_folder, tmp_path, lambda kept: kept.update(UNUSABLE[what]))
    with pytest.raises(
        ModelError, match=r"the tokenizer of .* cannot be (read|used) \(.*\): fetch the model again"
    ) as told:
        load_now(folder)
    assert "\n" not in str(told.value)
    assert "Exception" not in str(told.value)


def test_a_text_that_the_tokenizer_fails_on_is_one_sentence(llama_folder: Path, tmp_path: Path) -> None:
    model = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"a": 0}}
    folder = _changed(llama_folder, tmp_path, lambda kept: kept.update(model=model, pre_tokenizer=None))
    engine = Engine(load_now(folder))
    name = engine.model.ready.name
    with pytest.raises(SessionError, match=r"^the prompt cannot be read by the tokenizer of \S+ \(.*\[UNK\]"):
        engine.open(session_of(prompt="b"))
    problems = engine.open(session_of(prompt="a", source="b", answer="b")).problems
    assert [problem.sentence.split(" (")[0] for problem in problems] == [
        f"the source cannot be read by the tokenizer of {name}",
        f"answer cannot be read by the tokenizer of {name}",
    ]


def test_a_text_that_the_tokenizer_panics_on_is_one_sentence(llama_folder: Path, tmp_path: Path) -> None:
    nothing = {"type": "Prepend", "prepend": ""}
    engine = Engine(load_now(_changed(llama_folder, tmp_path, lambda kept: kept.update(normalizer=nothing))))
    with pytest.raises(SessionError, match=r"^the prompt cannot be read by the tokenizer of \S+ \(index out of bounds"):
        engine.open(session_of(prompt="Mary \u00e9"))


def test_a_token_that_the_model_does_not_know_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has <\|endoftext\|> as token 1,000,\d\d\d, and the model knows those below"):
        load_now(_changed(llama_folder, tmp_path, _higher))


def test_a_text_with_a_token_that_the_model_does_not_know_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    unknown = {"id": 5000, "content": "<x>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    folder = _changed(llama_folder, tmp_path, lambda kept: kept["added_tokens"].append(unknown | flags))
    engine = Engine(load_now(folder))
    with pytest.raises(SessionError, match=r"^the prompt has token \d+, and \S+ knows those below \d+"):
        engine.open(session_of(prompt="When <x>"))
