"""Two sessions answered one beside the other, and where their numbers differ most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from mechtui.engine.api import Answers, Need, OpenSession, Run, SessionError
from mechtui.none import NONE
from mechtui.session.alignment import align
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.storage import StorageError, load
from mechtui.session.told import told
from mechtui.views import Answer, Question, parse_question, spec_of, specs
from mechtui.views.compare import Compare, CompareAnswer, Compared
from mechtui.views.question import FOLLOWING
from mechtui.views.spec import Cost, Numbers

# Of each run's likeliest next tokens so many are set side by side, and of each table so many places.
TOKENS, PLACES = 3, 3


def needs(question: Compare, opened: OpenSession) -> list[Need]:
    return [need for each in _questions(question, opened) for need in opened.needs_of(each)]


def answers(question: Compare, opened: OpenSession) -> Answers:
    name, session = _other(question, opened.session)
    questions = _questions(question, opened)
    other = opened.open(session, questions)
    wrong = [problem.sentence for problem in other.problems if problem.index < 0 or session.edits[problem.index].on]
    if wrong:
        raise SessionError(f"{name} cannot be run here: {wrong[0]}")
    pairs = _pairs(opened, other)
    # What is on the screen changes no number.
    changes = told(replace(session, views=()), replace(opened.session, views=()))
    both = [(each, _last(each, opened), _last(each, other)) for each in questions]

    def answer(run: int, this: Run, that: Run) -> CompareAnswer:
        numbers = list(_next_tokens(question, opened, other, this, that, pairs))
        left_out: list[str] = []
        for each, mine, its in both:
            # A run without edits answers as the clean one does.
            ours, theirs = (pair[run] or pair[0] for pair in (mine, its))
            if isinstance(ours, Answer) and isinstance(theirs, Answer):
                numbers += _largest(each, ours, theirs, pairs, left_out)
            elif isinstance(ours, Answer) or isinstance(theirs, Answer):
                left_out.append(f"{each.line()}: {next(why for why in (mine[2], its[2]) if why)}")
        return CompareAnswer(name, changes, tuple(numbers), len(pairs), tuple(left_out))

    edited = None
    if opened.edited is not None or other.edited is not None:
        edited = answer(1, opened.edited or opened.clean, other.edited or other.clean)
    yield answer(0, opened.clean, other.clean), edited, False


def _other(question: Compare, session: Session) -> tuple[str, Session]:
    """What the other session is called, and itself. Raises SessionError."""
    if question.other is not None:
        known = question.mark or ("" if question.step is None else f"step {question.step}")
        return known or "the state before", question.other
    if question.model:
        return question.model, replace(session, model=question.model)
    if question.file:
        try:
            return question.file, load(question.file).work()
        except StorageError as error:
            raise SessionError(str(error)) from error
        except LineError as error:
            raise SessionError(f"{question.file}: {error.problem}: {error.line}") from error
    what = f"{question.line()} is a state of the app's history" if question != Compare() else "compare with what?"
    raise SessionError(f'{what}; a session file says it anywhere, as in compare "other.toml"')


def _questions(question: Compare, opened: OpenSession) -> list[Question]:
    """Those whose numbers are compared."""
    lines = [parse_question(line).asked() for line in question.views or opened.session.views]
    found = [each for each in lines if spec_of(each).numbers]
    if not question.views:
        # A view of one head needs a line that says which.
        own = [spec.question() for spec in specs().values() if spec.numbers and spec.cost is not Cost.JOB]
        kinds = {type(each) for each in found}
        named = set(FOLLOWING) - {"position"}
        found += [each for each in own if type(each) not in kinds and not named & set(each.__struct_fields__)]
    return list(dict.fromkeys(found))


def _last(question: Question, opened: OpenSession) -> tuple[Answer | None, Answer | None, str]:
    """A question's final answers, clean and edited, and why there is none."""
    try:
        *_, (clean, edited, _) = opened.answer(question)
    except SessionError as error:
        return None, None, str(error)
    return clean, edited, "" if clean is not None else "it has no answer"


def _pairs(opened: OpenSession, other: OpenSession) -> list[tuple[int, int]]:
    """Positions of this prompt with their partners in the other's, by the tokens' texts."""
    texts = [[token.text for token in each.tokens] for each in (opened, other)]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts[0] + texts[1]))}
    ids = [[numbers[text] for text in each] for each in texts]
    partners = align(ids[0], ids[1])
    return [(place, partner) for place, partner in enumerate(partners) if partner >= 0]


def _next_tokens(
    question: Compare,
    opened: OpenSession,
    other: OpenSession,
    this: Run,
    that: Run,
    pairs: list[tuple[int, int]],
) -> Iterator[Compared]:
    place = opened.position(question.position)
    partner = other.position(-1) if question.position == -1 else dict(pairs).get(place)
    if partner is None:
        raise SessionError(f"position {place} has no partner in the other prompt: look at another token")
    view = "next_tokens" + ("" if question.position == -1 else f" @{question.position}")
    sides = [(opened, this, place), (other, that, partner)]
    diffs, likeliest = [], []
    for session, run, position in sides:
        logits = run.logits([position])[0]
        answer, foil = session.targets_at(position)
        diffs.append(NONE if answer is None or foil is None else float(logits[answer] - logits[foil]))
        probs = logits.softmax(-1)
        likeliest.append((probs, [(id, session.token(id).text) for id in run.best(position, TOKENS)]))
    yield Compared(view, "logit difference", "", diffs[0], diffs[1], "logits")
    ids: dict[str, int] = {}
    for _, best in likeliest:
        for id, text in best:
            ids.setdefault(text, id)
    for text, id in ids.items():
        # Another model may have another vocabulary.
        values = [
            float(probs[id]) if id < len(probs) and session.token(id).text == text else NONE
            for (probs, _), (session, _, _) in zip(likeliest, sides, strict=True)
        ]
        yield Compared(view, text, "", values[0], values[1], "probability")


def _largest(
    question: Question, ours: Answer, theirs: Answer, pairs: Sequence[tuple[int, int]], left_out: list[str]
) -> Iterator[Compared]:
    """Of each table of a view the places where it differs most, the first of them in any case."""
    for numbers in spec_of(question).numbers:
        tables = [_table(each, numbers) for each in (ours, theirs)]
        if any(table is None for table in tables):
            continue
        for axis, name in enumerate(numbers.axes):
            if name in ("position", "query", "key"):
                for side in range(2):
                    places = [pair[side] for pair in pairs]
                    tables[side] = np.take(tables[side], places, axis)
        this, other = tables
        if this.shape != other.shape:
            shapes = " and ".join("x".join(map(str, table.shape)) for table in tables)
            left_out.append(f"{question.line()} {numbers.what}: tables of {shapes} cannot be set side by side")
            continue
        difference = np.abs(this - other)
        if np.isnan(difference).all():
            continue
        for rank, flat in enumerate(np.argsort(-difference, axis=None, kind="stable")[:PLACES]):  # nan is last
            at = tuple(map(int, np.unravel_index(flat, difference.shape)))
            differs = bool(difference[at] > 0)
            if rank and not differs:
                break
            # Where nothing differs there is no place to name.
            where = _place(ours, numbers, at, pairs) if differs else ""
            yield Compared(question.line(), numbers.what, where, float(this[at]), float(other[at]), numbers.unit)


def _table(answer: Answer, numbers: Numbers) -> Any:
    """The numbers as an array; None where this answer has none of them."""
    value: Any = answer
    for name in numbers.field.split("."):
        value = getattr(value, name, None)
    return None if value is None else np.asarray(value, dtype=np.float64)


def _place(answer: Answer, numbers: Numbers, at: tuple[int, ...], pairs: Sequence[tuple[int, int]]) -> str:
    """`L3H5`, `L2.post @7`, `@14>@2`."""
    words = []
    for axis, index in zip(numbers.axes, at, strict=True):
        match axis:
            case "layer":
                words.append(f"L{index}")
            case "head":
                words.append(f"H{index}")
            case "position" | "query":
                words.append(f"{' ' if words else ''}@{pairs[index][0]}")
            case "key":
                words.append(f">@{pairs[index][0]}")
            case _:
                words.append(str(getattr(answer, axis)[index]))
    return "".join(words)
