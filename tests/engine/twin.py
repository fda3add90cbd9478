"""An engine and the same checkpoint as a plain Hugging Face model, asked the same things side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mechtui.engine.api import Engine
from mechtui.session.document import Edit, Session, Vector
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import Answer, parse_question
from tests.engine.conftest import load_now
from tests.engine.reference import Activations, run

PROMPT = "When Mary and John went to the store, John gave a drink to"
SOURCE = "When Mary and John went to the store, Mary gave a drink to"
LONGER = "When Mary and John went to the big old store, Mary gave a drink to"

# float32, as promised in docs/performance.md.
CLOSE = 1e-4


def session_of(
    *edits: str, prompt: str = PROMPT, source: str = SOURCE, vectors: Sequence[str] = (), **more: Any
) -> Session:
    return Session(
        prompt=prompt,
        source=source,
        edits=tuple(parse_edit(line) for line in edits),
        vectors=tuple(parse_vector(line) for line in vectors),
        **more,
    )


def logits(engine: Engine, *edits: str, **more: Any) -> Tensor:
    """What a session's run gives [pos, d_vocab], with these edits if there are any; none of them may be refused."""
    opened = engine.open(session_of(*edits, **more))
    assert not opened.problems
    return (opened.edited or opened.clean).logits()


@dataclass
class Text:
    """ids [pos], of which the first are `bos`; those of the source; per position its partner there, or -1."""

    ids: list[int]
    source: list[int]
    alignment: list[int]
    bos: list[int]


@dataclass
class Kept:
    """What a plain model has said: the reference is slow, and whatever engine is tested, it says the same again."""

    clean: dict[tuple[int, ...], tuple[Tensor, Activations]] = field(default_factory=dict)
    logits: dict[tuple[object, ...], Tensor] = field(default_factory=dict)


@dataclass
class Twin:
    """engine: what is tested. plain: the same weights in transformers' own class, eager attention."""

    engine: Engine
    plain: Any
    tokenizer: Any
    bridge: Any
    kept: Kept = field(default_factory=Kept)

    def answers(self, session: Session, *lines: str) -> list[tuple[Answer, Answer | None]]:
        """(clean, edited) for each question line."""
        opened = self.engine.open(session)
        final = []
        for line in lines:
            *_, (clean, edited, partial) = opened.answer(parse_question(line))
            assert not partial
            final.append((clean, edited))
        return final

    def tokens(self, session: Session) -> Text:
        opened = self.engine.open(session)
        ids = list(opened.ids)
        typed = self.text_ids(session.prompt, ())
        bos = ids[: len(ids) - len(typed)]
        assert ids == [*bos, *typed]
        return Text(ids, list(opened.source_ids), list(opened.alignment), bos)

    def clean(self, ids: Sequence[int]) -> tuple[Tensor, Activations]:
        """The plain model's run without edits."""
        key = tuple(ids)
        if key not in self.kept.clean:
            self.kept.clean[key] = run(self.plain, ids)
        return self.kept.clean[key]

    def text_ids(self, text: str, bos: Sequence[int]) -> list[int]:
        return [*bos, *self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def vector(self, vector: Vector, bos: Sequence[int]) -> np.ndarray:
        """The vector [d_model] by the plain model's numbers. A principal direction's sign is arbitrary."""

        def read(text: str) -> np.ndarray:
            kept = self.clean(self.text_ids(text, bos))[1]
            rows = kept[vector.part, vector.layer].numpy().astype(np.float64)
            return rows.mean(axis=0) if vector.position is None else rows[vector.position]

        match vector.source:
            case "diff":
                made = np.mean([read(a) - read(b) for a, b in vector.pairs], axis=0)
            case "pca":
                rows = np.stack([read(text) for text in vector.texts])
                made = np.linalg.svd(rows - rows.mean(axis=0))[2][0]
            case "neuron":
                made = self._w_out(vector.layer)[vector.index].numpy()
            case "token":
                (token,) = self.text_ids(vector.texts[0], ())
                made = self.plain.lm_head.weight[token].detach().numpy()
            case source:
                raise AssertionError(f"{source} has no plain counterpart")
        if vector.unit:
            made = made / np.linalg.norm(made)
        return np.asarray(made, dtype=np.float32)

    def _w_out(self, layer: int) -> Tensor:
        """[d_mlp, d_model]."""
        if hasattr(self.plain, "transformer"):
            return self.plain.transformer.h[layer].mlp.c_proj.weight.detach()
        return self.plain.model.layers[layer].mlp.down_proj.weight.detach().T

    def expected(self, session: Session, edits: Sequence[Edit] | None = None) -> Tensor:
        """Logits [pos, vocab] that the reference gives for the session's edits that are on."""
        text = self.tokens(session)
        acting = tuple(session.edits if edits is None else edits)
        # The logits depend on these alone.
        key = (acting, session.vectors, *map(tuple, (text.ids, text.source, text.alignment, text.bos)))
        if key not in self.kept.logits:
            self.kept.logits[key] = run(
                self.plain,
                text.ids,
                acting,
                source_ids=text.source or None,
                alignment=text.alignment or None,
                vectors={v.name: self.vector(v, text.bos) for v in session.vectors},
                texts=[self.tokenizer.decode([i]) for i in text.ids],
            )[0]
        return self.kept.logits[key]

    def check(self, session: Session, *, matters: bool = True, close: float = CLOSE) -> None:
        """The engine's logits are the reference's. `matters`: the edits change something to speak of."""
        opened = self.engine.open(session)
        assert not opened.problems, opened.problems
        expected = self.expected(session)
        edited = opened.edited
        assert edited is not None
        torch.testing.assert_close(edited.logits().float(), expected, atol=close, rtol=0)
        if matters:
            plain = self.expected(session, edits=())
            assert (expected - plain).abs().max() > 10 * CLOSE, "these edits change nothing, so nothing was tested"


@cache
def _plain(folder: Path) -> tuple[Any, Any, Kept]:
    """transformers' own model and tokenizer of a folder, which nobody changes, and what the model has said."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder), Kept()


def make_twin(request: pytest.FixtureRequest, blocks: str = "") -> Twin:
    """The twin of the shape that the fixture's parameter names, "gpt2" or "llama". blocks: what its engine runs."""
    model = request.getfixturevalue(f"{request.param}_model")
    folder = request.getfixturevalue(f"{request.param}_folder")
    with torch.no_grad():
        model.bridge(torch.tensor([[0, 1]]))  # the bridge wires hooks of its own at its first run
    plain, tokenizer, kept = _plain(folder)
    engine = Engine(load_now(folder, directly=True) if blocks == "direct" else model)
    return Twin(engine, plain, tokenizer, bridge=model.bridge, kept=kept)


def count_hooks(bridge: Any) -> int:
    """Every forward hook, pre-hook and backward hook on every module."""
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in bridge.modules()
    )
