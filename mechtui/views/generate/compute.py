"""Continuing the prompt, clean and edited side by side, a token at a time on kept keys and values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession
from mechtui.session.document import Token
from mechtui.views.generate import Generate, GenerateAnswer


def needs(question: Generate, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Generate, opened: OpenSession) -> Answers:
    """A pair after every token; the shorter one waits for the longer."""
    clean = _continued(question, opened, edited=False)
    edited = _continued(question, opened, edited=True) if opened.edited is not None else None
    pair: list[GenerateAnswer | None] = [next(clean), next(edited) if edited is not None else None]
    while not all(answer is None or answer.done for answer in pair):
        yield pair[0], pair[1], True
        for number, stream in enumerate((clean, edited)):
            if stream is not None:
                pair[number] = next(stream, pair[number])
    yield pair[0], pair[1], False


def _continued(question: Generate, opened: OpenSession, edited: bool) -> Iterator[GenerateAnswer]:
    run = opened.edited if edited else opened.clean
    assert run is not None
    draw = np.random.default_rng(question.seed)
    tokens: list[Token] = []
    while True:
        if len(tokens) == question.count:
            yield GenerateAnswer(tuple(tokens), True, "")
            return
        if len(run.ids) >= opened.shape.n_ctx:
            yield GenerateAnswer(tuple(tokens), True, f"the model reads no more than {opened.shape.n_ctx} tokens")
            return
        yield GenerateAnswer(tuple(tokens), False)
        logits = run.logits([-1])[0]
        if not bool(logits.isfinite().all()):
            yield GenerateAnswer(tuple(tokens), True, "the numbers are no longer finite")
            return
        id = choose(logits, question.temperature, question.top_p, draw)
        if id == opened.eos_id:
            yield GenerateAnswer(tuple(tokens), True, "end of text")
            return
        tokens.append(opened.token(id))
        ids = (*run.ids, id)
        edits = tuple(
            each
            for edit in (opened.applied if edited else ())
            for each in opened.hook_edits_of(edit, ids, question.everywhere)
        )
        run = run.continued(id, edits)


def choose(logits: Tensor, temperature: float, top_p: float, draw: np.random.Generator) -> int:
    """A token id: the best at temperature 0, else drawn from the smallest set of tokens that holds top_p."""
    if temperature == 0:
        return int(logits.argmax())
    probs, ids = torch.softmax(logits.double() / temperature, dim=-1).sort(descending=True)
    before = probs.cumsum(-1) - probs
    probs = torch.where(before < top_p, probs, 0)
    at = int(np.searchsorted(probs.cumsum(-1).cpu().numpy(), draw.random() * float(probs.sum()), side="right"))
    return int(ids[min(at, len(ids) - 1)])
