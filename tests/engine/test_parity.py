"""The engine's numbers against plain Hugging Face modules: every op at every site, both shapes."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.words import LineError
from tests.engine.reference import run
from tests.engine.twin import CLOSE, LONGER, PROMPT, SOURCE, Twin, make_twin, session_of

VECTORS = ['v = diff L1.pre " Mary" " John"', "w = neuron L0N5", 'u = token " Mary" unit']

SITES = (
    "L1H1",
    "L0H*",
    "L1H1.q",
    "L0-1H0-1.q",
    "L1H1.k",
    "L*H*.k",
    "L1H1.v",
    "L0H0-1.v",
    "L1H1.pattern",
    "L0H*.pattern",
    "L1H1.scores",
    "L*H0.scores",
    "L1.attn",
    "L0.mlp",
    "L0.pre",
    "L1.pre",
    "L0.mid",
    "L*.mid",
    "L0.post",
    "L*.post",
    "L1N7",
    "L*N0-30",
    "embed",
    "pos",
)
# Two ways of saying where: everywhere, and at some positions.
OPS = {
    "zero": "",
    "mean": "",
    "resample": "seed3",
    "patch": "",
    "freeze": "",
    "scale": "x0.3",
    "clamp": "x0.4",
    "noise": "sd0.7 seed7",
    "add": "v x3",
    "project": "v",
}


def lines() -> list[str]:
    """Every op at every site where it means something, with and without positions."""
    found = []
    for op, argument in OPS.items():
        for site in SITES:
            for where in ("", "@3-10,-1"):
                line = " ".join(f"{op} {site} {where} {argument}".split())
                try:
                    parse_edit(line)
                except LineError:
                    continue
                found.append(line)
    return found


CUTS = (
    "cut L1H1 13>2",
    "cut L1H1 13>2 raw",
    "cut L*H* -1>0-3",
    "cut L0H0 *>0",
    "cut L0-1H1 5-9>3,5 raw",
    "cut L1H0 *>*",
    "cut L0H* *>* raw",
    "cut L1H* 0-13>0-13",
)
PATHS = (
    "cut-path L0H1>L1H2.q",
    "cut-path L0H*>L1H0-1.k @3-10,-1",
    "cut-path L0H0-2>L1H1.v",
    "cut-path L0.attn>L1H1.q",
    "cut-path L0.mlp>L1H*.k",
    "cut-path embed>L0-1H0.v",
    "cut-path L*H*>L*.mlp @-1",
    "cut-path L0.mlp>L1.mlp",
    "patch-path L0H*>L1H1.q",
    "patch-path L0.mlp>L1H0.v @3-10,-1",
    "patch-path L1H*>L1.mlp",
)
STACKS = (
    ("cut-path L0.attn>L1H2.q @-1", "cut-path L0.mlp>L1H2.q"),
    ("cut-path L0H1>L1H2.q", "zero L0H1", "scale L1H2.q x2", "cut-path L0H*>L1H2.q", "cut-path L0.attn>L1H2.q @3"),
    ("zero L1H1.k", "cut-path L0H1>L1H1.k", "add L1.pre v x2", "cut-path L0H2>L1.mlp", "scale L1.mid x2", "zero L0H2"),
    ("patch-path L0H1>L1H0.v @9", "cut-path L0H*>L1H0.v", "cut-path embed>L1H0.v", "noise embed sd1 seed5"),
    ("zero L0H1 @-1", "scale L0H0-1 x0.5", "add L1.pre v x2"),
    ("add L0.pre v x2", "freeze L1H0.pattern", "cut L1H1 -1>3"),
    ("scale L1H0.pattern x2", "cut L1H0 9>1", "noise L1H0.pattern @9 sd0.1 seed2"),
    ("noise embed sd0.4 seed1", "mean L0H1.scores @4-8", "patch L1.mlp", "project L1.post u"),
    ("mean L0H*.k", "mean L0H*.v @3", "zero L0H1.q @5"),
    ("add L0.mid w x4", "add L0.mid @2 u x-2", "scale L0.mid @2-5 x0.5", "resample L1.attn seed9"),
    ("zero L*.mlp", "freeze L1.mid @-1", "zero L1H1.z @0-3"),
    ("scale L0.post x2", "zero L1.pre @4", "add L1.pre v", "mean L1.pre @6"),
    ("patch L0H0.scores @6", "patch L0H1.pattern @-1", "patch L1H*.q", "patch L1H*.k @2"),
    ("zero L0N3", "scale L0N3-40 @5 x3", "noise L1N0-3 sd2 seed4", "mean L1N9"),
)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


def skip_unless_it_has(twin: Twin, line: str) -> None:
    if " pos" in line and not hasattr(twin.plain, "transformer"):
        pytest.skip("rotary embeddings: nothing is added to the residual stream for positions")


def test_the_clean_run_is_the_bridges_own(twin: Twin, blocks: str) -> None:
    session = session_of()
    ids = torch.tensor([twin.tokens(session).ids])
    with torch.no_grad():
        theirs = twin.bridge(ids)[0]
    ours = twin.engine.open(session).clean.logits()
    if blocks == "direct":  # other kernels add up in another order
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    else:
        assert torch.equal(ours, theirs)


def test_the_clean_run_is_hugging_faces(twin: Twin) -> None:
    session = session_of()
    ids = torch.tensor([twin.tokens(session).ids])
    with torch.no_grad():
        theirs = twin.plain(ids, use_cache=False).logits[0]
    ours = twin.engine.open(session).clean.logits()
    torch.testing.assert_close(ours, theirs, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("line", lines())
def test_an_edit(twin: Twin, line: str) -> None:
    skip_unless_it_has(twin, line)
    op, site = line.split()[:2]
    if op == "freeze":
        # Frozen alone, nothing has changed: something before must be pushed off its course. Where all of the
        # residual is frozen behind the push, the clean run is what should come out.
        push = "noise embed sd1 seed5"
        session = session_of(push, line, vectors=VECTORS)
        twin.check(session, matters=False)
        if site not in ("embed", "pos"):
            pushed = twin.expected(session_of(push, vectors=VECTORS))
            assert (twin.expected(session) - pushed).abs().max() > CLOSE
        return
    # At pos and embed the source run holds the same values wherever its tokens are the same.
    matters = not (op == "patch" and site in ("embed", "pos", "L0.pre"))
    twin.check(session_of(line, vectors=VECTORS), matters=matters)


@pytest.mark.parametrize("line", CUTS)
def test_a_cut(twin: Twin, line: str) -> None:
    twin.check(session_of(line))


@pytest.mark.parametrize("line", PATHS)
def test_a_path(twin: Twin, line: str) -> None:
    twin.check(session_of(line))


@pytest.mark.parametrize("stack", STACKS, ids=" · ".join)
def test_edits_in_their_order(twin: Twin, stack: tuple[str, ...]) -> None:
    twin.check(session_of(*stack, vectors=VECTORS))


def test_order_counts(twin: Twin) -> None:
    one, other = ("scale L1.pre x3", "add L1.pre v x2"), ("add L1.pre v x2", "scale L1.pre x3")
    first, second = (twin.engine.open(session_of(*lines, vectors=VECTORS)).edited for lines in (one, other))
    assert first is not None
    assert second is not None
    assert (first.logits() - second.logits()).abs().max() > CLOSE


def test_edits_that_are_off_do_nothing(twin: Twin) -> None:
    opened = twin.engine.open(session_of("# zero L0H*", "# scale L1.pre x9"))
    assert opened.edited is None
    twin.check(session_of("# zero L0H*", "zero L1H1"))


def test_positions_by_token(twin: Twin) -> None:
    answer = twin.tokens(session_of())
    texts = [twin.tokenizer.decode([i]) for i in answer.ids]
    twice = next(text for text in texts if texts.count(text) == 2 and '"' not in text)
    for line in (f'zero L1H1 @"{twice}"', f'zero L1H1 @"{twice}"#2', f'cut L0H1 -1>"{twice}"#1'):
        session = session_of(line)
        opened = twin.engine.open(session)
        assert not opened.problems
        assert opened.edited is not None
        torch.testing.assert_close(opened.edited.logits(), twin.expected(session), atol=CLOSE, rtol=0)


# Steering vectors


@pytest.mark.parametrize(
    "line",
    [
        'v = diff L1.pre "Love" "Hate"',
        'v = diff L0.mlp "Love" "Hate" | " Mary went" " John said" unit',
        'v = diff L1.attn "I am here" "You are there" @1',
        'v = diff L1.pre "I am here" "You are not there" @all',
        "v = neuron L1N11",
        "v = neuron L0N2 unit",
        'v = token " Mary"',
    ],
)
def test_a_vector(twin: Twin, line: str) -> None:
    twin.check(session_of("add L1.pre v x2", "project L1.post @-1 v", vectors=[line]))


def test_a_principal_direction(twin: Twin) -> None:
    """Its sign is arbitrary, so it is projected out, where the sign plays no part."""
    line = 'v = pca L1.pre "the store" | "a drink" | "John said" | "Mary went to" | "so they"'
    twin.check(session_of("project L1.pre v", vectors=[line]))


def test_a_vector_from_a_file(twin: Twin, tmp_path: Any) -> None:
    vector = torch.linspace(-1, 1, twin.plain.config.hidden_size)
    session = session_of("add L1.pre f x2", vectors=[f"f = file {tmp_path}/vectors.safetensors#it"])
    ids = twin.tokens(session_of()).ids
    # The second time the file holds something else: neither a kept vector nor a kept run may answer.
    for time, held in enumerate((vector, -vector)):
        save_file({"it": held}, tmp_path / "vectors.safetensors")
        os.utime(tmp_path / "vectors.safetensors", (time, time))
        opened = twin.engine.open(session)
        assert not opened.problems
        assert opened.edited is not None
        expected = run(twin.plain, ids, session.edits, vectors={"f": held})[0]
        torch.testing.assert_close(opened.edited.logits(), expected, atol=CLOSE, rtol=0)


# Unequal lengths


def test_patching_goes_by_the_alignment(twin: Twin) -> None:
    session = session_of("patch L1.pre", source=LONGER)
    answer = twin.tokens(session)
    assert len(answer.source) > len(answer.ids)
    ids, source = answer.ids, answer.source
    shift = len(source) - len(ids)
    # The same words before and after what was put in: partners are told by hand.
    common = next(i for i, (a, b) in enumerate(zip(ids, source, strict=False)) if a != b)
    assert list(answer.alignment[:common]) == list(range(common))
    last = len(ids) - 1
    while ids[last] == source[last + shift]:
        assert answer.alignment[last] == last + shift
        last -= 1
    twin.check(session)
    twin.check(session_of("patch L1H1.pattern @-1", "patch L0H1.scores @-2", source=LONGER))


def test_what_has_no_partner_is_refused_by_name(twin: Twin) -> None:
    session = session_of("patch L1.pre", "zero L0H1", prompt=LONGER, source=PROMPT)
    answer = twin.tokens(session)
    alone = [i for i, partner in zip(answer.ids, answer.alignment, strict=True) if partner < 0]
    assert alone
    opened = twin.engine.open(session)
    (problem,) = opened.problems
    assert problem.index == 0
    assert twin.tokenizer.decode([alone[0]]) in problem.sentence
    # The other edit still acts.
    assert opened.edited is not None
    expected = twin.expected(session, edits=session.edits[1:])
    torch.testing.assert_close(opened.edited.logits(), expected, atol=CLOSE, rtol=0)


def test_what_has_a_partner_is_patched_all_the_same(twin: Twin) -> None:
    answer = twin.tokens(session_of(prompt=LONGER, source=SOURCE))
    have = ",".join(str(p) for p, partner in enumerate(answer.alignment) if partner >= 0)
    twin.check(session_of(f"patch L0H1 @{have}", prompt=LONGER, source=SOURCE))


# Activations


def test_activations(twin: Twin) -> None:
    session = session_of("scale L0.mlp x2")
    opened = twin.engine.open(session)
    answer = twin.tokens(session)
    ids = answer.ids
    names = {"hook_resid_pre": "pre", "hook_resid_post": "post", "hook_attn_out": "attn", "hook_mlp_out": "mlp"}
    names |= {"attn.hook_z": "z", "attn.hook_pattern": "pattern", "attn.hook_k": "k", "mlp.hook_post": "neuron"}
    for of, edits in ((opened.clean, ()), (opened.edited, session.edits)):
        assert of is not None
        kept = run(twin.plain, ids, edits)[1]
        for hook, name in names.items():
            ours = of.activation(f"blocks.1.{hook}")
            torch.testing.assert_close(ours, kept[name, 1], atol=CLOSE, rtol=1e-5, msg=lambda m, h=hook: f"{h}: {m}")
