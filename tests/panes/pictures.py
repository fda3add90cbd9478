"""Pictures for the panes: answers built from seeded numbers, and an app that holds one pane."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from mechtui.link.messages import Answered, Ready
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.session.document import ModelShape, Session, Token
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.history import History, LogitDiff, Tree
from mechtui.views import put
from mechtui.views.attention import Attention, AttentionAnswer
from mechtui.views.effects import Effects, EffectsAnswer
from mechtui.views.example import Example
from mechtui.views.generate import Generate, GenerateAnswer
from mechtui.views.heads import Heads, HeadsAnswer
from mechtui.views.next_tokens import Candidate, NextTokens, NextTokensAnswer
from mechtui.views.question import FOLLOWING
from mechtui.views.residual import Residual, ResidualAnswer
from mechtui.views.tokens import TokensAnswer
from mechtui.views.vectors import VectorMeaning, Vectors, VectorsAnswer

WORDS = ["When", " Mary", " and", " John", " went", " to", " the", " store", ",", "\n", "\t", " 中文", "😀", "[b]x[/b]"]


def shape(layers: int = 12, heads: int = 12) -> ModelShape:
    return ModelShape(layers, heads, heads, 64, 64 // 4, 256, 50257, 1024)


def ready(layers: int = 12, heads: int = 12) -> Ready:
    return Ready("gpt2", "gpt2", shape(layers, heads), "cpu", "float32", "raw", "<|endoftext|>", True, "GPT2", 1.0)


def tokens(count: int) -> tuple[Token, ...]:
    return tuple(Token(i, WORDS[i % len(WORDS)], "e4b8" if i % 17 == 16 else "") for i in range(count))


def table(rng: np.random.Generator, count: int) -> np.ndarray:
    raw = np.exp(rng.normal(size=(count, count)) * 2).astype(np.float32)
    raw[np.triu_indices(count, 1)] = np.nan
    return raw / np.nansum(raw, axis=1, keepdims=True) if count else raw


def candidates(rng: np.random.Generator, count: int) -> tuple[Candidate, ...]:
    logits = np.sort(rng.normal(size=count) * 3)[::-1]
    probs = np.exp(logits) / np.exp(logits).sum() * 0.9
    names = [Token(100 + int(i), f" w{i}") for i in rng.permutation(count)]
    return tuple(
        Candidate(t, float(x), float(p), i) for i, (t, x, p) in enumerate(zip(names, logits, probs, strict=True))
    )


def picture(
    seed: int = 0,
    count: int = 14,
    layers: int = 12,
    heads: int = 12,
    edited: bool = True,
    focus: Focus | None = None,
    source: bool = False,
    stale: bool = False,
    what: str = "pattern",
    edits: tuple[str, ...] = ("zero L9H9 @-1", "# scale L10H7 x0", "add L6.pre love x5"),
) -> Picture:
    """A whole picture: every question answered, clean and (with `edited`) edited."""
    rng = np.random.default_rng(seed)
    focus = focus or Focus()
    session = Session(
        prompt="x",
        edits=tuple(parse_edit(line) for line in edits),
        vectors=(parse_vector('love = diff L6.pre "Love" "Hate"'), parse_vector("w = neuron L5N11")),
    )
    place = focus.position % count if count else 0

    def heads_answer() -> HeadsAnswer:
        return HeadsAnswer("entropy", place, rng.uniform(0, 3, (layers, heads)).astype(np.float32))

    def residual_answer() -> ResidualAnswer:
        sites = (*(f"L{i}.pre" for i in range(layers)), f"L{layers - 1}.post")
        norm = rng.uniform(5, 500, (layers + 1, count)).astype(np.float32)
        writes = [rng.uniform(0, 50, (layers, count)).astype(np.float32) for _ in range(2)]
        return ResidualAnswer(sites, norm, *writes)

    def next_answer() -> NextTokensAnswer:
        top = candidates(rng, 10)
        return NextTokensAnswer(place, top, top, top[0], top[1], False, top[0].logit - top[1].logit, 1.5)

    def generated() -> GenerateAnswer:
        return GenerateAnswer(tokens(20)[int(rng.integers(3)) :], True, "the count is reached")

    found = []
    layer, head = 9 % layers, 9 % heads
    for question, make in (
        (Heads(), heads_answer),
        (Attention(layer, head), lambda: AttentionAnswer(what, table(rng, count))),
        (Residual(), residual_answer),
        (NextTokens(), next_answer),
        (Generate(), generated),
    ):
        found.append(Answered(1, question, make(), make() if edited else None, 1.0))
    effects = tuple(float(x) for x in rng.normal(size=len(edits)) * 4)
    found.append(Answered(1, Effects(), EffectsAnswer(5.0, effects, (None,) * len(edits), count - 1), None, 1.0))
    meanings = (
        VectorMeaning("love", 12.0, 60.0, ((Token(1, " love"), 0.3),), ((Token(2, " hate"), -0.2),), layer=6),
        VectorMeaning("w", problem="there is no neuron 11"),
    )
    found.append(Answered(1, Vectors(), VectorsAnswer(meanings), None, 1.0))
    surprise = rng.uniform(0, 12, count).astype(np.float32)
    surprise[:1] = np.nan
    other = tokens(count + 1) if source else ()
    alignment = tuple(i if i % 5 else -1 for i in range(count)) if source else ()
    answer = TokensAnswer(tokens(count), 0, surprise, other, alignment)
    return Picture(session, focus, ready(layers, heads), answer, tuple(found), (), stale)


def states(session: Session) -> Tree:
    """A history with branches, a mark and what a model said; the last state is the session with a longer prompt."""
    first = replace(session, edits=(), views=())
    history = History(first, now=lambda: 1_600_000_000.0)
    history.note(LogitDiff(3.12))
    history.change(replace(first, edits=(parse_edit("zero L9H9 @-1"),)))
    history.note(LogitDiff(3.12, 0.44))
    history.mark("no name mover")
    history.change(replace(first, edits=tuple(map(parse_edit, ("zero L9H9 @-1", "scale L10H7 x0")))))
    history.jump(0)
    history.change(replace(first, edits=(parse_edit("mean L9H6"),)))
    history.note(LogitDiff(3.12, -2.75))
    history.change(replace(first, edits=(parse_edit("# mean L9H6"),)))
    history.undo()
    history.change(replace(history.present, prompt=f"{first.prompt} the"))
    history.note(LogitDiff(2.5, 1.0, 3))
    return history.tree


def pictured(example: Example, focus: Focus | None = None, stale: bool = False) -> Picture:
    """A view's example as its pane sees it: the session has its line, and the screen looks at what it asks about."""
    question, count = example.question, len(example.tokens)
    model = Ready("gpt2", "gpt2", example.shape, "cpu", "float32", "raw", "<|endoftext|>", True, "GPT2", 1.0)
    tokens = TokensAnswer(tuple(example.tokens), 0, np.full(count, np.nan, dtype=np.float32))
    if isinstance(example.clean, TokensAnswer):
        tokens = example.clean
    at = {name: getattr(question, name) for name in FOLLOWING if hasattr(question, name)}
    answered = (Answered(1, question.asked(), example.clean, example.edited, 1.0),)
    return Picture(
        put(example.session, question),
        focus or Focus(**at),
        model,
        tokens,
        answered,
        (),
        stale,
        tree=states(example.session),
    )


class Holder(App[None]):
    """One pane as wide and high as the terminal; takes up each new focus as the real app does."""

    def __init__(self, pane: Pane) -> None:
        super().__init__()
        self.pane = pane
        self.looked: list[Focus] = []

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_pane_look(self, message: Pane.Look) -> None:
        self.looked.append(message.focus)
        if self.pane.picture is not None:
            self.pane.show(replace(self.pane.picture, focus=message.focus))


async def resized(pilot: Pilot[None], columns: int, rows: int) -> None:
    """The terminal of a `Holder` has this size, and its pane too."""
    app = pilot.app
    assert isinstance(app, Holder)
    if app.size == (columns, rows):
        return
    await pilot.resize_terminal(columns, rows)
    for _ in range(100):
        await pilot.pause()
        if app.pane.outer_size == (columns, rows):
            return
    raise AssertionError(f"the pane never had {columns} columns and {rows} rows")


def pressed(pane: Pane, keys: str) -> Picture:
    """The pane's picture after `s` (what it shows) and `c` (which run), and the pane shows it."""
    for key in keys:
        assert pane.picture is not None
        question = pane.next() if key == "s" else pane.next_run()
        pane.show(replace(pane.picture, session=put(pane.picture.session, question)))
    assert pane.picture is not None
    return pane.picture


def shown(pane: Pane) -> list[str]:
    """The text of every line on the screen."""
    return [pane.render_line(y).text for y in range(pane.size.height)]
