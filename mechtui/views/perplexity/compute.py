"""A text file's loss, clean and edited, window by window; what was read stays with the session's runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from msgspec.structs import replace

from mechtui.engine.api import Answers, EditError, Ids, Need, OpenSession, Run, SessionError, in_order
from mechtui.none import NONE
from mechtui.session.document import Edit
from mechtui.session.grammar.edits import format_edit
from mechtui.session.paths import MOST_TEXT, PathError, read_text
from mechtui.views.perplexity import EXAMPLE, WINDOW, Perplexity, PerplexityAnswer

# Characters of a text; what is longer is read in parts.
MOST = 16_000_000
# Answers on the way; the last comes when all is read.
PARTS = 100
# Positions unembedded at once: 64 rows of a 50,000-token vocabulary are 13 MB.
POSITIONS = 64
# Tokens of a window that are named.
NAMED = 8


def needs(question: Perplexity, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Perplexity, opened: OpenSession) -> Answers:
    plan = _plan(question, opened)
    acting, left_out = _acting(opened, plan)
    sides = [_Side(opened, opened.clean, (), plan, left_out)]
    if acting and opened.edited is not None:
        sides.append(_Side(opened, opened.edited, acting, plan, left_out))

    def answer(more: bool) -> tuple[PerplexityAnswer, PerplexityAnswer | None, bool]:
        return sides[0].answer(), sides[1].answer() if len(sides) > 1 else None, more

    count = len(plan.windows)
    first = min(len(side.loss) for side in sides)
    if first:
        yield answer(first < count)
    for number in range(first, count):
        base: Run | None = None
        for side in sides:
            if len(side.loss) == number:
                base = side.read(number, base)
        opened.progress((number + 1) / count)
        if number + 1 == count or (number + 1) % max(count // PARTS, 1) == 0:
            yield answer(number + 1 < count)


@dataclass(frozen=True)
class _Window:
    """ids: what is read. first: the place in it of the first token that counts; all behind it do."""

    ids: Ids
    first: int

    @property
    def count(self) -> int:
        return len(self.ids) - self.first


@dataclass(frozen=True, eq=False)
class _Plan:
    """key: what decides the numbers besides the model and the edits."""

    windows: list[_Window]
    window: int
    stride: int
    key: tuple[object, ...]


def _plan(question: Perplexity, opened: OpenSession) -> _Plan:
    """Raises SessionError."""
    if not question.file:
        raise SessionError(f"which text? write {EXAMPLE}", "a text file")
    try:
        text = read_text(question.file, MOST_TEXT)
    except PathError as error:
        raise SessionError(str(error)) from error
    if len(text) > MOST:
        raise SessionError(f"{question.file} has {len(text):,} characters, and a text of {MOST:,} is the longest")
    front, ids = opened.text_ids(text, question.file)
    name, most = opened.ready.name, opened.shape.n_ctx
    window = question.window or min(WINDOW, most)
    if window > most:
        raise SessionError(f"window{window} is too long: {name} reads {most:,} tokens")
    # The first token of a window has nothing before it unless BOS stands there.
    largest = window - 1
    if not largest:
        raise SessionError(f"{name} reads one token at a time: a window needs two, the second has one before it")
    stride = question.stride or max(window // 2, 1)
    if stride > largest:
        raise SessionError(f"stride{stride} is too long for windows of {window}: {largest} is the longest")
    windows, counted = [], 0 if front else 1
    for begin in range(0, max(len(ids), 1), stride):
        end = min(begin + window - len(front), len(ids))
        if end > counted:
            windows.append(_Window((*front, *ids[begin:end]), len(front) + counted - begin))
        counted = max(end, counted)
        if end == len(ids):
            break
    if not windows:
        raise SessionError(f"{question.file} has {len(ids)} tokens, none of which has one before it")
    return _Plan(windows, window, stride, (question.file, text, window, stride, front))


def _acting(opened: OpenSession, plan: _Plan) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """The edits that are on and mean something on another text; the others, with the reason."""
    acting, left_out = [], []
    for edit in opened.applied:
        try:
            opened.hook_edits_elsewhere(edit, plan.windows[0].ids)
            acting.append(edit)
        except EditError as error:
            left_out.append(f"{format_edit(edit)}: {error}")
    return tuple(acting), tuple(left_out)


class _Side:
    """The text with some edits. run: the prompt's run with them, which remembers what was read."""

    def __init__(
        self, opened: OpenSession, run: Run, edits: Sequence[Edit], plan: _Plan, left_out: tuple[str, ...]
    ) -> None:
        self.opened, self.edits, self.plan, self.left_out = opened, edits, plan, left_out
        count = len(plan.windows)
        empty = PerplexityAnswer(
            np.full(count, NONE, dtype=np.float32),
            np.array([window.count for window in plan.windows], dtype=np.int32),
            tuple(self._text(window) for window in plan.windows),
            count,
            sum(window.count for window in plan.windows),
            plan.window,
            plan.stride,
        )
        # What edits are on this text, not how their lines say it, decides the numbers.
        made = in_order(each for edit in edits for each in opened.hook_edits_elsewhere(edit, plan.windows[0].ids))
        kept = run.remembered(Perplexity, (plan.key, made), lambda: empty)
        assert isinstance(kept, PerplexityAnswer)
        self._kept = kept
        known = np.flatnonzero(np.isnan(kept.loss))
        self.loss = kept.loss[: known[0] if len(known) else count].tolist()

    def _text(self, window: _Window) -> str:
        tokens = (self.opened.token(id) for id in window.ids[window.first : window.first + NAMED])
        return "".join(token.text for token in tokens)

    def answer(self) -> PerplexityAnswer:
        kept, done = self._kept, len(self.loss)
        return replace(
            kept,
            loss=np.where(np.isinf(kept.loss[:done]), np.float32(np.nan), kept.loss[:done]),
            counts=kept.counts[:done],
            texts=kept.texts[:done],
            left_out=self.left_out,
        )

    @torch.inference_mode()
    def read(self, number: int, base: Run | None) -> Run:
        """Read a window. base: its clean run, if it has just run; the edited one resumes from it."""
        opened, window = self.opened, self.plan.windows[number]
        edits = tuple(each for edit in self.edits for each in opened.hook_edits_elsewhere(edit, window.ids))
        run = opened.run_once(window.ids, edits, base)
        total = 0.0
        for begin in range(window.first, len(window.ids), POSITIONS):
            end = min(begin + POSITIONS, len(window.ids))
            logits = run.logits(slice(begin - 1, end - 1))
            came = torch.tensor(window.ids[begin:end], device=logits.device)[:, None]
            total += float((logits.logsumexp(-1) - logits.gather(-1, came)[:, 0]).double().sum())
        # Not a number would be one that was not read yet.
        self._kept.loss[number] = total / window.count if math.isfinite(total) else math.inf
        self.loss.append(float(self._kept.loss[number]))
        return run
