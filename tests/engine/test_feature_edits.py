"""Edits of features: what a plain Hugging Face model gives whose activations numpy changes, in each kind of block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from mechtui.engine.api import Engine
from mechtui.engine.run import Run
from mechtui.engine.runner import never
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from tests.dictionaries import Array, Made, saelens
from tests.engine.test_generation_edits import continued
from tests.engine.twin import PROMPT, SOURCE, Twin, make_twin

CLOSE = 1e-5
# Acts of the run at hand, of the clean run and of the source's [pos, feature] -> what they become.
Change = Callable[[Array, Array, Array], Array]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


class Plain:
    """A plain model, and a dictionary in its layout. reads, writes: parts of layers."""

    def __init__(self, model: Any, made: Made, reads: tuple[int, str], writes: tuple[int, str]) -> None:
        self.model, self.made, self.reads, self.writes = model, made, reads, writes
        self.layers = model.transformer.h if hasattr(model, "transformer") else model.model.layers

    def _module(self, place: tuple[int, str]) -> tuple[Any, bool]:
        """What the activation passes, and whether as its input."""
        layer = self.layers[place[0]]
        gpt2 = hasattr(self.model, "transformer")
        match place[1]:
            case "pre":
                return layer, True
            case "post":
                return layer, False
            case "z":
                return (layer.attn.c_proj if gpt2 else layer.self_attn.o_proj), True
            case "in":
                return (layer.ln_2 if gpt2 else layer.post_attention_layernorm), False
            case _:
                return layer.mlp, False

    @contextmanager
    def _passes(self, place: tuple[int, str], function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        module, is_input = self._module(place)

        def before(_module: Any, inputs: Any) -> Any:
            return (function(inputs[0]), *inputs[1:])

        def behind(_module: Any, _inputs: Any, output: Any) -> Any:
            return (function(output[0]), *output[1:]) if isinstance(output, tuple) else function(output)

        handle = module.register_forward_pre_hook(before) if is_input else module.register_forward_hook(behind)
        try:
            yield
        finally:
            handle.remove()

    def run(self, ids: list[int], change: Callable[[Array], Array] | None = None) -> tuple[Tensor, Array]:
        """Logits [pos, token] and acts [pos, feature] before they are changed."""
        read: list[Array] = []
        acts: list[Array] = []

        def note(x: Tensor) -> Tensor:
            read[:] = [x[0].float().numpy()]
            return x

        def edit(y: Tensor) -> Tensor:
            acts[:] = [self.made.encode(read[0])]
            if change is None:
                return y
            new = change(acts[0])
            # All else that the dictionary makes of what it reads cancels out.
            added = self.made.decode(new, read[0]) - self.made.decode(acts[0], read[0])
            added[(new == acts[0]).all(1)] = 0
            return y + torch.from_numpy(added.astype(np.float32))

        with torch.no_grad(), ExitStack() as stack:
            stack.enter_context(self._passes(self.reads, note))
            stack.enter_context(self._passes(self.writes, edit))
            return self.model(torch.tensor([ids])).logits[0], acts[0]


def at(places: list[int], features: slice, value: Callable[[Array, Array, Array], Any]) -> Change:
    def change(acts: Array, clean: Array, source: Array) -> Array:
        new = acts.copy()
        for place in places:
            new[place, features] = value(acts[place, features], clean[place, features], source[place, features])
        return new

    return change


def on(change: Change, clean: Array, source: Array, acts: Array) -> Array:
    return change(acts, clean, source)


def held(features: slice, value: float, acts: Array) -> Array:
    new = acts.copy()
    new[:, features] = value
    return new


def said(line: str) -> Callable[[str], str]:
    return lambda what: f"{line}: {what}"


EVERY, TWO, FEW, ALL = list(range(14)), [3, 13], slice(5, 9), slice(None)
LINES: list[tuple[str, Change]] = [
    ("zero aF5-8", at(EVERY, FEW, lambda now, *_: 0)),
    ("scale aF* @3,-1 x-1.5", at(TWO, ALL, lambda now, *_: -1.5 * now)),
    ("clamp aF7 @-1 x5", at([13], slice(7, 8), lambda now, *_: 5)),
    ("add aF5-8 @3,-1 x0.5", at(TWO, FEW, lambda now, *_: now + 0.5)),
    ("patch aF* @9-11", at([9, 10, 11], ALL, lambda now, clean, source: source)),
    ("freeze aF5-8", at(EVERY, FEW, lambda now, clean, source: clean)),
]
Make = Callable[[Path, int], Made]
PLACES: dict[str, tuple[Make, tuple[int, str], tuple[int, str]]] = {
    "pre": (lambda at, d: saelens(at, d, architecture="jumprelu"), (1, "pre"), (1, "pre")),
    "normed": (
        lambda at, d: saelens(at, d, "blocks.0.hook_resid_post", more={"normalize_activations": "layer_norm"}),
        (0, "post"),
        (0, "post"),
    ),
    "z, top-k": (
        lambda at, d: saelens(at, d, "blocks.1.attn.hook_z", architecture="topk", more={"k": 5}),
        (1, "z"),
        (1, "z"),
    ),
    "transcoder": (
        lambda at, d: saelens(
            at,
            d,
            "blocks.1.mlp.hook_in",
            architecture="jumprelu_skip_transcoder",
            hook_out="blocks.1.hook_mlp_out",
        ),
        (1, "in"),
        (1, "mlp"),
    ),
    "over a layer": (
        lambda at, d: saelens(
            at, d, "blocks.0.hook_resid_pre", architecture="transcoder", hook_out="blocks.1.hook_mlp_out"
        ),
        (0, "pre"),
        (1, "mlp"),
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_edit_is_as_by_hand(place: str, twin: Twin, tmp_path: Path) -> None:
    """In the plain path, from where runs resume, and token by token."""
    make, reads, writes = PLACES[place]
    width = twin.engine.model.shape.d_model
    plain = Plain(twin.plain, make(tmp_path, width), reads, writes)
    session = Session(prompt=PROMPT, source=SOURCE, align="left", bos="no", saes=(Sae("a", str(plain.made.path)),))
    text = twin.tokens(session)
    (clean, clean_acts), (_, source_acts) = plain.run(text.ids), plain.run(text.source)
    engine = Engine(twin.engine.model)
    assert engine.open(session).edited is None
    kept = {}
    for line, change in LINES:
        edits = parse_edit("scale L0H1 x2"), parse_edit(line)
        for also in (edits[1:], edits) if line.startswith("freeze") else (edits[1:],):
            asked = replace(session, edits=also)
            opened = engine.open(asked)
            assert not opened.problems, opened.problems
            assert opened.edited is not None
            found = opened.edited.logits()
            if len(also) == 2:  # what froze was changed before
                assert (found - kept[line]).abs().max() > 1e-3
                continue
            wanted, _ = plain.run(text.ids, partial(on, change, clean_acts, source_acts))
            scale = CLOSE * max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(found, wanted, atol=scale, rtol=0, msg=said(line))
            kept[line] = found
            if line.startswith("freeze"):
                assert torch.equal(found, opened.clean.logits())
            else:
                assert (wanted - clean).abs().max() > 1e-3
    # Many at once, each from where it leaves the clean run.
    opened = engine.open(session)
    every = [opened.hook_edits_of(parse_edit(line), opened.ids, True) for line, _ in LINES]
    for (line, _), found in zip(LINES, opened.clean.variants(every, 13), strict=True):
        torch.testing.assert_close(found, kept[line][13], atol=2e-5, rtol=1e-5, msg=said(line))


def test_text_is_generated_with_features_changed(twin: Twin, tmp_path: Path) -> None:
    for place in ("pre", "transcoder"):
        make, reads, writes = PLACES[place]
        plain = Plain(twin.plain, make(tmp_path / place, twin.engine.model.shape.d_model), reads, writes)
        session = Session(prompt=PROMPT, bos="no", saes=(Sae("a", str(plain.made.path)),))
        text = twin.tokens(session)
        for line, features, value in (("clamp aF7 x5", slice(7, 8), 5.0), ("zero aF*", ALL, 0.0)):
            ids, traces = continued(
                Engine(twin.engine.model), replace(session, edits=(parse_edit(line),)), "generate 2"
            )
            whole = [*text.ids]
            for new in ids:
                everywhere = partial(held, features, value)
                wanted = plain.run(whole, everywhere)[0][-1]
                trace = next(trace for trace in traces if trace.ids == tuple(whole))
                found = Run(twin.engine.runner, trace, never).logits([-1])[0]
                torch.testing.assert_close(found, wanted, atol=CLOSE * float(wanted.abs().max()), rtol=0)
                whole.append(new)


def test_what_changes_nothing_leaves_every_bit(twin: Twin, tmp_path: Path) -> None:
    session = Session(prompt=PROMPT, source=PROMPT, bos="no")
    for place, (make, *_) in PLACES.items():
        path = make(tmp_path / place, twin.engine.model.shape.d_model).path
        opened = Engine(twin.engine.model).open(replace(session, saes=(Sae("a", str(path)),)))
        clean = opened.clean.logits()
        for line in ("scale aF* x1", "add aF3 x0", "freeze aF*", "patch aF5-8"):
            edited = Engine(twin.engine.model).open(replace(opened.session, edits=(parse_edit(line),)))
            assert edited.edited is not None
            assert torch.equal(edited.edited.logits(), clean), f"{place}: {line}"


def test_one_that_there_is_none_of_is_refused_in_a_sentence(tmp_path: Path, gpt2_model: Any) -> None:
    path = saelens(tmp_path, gpt2_model.shape.d_model).path
    lines = ("zero res8F40", "zero res8F3-99", "zero rse8F3", "add res8F* x2")
    session = Session(
        prompt="When Mary", bos="no", saes=(Sae("res8", str(path)),), edits=tuple(parse_edit(line) for line in lines)
    )
    said = [(problem.index, problem.sentence) for problem in Engine(gpt2_model).open(session).problems]
    assert said == [
        (0, "there is no res8F40: the features of res8 are 0 to 39"),
        (1, "there is no res8F99: the features of res8 are 0 to 39"),
        (2, "there is no dictionary rse8; did you mean res8? there is res8"),
    ]


def test_a_feature_is_a_steering_vector(twin: Twin, tmp_path: Path) -> None:
    made = saelens(tmp_path, twin.engine.model.shape.d_model)
    saes, lines = (Sae("res1", str(made.path)),), ("v = feature res1 7", "w = feature res1 40", "u = feature rse1 3")
    vectors = tuple(parse_vector(line) for line in lines)
    edits = tuple(parse_edit(f"add L1.pre {name} x2") for name in "vwu")
    opened = Engine(twin.engine.model).open(Session(prompt=PROMPT, bos="no", saes=saes, vectors=vectors, edits=edits))
    np.testing.assert_allclose(opened.vector(vectors[0]), made.directions[7], atol=1e-6)
    assert opened.edited is not None
    added = opened.edited.activation("blocks.1.hook_resid_pre") - opened.clean.activation("blocks.1.hook_resid_pre")
    np.testing.assert_allclose(added, np.tile(2 * made.directions[7], (14, 1)), atol=1e-5)
    assert [problem.sentence for problem in opened.problems] == [
        "w: there is no feature 40: those of res1 are 0 to 39",
        "u: there is no dictionary rse1; did you mean res1? there is res1",
    ]
