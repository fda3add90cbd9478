"""Where a dictionary's features fire most in a text, against plain numpy, and what is kept of it beside them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from mechtui.engine.api import Cancelled, Engine, OpenSession, SessionError
from mechtui.engine.contexts import kept
from mechtui.engine.contexts.strongest import Strongest
from mechtui.engine.model import Model
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.words import quote
from mechtui.views import parse_question
from mechtui.views.contexts import BINS, KEPT, ContextsAnswer
from mechtui.views.features import FeaturesAnswer
from tests.dictionaries import Made, saelens
from tests.engine.test_contexts import NOTES
from tests.engine.twin import CLOSE, Twin, make_twin, session_of

COUNT = 40
EVERY = " ".join(f"dF{feature}" for feature in range(COUNT))
WINDOW = 24


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "contexts"


@pytest.fixture
def made(gpt2_model: Model, tmp_path: Path) -> Made:
    return saelens(tmp_path / "d", gpt2_model.shape.d_model, architecture="jumprelu", features=COUNT)


def session(made: Made, **more: Any) -> Session:
    return session_of(saes=(Sae("d", str(made.path)),), **more)


def asked(opened: OpenSession, line: str) -> ContextsAnswer:
    *_, (answer, _, more) = opened.answer(parse_question(line))
    assert isinstance(answer, ContextsAnswer)
    assert not more
    return answer


def line_of(names: str = EVERY, more: str = "", file: Path = NOTES) -> str:
    return f"contexts {names} {quote(str(file))} window{WINDOW} {more}".strip()


def beside(made: Made) -> list[Path]:
    return sorted(made.path.glob("*.contexts-*.safetensors"))


def plain(twin: Twin, ids: list[int], front: list[int]) -> tuple[np.ndarray, list[int]]:
    """What enters block 1 at each token that counts [token, d_model], and the tokens' places."""
    blocks = twin.plain.transformer.h if hasattr(twin.plain, "transformer") else twin.plain.model.layers
    seen: list[Any] = []
    handle = blocks[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].numpy()))
    body = WINDOW - len(front)
    step = body - max(min(WINDOW // 4, body - 1), 0 if front else 1)
    rows: list[np.ndarray] = []
    places: list[int] = []
    counted = 0 if front else 1
    for begin in range(0, len(ids), step):
        with torch.no_grad():
            twin.plain(torch.tensor([[*front, *ids[begin : begin + body]]]))
        own = range(counted, min(begin + body, len(ids)))
        rows += [seen[-1][len(front) + place - begin] for place in own]
        places += own
        counted = max(counted, min(begin + body, len(ids)))
        if counted == len(ids):
            break
    handle.remove()
    return np.stack(rows), places


@pytest.mark.parametrize("bos", ["yes", "no"])
def test_contexts_rates_and_histograms_as_numpy_has_them(
    request: pytest.FixtureRequest, made: Made, bos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every feature, in several batches and parts of them, and from the disk."""
    request.param = "gpt2"
    twin = make_twin(request)
    monkeypatch.setattr("mechtui.engine.contexts.units.AT_ONCE", 7 * COUNT)
    ids = twin.text_ids(NOTES.read_text("utf-8"), ())
    rows, places = plain(twin, ids, [twin.tokenizer.bos_token_id] if bos == "yes" else [])
    acts = made.encode(rows)
    assert (acts > 0).any(0).sum() > COUNT // 2
    engine = Engine(twin.engine.model)
    monkeypatch.setattr(engine.contexts, "_at_once", 60)
    for again in (engine, Engine(twin.engine.model)):
        answer = asked(again.open(session(made, bos=bos)), line_of(more="" if again is engine else "known"))
        assert answer.counted == answer.tokens == len(places)
        np.testing.assert_allclose(answer.rate, (acts > 0).mean(0), atol=1e-6)
        for feature, name in enumerate(answer.names):
            assert name == f"dF{feature}"
            own = acts[:, feature]
            order = [at for at in np.argsort(-own, kind="stable")[:KEPT] if own[at] > 0]
            found = answer.value[feature]
            np.testing.assert_allclose(found[: len(order)], own[order], atol=CLOSE)
            assert np.isnan(found[len(order) :]).all()
            assert [context.token.id for context in answer.contexts[feature]] == [ids[places[at]] for at in order]
            step = float(answer.bin[feature])
            if not order:
                assert np.isnan(step)
                continue
            assert step == 2.0 ** np.frexp(own.max())[1] / BINS
            # A value that lies on an edge may be counted on either side of it.
            edges, up_to = step * np.arange(1, BINS + 1), answer.histogram[feature].cumsum()
            below = [(own[own > 0][:, None] < edges + by).sum(0) for by in (-CLOSE, CLOSE)]
            assert (below[0] <= up_to).all()
            assert (up_to <= below[1]).all()
            assert up_to[-1] == (own > 0).sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_what_is_kept_does_not_depend_on_the_parts(seed: int, parts: list[int]) -> None:
    """Of values without equals, however large they become."""
    dice = np.random.default_rng(seed)
    values = (dice.standard_normal((sum(parts), 6)) * 2.0 ** dice.integers(-6, 7, (sum(parts), 1))).astype(np.float32)
    found, at = Strongest.empty(6, ends=2), 0
    for part in parts:
        rows = torch.tensor(values[at : at + part])
        found = found.added(rows, (rows > 0).sum(0), torch.arange(at, at + part, dtype=torch.int32))
        at += part
    for end, sign in enumerate((1, -1)):
        for unit in range(6):
            own = sign * values[:, unit]
            order = np.argsort(-own)[:KEPT]
            assert found.places[end, unit].tolist() == [*order, *[-1] * (KEPT - len(order))]
            on = own[own > 0]
            if len(on):
                reach = 2.0 ** np.frexp(on.max())[1]
                assert reach == 2.0 ** int(found.reach[end, unit])
                expected = np.histogram(on, np.linspace(0, reach, BINS + 1))[0]
                assert found.counts[end, unit].tolist() == expected.tolist()
    assert found.on.tolist() == (values > 0).sum(0).tolist()


def test_what_is_read_lies_beside_the_dictionary_and_is_made_again_where_it_does_not_fit(
    gpt2_model: Model, made: Made, cache: Path, tmp_path: Path
) -> None:
    def known() -> ContextsAnswer:
        return asked(Engine(gpt2_model).open(session(made)), line_of(more="known"))

    def read(file: Path = NOTES) -> ContextsAnswer:
        return asked(Engine(gpt2_model).open(session(made)), line_of(file=file))

    whole = read()
    [file] = beside(made)
    assert not cache.exists()
    assert file.stat().st_mode & 0o777 == 0o600
    # It is damaged; of another text; of a dictionary with other weights.
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    assert (known().counted, known().note) == (
        0,
        f"{file.name} is damaged: the text is read anew, and the file made again",
    )
    assert (read().contexts, known().contexts, known().note) == (whole.contexts, whole.contexts, "")
    with safe_open(file, framework="pt") as opened:
        tables = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        said = opened.metadata()
    save_file({**tables, "reach": torch.full_like(tables["reach"], 9999)}, file, said)
    assert "is damaged" in known().note
    read()
    other = tmp_path / "other.txt"
    other.write_text("Mary went to the store, and John gave her a drink. " * 9)
    read(other)
    [strange] = set(beside(made)) - {file}
    shutil.copy(strange, file)
    assert known().note == f"{file.name} is of another text: the text is read anew"
    file.write_bytes(good)
    assert known().counted == whole.counted
    again = saelens(made.path, gpt2_model.shape.d_model, architecture="standard", features=COUNT)
    assert known().note == f"{file.name} is of a dictionary with other weights: the text is read anew"
    assert (asked(Engine(gpt2_model).open(session(again)), line_of()).rate >= whole.rate).all()
    assert known().rate.sum() > whole.rate.sum()
    assert known().counted == whole.counted


def test_where_nothing_can_be_written_beside_it_it_lies_in_the_cache(
    gpt2_model: Model, made: Made, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept.os, "access", lambda *_: False)
    whole = asked(Engine(gpt2_model).open(session(made)), line_of())
    assert not beside(made)
    assert len(list(cache.iterdir())) == 1
    assert asked(Engine(gpt2_model).open(session(made)), line_of(more="known")).contexts == whole.contexts
    # Nor there: it is said, and what was read is shown all the same.
    shutil.rmtree(cache)
    cache.write_text("in the way")
    answer = asked(Engine(gpt2_model).open(session(made)), line_of())
    assert answer.contexts == whole.contexts
    assert answer.note.startswith("what is read cannot be kept: ")


def test_a_job_that_is_stopped_keeps_what_it_has(
    gpt2_model: Model, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, stop = Engine(gpt2_model), False
    monkeypatch.setattr(engine.contexts, "_at_once", WINDOW)
    shares: list[float] = []
    opened = engine.open(session(made), lambda: stop, progress=shares.append)
    answers = opened.answer(parse_question(line_of()))
    while not stop:
        answer, _, _ = next(answers)
        assert isinstance(answer, ContextsAnswer)
        stop = answer.counted > answer.tokens // 2
    with pytest.raises(Cancelled):
        next(answers)
    assert shares == sorted(shares)
    stop = False
    assert asked(opened, line_of("dF3", "known")).counted == answer.counted
    assert 0 < asked(Engine(gpt2_model).open(session(made)), line_of("dF3", "known")).counted <= answer.counted
    whole = asked(opened, line_of())
    np.testing.assert_allclose(
        whole.value, asked(Engine(gpt2_model).open(session(made)), line_of(more="known")).value, atol=CLOSE
    )


def test_samples_are_shared_with_the_neurons(gpt2_model: Model, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(gpt2_model)
    asked(engine.open(session(made)), "contexts L1N7 window12")
    monkeypatch.setattr("mechtui.engine.contexts.scans.sampled", None)  # none is drawn again, nor in another process
    answer = asked(Engine(gpt2_model).open(session(made)), "contexts dF3 window12")
    assert answer.counted == answer.tokens


def test_a_list_is_that_of_the_features_at_the_token(gpt2_model: Model, made: Made) -> None:
    opened = Engine(gpt2_model).open(session(made))
    answer = asked(opened, line_of("d", "@3 value top4"))
    clean, _, _ = next(opened.answer(parse_question("features d @3 value top4")))
    assert isinstance(clean, FeaturesAnswer)
    assert answer.names == clean.names


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("contexts dF999", "dF999 is none: d has 40 features"),
        ("contexts eF1", "there is no dictionary e"),
        ("contexts dF1 lowest", "no feature is below 0"),
    ],
)
def test_what_cannot_be_read_is_said(line: str, sentence: str, gpt2_model: Model, made: Made) -> None:
    with pytest.raises(SessionError, match=sentence):
        asked(Engine(gpt2_model).open(session(made)), line)
