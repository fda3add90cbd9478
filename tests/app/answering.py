"""A link whose answers are seeded numbers of the right shapes, and an app on it. Nothing here waits."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import numpy as np
from textual.pilot import Pilot

from mechtui.app.app import Mechtui
from mechtui.app.keeping import Keeper
from mechtui.config import Settings
from mechtui.link.messages import (
    Answered,
    Ask,
    Checked,
    Finished,
    Load,
    ModelFound,
    Models,
    ModelsFound,
    Ready,
    Reply,
    Request,
    Started,
)
from mechtui.session.document import ModelShape, Session, Token
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import Answer, Question, example_of, spec_of
from mechtui.views.attention import Attention, AttentionAnswer
from mechtui.views.effects import Effects, EffectsAnswer
from mechtui.views.generate import Generate, GenerateAnswer
from mechtui.views.heads import Heads, HeadsAnswer
from mechtui.views.next_tokens import Candidate, NextTokens, NextTokensAnswer
from mechtui.views.residual import Residual, ResidualAnswer
from mechtui.views.tokens import Tokens, TokensAnswer
from mechtui.views.vectors import VectorMeaning, Vectors, VectorsAnswer
from tests.fakes import FakeLink

# Seconds: for what other threads do, too.
PATIENCE = 60.0
PROMPT = "When Mary and John went to the store, John gave a drink to"
NAMES = (" Mary", " the", " John", " his", " her", " a", " them", " him", " Jane", " an", " each", " some")


def shape(layers: int = 12, heads: int = 12) -> ModelShape:
    return ModelShape(layers, heads, heads, 768, 64, 3072, 50257, 1024)


def ready(name: str = "gpt2", layers: int = 12, heads: int = 12) -> Ready:
    return Ready(
        name, name, shape(layers, heads), "cpu", "float32", "raw", "<|endoftext|>", False, "GPT2", 2.0, place=name
    )


def split(text: str) -> tuple[Token, ...]:
    """Words with the space before them, as byte-pair vocabularies have them."""
    return tuple(Token(len(word) * 31, word) for word in re.findall(r" ?\w+|[^\w\s]|\s", text))


class Model:
    """Answers by seed: the same session has the same numbers, an edit changes them."""

    def __init__(self, layers: int = 12, heads: int = 12) -> None:
        self.layers, self.heads = layers, heads
        self.asks: list[Ask] = []
        self.mute = False

    def respond(self, request: Request) -> list[Reply]:
        match request:
            case Load():
                model = ready(request.model or "gpt2", self.layers, self.heads)
                return [model, Checked(model.name, {"logits": 0.0}, 1e-4)]
            case Models():
                found = ModelFound("gpt2", "cache", 548_000_000, "12 layers"), ModelFound("demo", "embedded", 5_000_000)
                return [ModelsFound(found)]
            case Ask():
                self.asks.append(request)
                return [] if self.mute else self.answers(request)
            case _:
                return []

    def answers(self, ask: Ask) -> list[Reply]:
        replies: list[Reply] = [Started(ask.generation)]
        edited = bool(ask.session.active_edits())
        for question in ask.questions:
            clean = self.answer(question, ask.session, 0)
            other = self.answer(question, ask.session, 1 + len(ask.session.active_edits())) if edited else None
            replies.append(Answered(ask.generation, question, clean, other, 1.0))
        return [*replies, Finished(ask.generation, 41.0, "0..11 of 12")]

    def answer(self, question: Question, session: Session, seed: int) -> Answer:
        tokens = split(session.prompt)
        count = len(tokens)
        rng = np.random.default_rng([seed, count])

        def numbers(*size: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
            return rng.uniform(low, high, size).astype(np.float32)

        match question:
            case Tokens():
                surprise = numbers(count, high=9)
                surprise[:1] = np.nan
                source = split(session.source)
                alignment = tuple(i if i < len(source) else -1 for i in range(count)) if source else ()
                return TokensAnswer(tokens, 0, surprise, source, alignment)
            case Heads():
                place = question.position % max(count, 1)
                return HeadsAnswer(question.summary, place, numbers(self.layers, self.heads, high=np.log(place + 1)))
            case Attention():
                raw = np.exp(rng.normal(size=(count, count)) * 2).astype(np.float32)
                raw[np.triu_indices(count, 1)] = np.nan
                return AttentionAnswer(question.what, raw / np.nansum(raw, axis=1, keepdims=True))
            case Residual():
                sites = (*(f"L{i}.pre" for i in range(self.layers)), f"L{self.layers - 1}.post")
                growth = np.linspace(5, 60, len(sites), dtype=np.float32)[:, None]
                norm = growth * numbers(len(sites), count, low=0.7, high=1.3)
                return ResidualAnswer(
                    sites, norm, numbers(self.layers, count, high=9), numbers(self.layers, count, high=9)
                )
            case NextTokens():
                logits = np.sort(rng.normal(size=len(NAMES)) * 2 + 14)[::-1]
                probs = np.exp(logits) / np.exp(logits).sum()
                order = rng.permutation(len(NAMES))
                top = tuple(
                    Candidate(Token(int(i), NAMES[i]), float(logit), float(prob), rank)
                    for rank, (i, logit, prob) in enumerate(zip(order, logits, probs, strict=True))
                )
                by_text = {candidate.token.text: candidate for candidate in top}
                answer, foil = by_text[" Mary"], by_text[" John"]
                place = question.position % max(count, 1)
                gap = answer.logit - foil.logit
                return NextTokensAnswer(place, top[: question.top], top, answer, foil, not session.answer, gap, 1.7)
            case Effects():
                return EffectsAnswer(
                    3.5,
                    tuple(float(x) for x in rng.normal(size=len(session.edits)) * 2),
                    position=question.position % max(count, 1),
                )
            case Vectors():
                return VectorsAnswer(
                    tuple(
                        VectorMeaning(
                            vector.name,
                            12.0,
                            60.0,
                            ((Token(1, " love"), 0.3), (Token(2, " joy"), 0.2)),
                            ((Token(3, " hate"), -0.2), (Token(4, " war"), -0.1)),
                            layer=vector.layer,
                        )
                        for vector in session.vectors
                    )
                )
            case Generate():
                words = [NAMES[int(i)] for i in rng.integers(len(NAMES), size=question.count)]
                return GenerateAnswer(
                    tuple(Token(i, word) for i, word in enumerate(words)), True, "the count is reached"
                )
            case _:
                example = example_of(spec_of(question).name)
                return example.clean if seed == 0 or example.edited is None else example.edited


def session(*edits: str, vectors: tuple[str, ...] = (), **fields: str) -> Session:
    from mechtui.session.grammar.edits import parse_edit

    fields = {"model": "gpt2", "prompt": PROMPT, "answer": " Mary", "foil": " John", **fields}
    made = tuple(parse_vector(line) for line in vectors)
    return Session(**fields, edits=tuple(parse_edit(line) for line in edits), vectors=made)


def app(
    start: Session | None = None, model: Model | None = None, keeper: Keeper | None = None, **settings: object
) -> tuple[Mechtui, FakeLink, Model]:
    """keeper: keeps the session; None: nobody does."""
    model = model or Model()
    link = FakeLink(model.respond)
    return Mechtui(start or session(), Settings(**settings), link, keeper=keeper), link, model


async def idle(pilot: Pilot[int], until: Callable[[], bool] = lambda: True) -> None:
    """Wait until every message is handled, and what they led to."""
    app = pilot.app

    def quiet() -> bool:
        """Whether no message is on its way, and every widget is there."""
        return all(
            pump._is_mounted and pump._message_queue.empty() and not pump._next_callbacks
            for pump in (app, *app._registry)
            if not (pump._closing or pump._closed)
        )

    async def stays_quiet() -> bool:
        # A message may post another, which a refresh may follow: some turns pass before all is quiet.
        for _ in range(20):
            if not quiet():
                return False
            await asyncio.sleep(0)
        return True

    def settled() -> bool:
        """Whether the app has nothing due, and what it changed is laid out and painted."""
        screen = app.screen
        waits = screen._layout_required or screen._dirty_widgets or screen._callbacks
        return not waits and (app.settled if isinstance(app, Mechtui) else True)

    end = time.monotonic() + PATIENCE
    while True:
        await pilot.pause()
        if isinstance(app, Mechtui):
            await app.errands.done()
        if isinstance(app, Mechtui) and app.fault is not None:
            raise app.fault
        if not app.is_running or (await stays_quiet() and settled() and until()):
            return
        assert time.monotonic() < end, "the app never came to the state that was waited for"
