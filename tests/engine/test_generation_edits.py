"""Every edit at every kind of place while text is generated: token by token what plain Hugging Face modules choose."""

from __future__ import annotations

import pytest
import torch

from mechtui.engine.api import Engine, Run
from mechtui.engine.model import Model
from mechtui.engine.runner import never
from mechtui.engine.trace import Trace
from mechtui.session.document import Edit, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from tests.engine.conftest import load_now
from tests.engine.reference import logits
from tests.engine.twin import CLOSE, LONGER, Twin, make_twin, session_of

COUNT = 3
VECTORS = ('v = diff L1.pre " Mary" " John"',)
HEADS = tuple(f"L1H1.{part}" for part in ("z", "q", "k", "v"))
TABLES = ("L0H1.pattern", "L1H0.pattern", "L1H1.scores")
WIDE = ("L0.attn", "L1.mlp", "L1.pre", "L0.mid", "L1.post", "embed")
PLACES = ("", "@2-4", "@-1")
# A mean and noise look at all positions, so that each step runs from the beginning.
WITH = ("", "mean L1.mlp @1", "noise L0.attn sd0.5")


def lines() -> list[str]:
    """Every op at every kind of place, each at one of the positions."""
    found = []
    for site in (*HEADS, *WIDE, "L0N3"):
        found += [f"{op} {site} {{}}" for op in ("zero", "mean", "patch", "freeze")]
        found += [f"resample {site} {{}} seed3", f"scale {site} {{}} x-1.5", f"noise {site} {{}} sd1"]
    found += [f"{op} {site} {{}} v" for site in WIDE for op in ("add", "project")]
    found = [line.format(PLACES[number % len(PLACES)]) for number, line in enumerate(found)]
    return [*found, *of_tables()]


def of_tables() -> list[str]:
    found = [f"{op} {site} {{}}" for site in TABLES for op in ("zero", "mean", "patch", "freeze")]
    found += [f"scale {site} {{}} x{factor}" for site in TABLES for factor in ("0", "-0.5")]
    found += [f"noise {site} {{}} sd0.3" for site in TABLES]
    found = [line.format(place) for line in found for place in PLACES[:2]]
    return [*found, "cut L1H0 *>0", "cut L0H1 -1>1-2", "cut L1H1 *>1 raw"]


def continued(engine: Engine, session: Session, line: str) -> tuple[list[int], list[Trace]]:
    """The ids that the edited run continues with, and the runs that it took them from."""
    opened = engine.open(session)
    assert not opened.problems, opened.problems
    assert opened.edited is not None
    traces = [opened.edited.trace]
    run = engine.runner.run
    with pytest.MonkeyPatch.context() as patch:

        def note(*args: object, **kwargs: object) -> Trace:
            trace = run(*args, **kwargs)  # type: ignore[arg-type]
            if kwargs.get("after") is not None:
                traces.append(trace)
            return trace

        patch.setattr(engine.runner, "run", note)
        *_, (_, edited, partial) = opened.answer(parse_question(line))
    assert not partial
    ids = [token.id for token in edited.tokens]  # type: ignore[union-attr]
    return ids, [trace for trace in traces if trace.edits]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


@pytest.mark.parametrize("other", WITH)
def test_each_step_is_the_plain_models(twin: Twin, other: str) -> None:
    for line in of_tables() if other else lines():
        edits = [each for each in (line, other) if each]
        session = session_of(*edits, source=LONGER, vectors=VECTORS, align="left", bos="no")
        text = twin.tokens(session)
        ids, traces = continued(Engine(twin.engine.model), session, f"generate {COUNT}")
        parsed: list[Edit] = [parse_edit(each) for each in edits]
        whole = [*text.ids]
        for step in range(len(ids) + 1 if len(ids) < COUNT else COUNT):
            expected = logits(
                twin.plain,
                whole,
                parsed,
                source_ids=text.source,
                alignment=text.alignment,
                vectors={"v": twin.vector(session.vectors[0], text.bos)},
                texts=[twin.tokenizer.decode([i]) for i in whole],
                end=len(text.ids),
            )[-1]
            trace = next(trace for trace in traces if trace.ids == tuple(whole))
            got = Run(twin.engine.runner, trace, never).logits([-1])[0]
            scale = CLOSE * max(1.0, float(expected.abs().max()))
            torch.testing.assert_close(got, expected, atol=scale, rtol=0, msg=lambda m, e=edits: f"{e}: {m}")
            if step < len(ids):
                assert expected[ids[step]] >= expected.max() - scale
                whole.append(ids[step])


@pytest.mark.parametrize("name", ["attn-only-1l", "attn-only-2l"])
def test_attention_only_models_generate_with_every_edit(name: str) -> None:
    """They keep no keys and values, so each step runs from the beginning; as a whole run of that text does."""
    model: Model = load_now(name)
    last = model.shape.n_layers - 1
    for line in lines():
        if any(part in line for part in (".mid", ".mlp", "N3")):
            continue
        edit = line.replace("L1", f"L{last}")
        session = session_of(edit, source=LONGER, vectors=(VECTORS[0].replace("L1", f"L{last}"),), align="left")
        engine = Engine(model)
        opened = engine.open(session)
        ids, _ = continued(engine, session, "generate 2")
        whole = opened.ids
        for id in ids:
            again = Engine(model).open(session)
            edits = again.hook_edits_of(session.edits[0], whole, True)
            fresh = again.run(whole, edits)
            assert id == int(fresh.logits([-1])[0].argmax()), line
            whole = (*whole, id)


def test_a_frozen_pattern_beside_a_mean() -> None:
    model = load_now("demo")
    session = session_of("freeze L0H0.pattern", "mean L1.mlp")
    ids, _ = continued(Engine(model), session, "generate 3")
    alone, _ = continued(Engine(model), session_of("mean L1.mlp"), "generate 3")
    assert ids
    assert ids == alone  # until L0 sees an edit its pattern is the clean one
