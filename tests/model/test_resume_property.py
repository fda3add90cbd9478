"""Whatever one does, in whatever order: what the engine resumes from must not show in its numbers.

Sequences of sessions are drawn as a user makes them, each a small change to the one before: text changed
anywhere, edits added, removed, switched, moved, turned up. After every change the engine's logits and
activations are compared with those of an engine that has seen nothing, and with plain Hugging Face modules.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reference import run
from twin import CLOSE, SOURCE, Twin, make_twin

from mechtui.session.document import Session
from mechtui.session.lines import parse_edit, parse_vector
from mechtui.worker.engine import Engine

WORDS = (" Mary", " John", " gave", " the", " store", ",", " to", " a", " drink", " x")
SITES = (
    *("L0H1", "L1H0", "L*H1", "L1H0.q", "L0H1.k", "L1H*.v", "L0H0.pattern", "L1H1.pattern", "L1H0.scores"),
    *("L0.attn", "L1.mlp", "L0.pre", "L1.pre", "L0.mid", "L1.mid", "L0.post", "L1.post", "L1N3", "L0N0-9", "embed"),
)
RESIDUAL = ("L0.pre", "L1.pre", "L0.mid", "L1.post", "L1.attn", "L0.mlp", "embed")
PLACES = ("", "@0", "@-1", "@1", "@0-2", "@1,-1")
HOOKS = ("hook_resid_pre", "attn.hook_pattern", "attn.hook_z", "hook_mlp_out", "mlp.hook_post")


def edit_lines() -> st.SearchStrategy[str]:
    site, place = st.sampled_from(SITES), st.sampled_from(PLACES)
    values = st.sampled_from([one for one in SITES if not one.endswith(("pattern", "scores"))])
    number = st.sampled_from(("x0", "x0.5", "x-1", "x2"))
    return st.one_of(
        st.builds("{} {} {}".format, st.sampled_from(("zero", "mean", "freeze", "patch")), site, place),
        st.builds("scale {} {} {}".format, site, place, number),
        st.builds("noise {} {} sd{} seed{}".format, values, place, st.sampled_from("12"), st.sampled_from("12")),
        st.builds("resample {} {} seed{}".format, values, place, st.sampled_from("12")),
        st.builds("add {} {} v {}".format, st.sampled_from(RESIDUAL), place, number),
        st.builds("project {} {} v".format, st.sampled_from(RESIDUAL), place),
        st.builds(
            "cut L{}H{} {}>{}".format,
            st.sampled_from("01*"),
            st.sampled_from("01*"),
            st.sampled_from(("-1", "2", "*")),
            st.sampled_from(("0", "1", "0-2")),
        ),
    )


@st.composite
def sequences(draw: st.DrawFn) -> list[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """(words of the prompt, edits), each made from the one before by one change."""
    words = draw(st.lists(st.sampled_from(WORDS), min_size=3, max_size=8))
    edits = [parse_edit(line) for line in draw(st.lists(edit_lines(), max_size=2))]
    states = [(tuple(words), tuple(edits))]
    for _ in range(draw(st.integers(2, 6))):
        change = draw(
            st.sampled_from(("append", "drop", "change", "insert", "add", "toggle", "remove", "swap", "turn", "back"))
        )
        at = draw(st.integers(0, 20))
        if change == "back":
            words, edits = (list(part) for part in states[at % len(states)])
        elif change == "append":
            words = [*words, draw(st.sampled_from(WORDS))]
        elif change == "drop" and len(words) > 3:
            words = words[:-1]
        elif change == "change":
            words = [*words]
            words[at % len(words)] = draw(st.sampled_from(WORDS))
        elif change == "insert":
            words = [*words]
            words.insert(at % len(words), draw(st.sampled_from(WORDS)))
        elif change == "add" or not edits:
            edits = [*edits]
            edits.insert(at % (len(edits) + 1), parse_edit(draw(edit_lines())))
        else:
            edits = [*edits]
            here = at % len(edits)
            if change == "toggle":
                edits[here] = replace(edits[here], on=not edits[here].on)
            elif change == "remove":
                del edits[here]
            elif change == "swap":
                edits.append(edits.pop(here))
            else:
                edits[here] = replace(edits[here], factor=edits[here].factor + 0.25, sd=edits[here].sd + 0.25)
        states.append((tuple(words), tuple(edits)))
    return states


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(states=sequences(), looks=st.lists(st.tuples(st.sampled_from(HOOKS), st.integers(0, 1)), min_size=1, max_size=3))
def test_resumed_is_the_same_as_run_afresh(twin: Twin, states: list[Any], looks: list[tuple[str, int]]) -> None:
    vectors = (parse_vector('v = diff L1.pre " Mary" " John"'),)
    engine = Engine(twin.engine.model)
    for words, edits in states:
        session = Session(prompt="".join(words).lstrip(), source=SOURCE, vectors=vectors, edits=edits, align="auto")
        compare(twin, engine, session, looks)


def compare(twin: Twin, engine: Engine, session: Session, looks: list[tuple[str, int]]) -> None:
    opened, fresh = engine.open(session), Engine(twin.engine.model).open(session)
    assert opened.problems == fresh.problems
    refused = {problem.index for problem in opened.problems}
    applied = tuple(edit for i, edit in enumerate(session.edits) if i not in refused)
    answer = twin.tokens(session)
    ids = answer.ids
    for resumed, afresh, edits in ((opened.clean, fresh.clean, ()), (opened.edited, fresh.edited, applied)):
        assert (resumed is None) == (afresh is None)
        if resumed is None or afresh is None:
            assert not any(edit.on for edit in applied)
            continue
        expected, kept = run(
            twin.plain,
            ids,
            edits,
            source_ids=answer.source,
            alignment=answer.alignment,
            vectors={v.name: twin.vector(v, answer.bos) for v in session.vectors},
            texts=[twin.tokenizer.decode([i]) for i in ids],
        )
        # What edits blow up (noise on noise, doubled residuals) is compared relative to its size.
        for name, wanted, got, again in (
            ("logits", expected, resumed.logits(), afresh.logits()),
            *(
                (
                    f"{layer}.{hook}",
                    kept[NAMES[hook], layer],
                    *(x.activation(f"blocks.{layer}.{hook}") for x in (resumed, afresh)),
                )
                for hook, layer in looks
            ),
        ):
            scale = CLOSE * max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(
                got, again, atol=scale, rtol=0, msg=lambda m, n=name: f"{n}, resumed and afresh: {m}"
            )
            torch.testing.assert_close(got, wanted, atol=scale, rtol=0, msg=lambda m, n=name: f"{n}, and plain: {m}")


NAMES = {
    "hook_resid_pre": "pre",
    "attn.hook_pattern": "pattern",
    "attn.hook_z": "z",
    "hook_mlp_out": "mlp",
    "mlp.hook_post": "neuron",
}
