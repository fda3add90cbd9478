"""Where neurons fire most in a text, against plain modules with hooks that see every activation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from mechtui.engine.api import Cancelled, Engine, OpenSession, SessionError
from mechtui.engine.contexts import kept
from mechtui.engine.contexts.strongest import Strongest
from mechtui.engine.model import Model
from mechtui.engine.text_readings import BATCH_TOKENS
from mechtui.session.document import Session
from mechtui.session.grammar.words import quote
from mechtui.views import parse_question
from mechtui.views.contexts import KEPT, ContextsAnswer
from mechtui.views.neurons import NeuronsAnswer
from tests.engine.conftest import load_now
from tests.engine.twin import CLOSE, Twin, make_twin, session_of

NOTES = Path(__file__).with_name("notes.txt")
NAMES = "L0N3 L1N7 L0N0 L1N40"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept, "cache_dir", lambda: tmp_path)
    return tmp_path / "contexts"


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def asked(opened: OpenSession, line: str) -> ContextsAnswer:
    *_, (answer, edited, more) = opened.answer(parse_question(line))
    assert isinstance(answer, ContextsAnswer)
    assert (edited, more) == (None, False)
    return answer


def line_of(file: Path = NOTES, names: str = NAMES, more: str = "window24") -> str:
    return f"contexts {names} {quote(str(file))} {more}"


class Plain:
    """What transformers' own modules give in every window of a text: gate and in [token, neuron], by layer. GPT-2 has
    no gate: its in is what goes into the activation function."""

    def __init__(self, twin: Twin, ids: list[int], front: list[int], window: int) -> None:
        if hasattr(twin.plain, "transformer"):
            mlps = [block.mlp for block in twin.plain.transformer.h]
            parts = {"in": [mlp.c_fc for mlp in mlps], "post": [mlp.c_proj for mlp in mlps]}
        else:
            mlps = [block.mlp for block in twin.plain.model.layers]
            parts = {
                "in": [mlp.up_proj for mlp in mlps],
                "gate": [mlp.gate_proj for mlp in mlps],
                "post": [mlp.down_proj for mlp in mlps],
            }
        self.seen: dict[tuple[str, int], Tensor] = {}
        self.places: list[int] = []
        self.windows: list[int] = []  # where the window of each place begins
        body = window - len(front)
        step = body - max(min(window // 4, body - 1), 0 if front else 1)
        found: dict[tuple[str, int], list[Tensor]] = {}
        counted = 0 if front else 1
        for begin in range(0, len(ids), step):
            now: dict[tuple[str, int], Tensor] = {}

            def note(key: tuple[str, int], now: dict[tuple[str, int], Tensor] = now) -> Any:
                def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                    now[key] = (inputs[0] if key[0] == "post" else output)[0]

                return hook

            handles = [
                module.register_forward_hook(note((name, layer)))
                for name, modules in parts.items()
                for layer, module in enumerate(modules)
            ]
            part = ids[begin : begin + body]
            with torch.no_grad():
                twin.plain(torch.tensor([[*front, *part]]))
            for handle in handles:
                handle.remove()
            own = range(counted, min(begin + body, len(ids)))
            self.places += own
            self.windows += [begin] * len(own)
            for key, value in now.items():
                found.setdefault(key, []).append(value[[len(front) + place - begin for place in own]])
            counted = max(counted, begin + len(part))
            if counted == len(ids):
                break
        self.seen = {key: torch.cat(values) for key, values in found.items()}


@pytest.mark.parametrize("bos", [True, False])
def test_contexts_as_plain_modules_have_them(twin: Twin, bos: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without BOS, in several batches, and from the disk."""
    monkeypatch.setattr(twin.engine.model, "ready", replace(twin.engine.model.ready, bos_auto=bos))
    engine = Engine(twin.engine.model)
    monkeypatch.setattr(engine.contexts, "_at_once", 60)
    ids = twin.text_ids(NOTES.read_text("utf-8"), ())
    front = [twin.tokenizer.bos_token_id] if bos else []
    plain = Plain(twin, ids, front, 24)
    gated = ("gate", 0) in plain.seen
    for end, sign in (("highest", 1), ("lowest", -1)):
        if end == "lowest" and not gated:
            continue
        for again in (engine, Engine(twin.engine.model)):
            answer = asked(again.open(session_of()), line_of(more=f"window24 {end}"))
            assert answer.counted == answer.tokens == len(ids) - (not bos)
            for row, (layer, neuron) in enumerate((site.layers.first, site.index.first) for site in answer.sites):
                post = plain.seen["post", int(layer)][:, neuron]
                fires = plain.seen["gate" if gated else "post", int(layer)][:, neuron] > 0
                assert answer.rate[row] == pytest.approx(float(fires.float().mean()))
                order = (sign * post).sort(descending=True, stable=True).indices[:KEPT].tolist()
                np.testing.assert_allclose(answer.value[row], post[order], atol=CLOSE)
                assert (answer.gate is not None) == gated
                if answer.gate is not None and answer.into is not None:
                    np.testing.assert_allclose(
                        answer.gate[row], plain.seen["gate", int(layer)][order, neuron], atol=CLOSE
                    )
                    np.testing.assert_allclose(
                        answer.into[row], plain.seen["in", int(layer)][order, neuron], atol=CLOSE
                    )
                for context, at in zip(answer.contexts[row], order, strict=True):
                    place, begin = plain.places[at], plain.windows[at]
                    assert context.token.id == ids[place]
                    assert context.prompt == twin.tokenizer.decode(ids[begin : place + 1])
                    assert context.prompt.endswith(context.before + context.token.text)


def test_a_context_as_the_prompt_gives_its_activation(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    answer = asked(engine.open(session_of()), line_of())
    session = Session(model="m", prompt=answer.contexts[1][0].prompt)
    opened = engine.open(session)
    [(clean, _, _)] = opened.answer(parse_question("neurons L1 activation top99"))
    assert isinstance(clean, NeuronsAnswer)
    assert opened.tokens[-1] == answer.contexts[1][0].token
    post = dict(zip(clean.names, clean.post[:, -1], strict=True))
    if "L1N7" in post:
        assert post["L1N7"] == pytest.approx(float(answer.value[1, 0]), abs=CLOSE)


def test_what_is_read_stays_on_the_disk_when_it_is_stopped(
    gpt2_model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, stop = Engine(gpt2_model), False
    monkeypatch.setattr(engine.contexts, "_at_once", 24)
    whole = asked(Engine(gpt2_model).open(session_of()), line_of())
    for file in cache.iterdir():
        file.unlink()
    shares: list[float] = []
    opened = engine.open(session_of(), lambda: stop, progress=shares.append)
    assert asked(opened, line_of(more="window24 known")).counted == 0
    answers = opened.answer(parse_question(line_of()))
    while not stop:
        answer, _, more = next(answers)
        assert isinstance(answer, ContextsAnswer)
        assert more
        stop = answer.counted > whole.tokens // 2
    with pytest.raises(Cancelled):
        next(answers)
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] < 1
    stop = False
    # What was read is known at once, here and in a process to come, and no token is read twice.
    known = asked(opened, line_of(more="window24 known"))
    assert whole.tokens // 2 < known.counted < whole.tokens
    other = Engine(gpt2_model)
    assert 0 < asked(other.open(session_of()), line_of(more="window24 known")).counted <= known.counted
    runs: list[int] = []
    was = other.contexts._pass
    monkeypatch.setattr(other.contexts, "_pass", lambda *each: runs.append(len(each[1])) or was(*each))
    for each in (other, engine):
        answer = asked(each.open(session_of()), line_of())
        np.testing.assert_allclose(answer.value, whole.value, atol=CLOSE)
        np.testing.assert_array_equal(answer.rate, whole.rate)
        assert answer.contexts == whole.contexts
    assert 0 < sum(runs) < whole.tokens / 18 * 0.7


def test_a_file_that_is_broken_or_of_another_text_is_passed_over(
    gpt2_model: Model, cache: Path, tmp_path: Path
) -> None:
    whole = asked(Engine(gpt2_model).open(session_of()), line_of())
    [file] = cache.iterdir()
    assert not whole.note
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(file.read_bytes()[:-9])
    again = Engine(gpt2_model)
    assert "is damaged" in asked(again.open(session_of()), line_of(more="window24 known")).note
    made = asked(again.open(session_of()), line_of())
    assert (made.contexts, made.note) == (whole.contexts, "")
    other = tmp_path / "a.txt"
    other.write_text("Mary went to the store. " * 9)
    opened = Engine(gpt2_model).open(session_of())
    assert asked(opened, line_of(other, more="window24 known")).counted == 0
    asked(opened, line_of(other))
    other.write_text("John went to the store. " * 9)
    assert asked(opened, line_of(other, more="window24 known")).counted == 0


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_samples_are_the_model_s_own(family: str, request: pytest.FixtureRequest) -> None:
    """Drawn from its probabilities; the same model writes the same ones again."""
    model: Model = request.getfixturevalue(f"{family}_model")
    engine = Engine(model)
    answer = asked(engine.open(session_of()), "contexts L1N7 window12")
    reading = engine.contexts.of_neurons("", 12).text
    assert (answer.text, answer.counted) == ("samples", answer.tokens)
    assert len(reading.ids) == reading.windows * reading.body
    assert answer.tokens == reading.windows * (reading.body - reading.first(0))
    texts = reading.ids.reshape(reading.windows, -1)
    assert len({tuple(text) for text in texts.tolist()}) == len(texts)
    # Against runs of each sample alone: drawn by multinomial from these very probabilities, whose sum of -ln p is what
    # their entropies say.
    surprise, entropy = [], []
    for text in texts[:24].tolist():
        run = engine.run((*reading.front, *text))
        logs = run.logits().log_softmax(-1)[:-1]
        ids = torch.tensor(run.ids[1:])
        surprise.append(float(-logs.gather(-1, ids[:, None]).sum()))
        entropy.append(float(-(logs.exp() * logs).sum()))
    spread = np.std(np.array(surprise) - entropy) / len(surprise) ** 0.5
    assert abs(np.mean(surprise) - np.mean(entropy)) < 5 * spread
    again = Engine(model)
    assert asked(again.open(session_of()), "contexts L1N7 window12 known").contexts == answer.contexts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "read", lambda *_: None)
        patch.setattr(kept, "read_samples", lambda *_: None)
        third = Engine(model)
        asked(third.open(session_of()), "contexts L1N7 window12")
        np.testing.assert_array_equal(third.contexts.of_neurons("", 12).text.ids, reading.ids)


def test_attention_alone_has_no_neurons() -> None:
    with pytest.raises(SessionError, match="its blocks have no MLP"):
        asked(Engine(load_now("attn-only-1l")).open(session_of()), "contexts L0N0")


def test_the_list_of_neurons_follows_the_edits(gpt2_model: Model) -> None:
    """Off again, it is what it was."""
    engine = Engine(gpt2_model)
    line = f"contexts {quote(str(NOTES))} window24 top5"

    def names(*edits: str) -> tuple[str, ...]:
        return asked(engine.open(session_of(*edits)), line).names

    def listed(*edits: str) -> tuple[str, ...]:
        *_, (answer, _, _) = engine.open(session_of(*edits)).answer(parse_question("neurons top5"))
        assert isinstance(answer, NeuronsAnswer)
        return answer.names

    before = names()
    assert before == listed()
    assert names("scale L0N5 x900") == listed("scale L0N5 x900") != before
    assert names("# scale L0N5 x900") == before


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('contexts L0N0 "nowhere.txt"', "there is no file nowhere.txt"),
        ("contexts L0N9999", "L0N9999"),
        (f"contexts L0N0 {quote(str(NOTES))} window99999", "window99999 is too long"),
        (f"contexts L0N0 {quote(str(NOTES))} lowest", "no gate"),
    ],
)
def test_what_cannot_be_read_is_said(line: str, sentence: str, gpt2_model: Model) -> None:
    with pytest.raises(SessionError, match=sentence):
        asked(Engine(gpt2_model).open(session_of()), line)


def test_memory_is_bounded_by_a_batch(gpt2_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text twenty times as long holds no more: what is kept has the size of the model."""
    file = tmp_path / "long.txt"
    file.write_text(NOTES.read_text("utf-8") * 12)
    engine = Engine(gpt2_model)
    sizes: list[int] = []
    was = Strongest.added

    def counted(known: Strongest, values: Tensor, *more: Any) -> Strongest:
        sizes.append(len(values))
        return was(known, values, *more)

    monkeypatch.setattr(Strongest, "added", counted)
    answer = asked(engine.open(session_of()), line_of(file))
    assert max(sizes) <= BATCH_TOKENS < answer.counted
    layers = engine.contexts.of_neurons(str(file), 24).found
    assert {each.values.numel() for each in layers} == {gpt2_model.shape.d_mlp * KEPT}
