"""One folder per question that can be asked of a run.

<view>/__init__.py  the question, its answer, and SPEC: all that is said of the view, pure data
<view>/compute.py   the answer from a run (torch; model process only)
<view>/pane.py      the answer on the screen, PANE (textual; UI process only)
<view>/script.py    `lines()`: the answer in TransformerLens code, for exported programs
<view>/example.py   `example()`: a question with answers made by hand, for tests and pictures
<view>/tables.py    `tables()`: the answer's numbers with their names and units, for files and reports; may be left out

A new view is a new folder: this module finds it, here or where the user keeps views of their own (mechtui.views.own).
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, Union

from msgspec.structs import replace

from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError, cut, short
from mechtui.views import own
from mechtui.views.own import ViewError
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Cost, View

if TYPE_CHECKING:
    from mechtui.views.example import Example


@cache
def specs() -> dict[str, View]:
    """Name -> what is known of the view, for every folder here and those of the user's own. Raises ViewError."""
    here = {info.name: info.ispkg for info in pkgutil.iter_modules(__path__)}
    views = {name: importlib.import_module(f"{__name__}.{name}").SPEC for name in sorted(here) if here[name]}
    theirs = own.names(set(here))
    # From now on their modules have names as if they stood here, in both processes.
    __path__.extend(own.folders())
    for name, folder in sorted(theirs.items()):
        path = f"{folder}/{name}"
        try:
            module = importlib.import_module(f"{__name__}.{name}")
        except Exception as error:
            raise ViewError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
        views[name] = own.checked(name, path, module, views)
    return views


def spec_of(question: Question) -> View:
    """The view that a question belongs to."""
    return specs()[str(question.__struct_config__.tag)]


def cost_of(question: Question) -> Cost:
    """When it is asked for: with its view's others, or with the jobs."""
    return Cost.JOB if question.many_runs else spec_of(question).cost


def question_types() -> Any:
    """The union of all questions, for decoding."""
    return Union[tuple(view.question for view in specs().values())]  # noqa: UP007 - made at run time


def answer_types() -> Any:
    """The union of all answers, for decoding."""
    return Union[tuple(view.answer for view in specs().values())]  # noqa: UP007 - made at run time


def example_of(name: str) -> Example:
    """The example of the view with this name."""
    example: Example = importlib.import_module(f"{__name__}.{name}.example").example()
    return example


def parse_question(line: str) -> Question:
    """A question line (`attention L9H9`, `next_tokens @-1 top20`) -> its struct. Raises LineError."""
    words = cut(line)
    name = words[0][0] if words else ""
    view = specs().get(name)
    if view is None:
        names = tuple(specs())
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise LineError(
            line, 0, f"{short(name) or 'nothing'} is not a question; {hint}questions are {', '.join(names)}"
        )
    return view.question.parse(line, line.strip()[len(name) :].strip())


Kind = TypeVar("Kind", bound=Question)


def state(views: tuple[str, ...], kind: type[Kind]) -> Kind:
    """What a view's pane shows: the first line of its kind among a session's, else what the view's name alone says."""
    found = _states(views).get(kind)
    return found if isinstance(found, kind) else kind()


@lru_cache(64)
def _states(views: tuple[str, ...]) -> dict[type[Question], Question]:
    states: dict[type[Question], Question] = {}
    for line in views:
        # A line that means nothing, as another version may have kept, counts as none.
        with suppress(LineError):
            question = parse_question(line)
            states.setdefault(type(question), question)
    return states


def put(session: Session, question: Question) -> Session:
    """The session with this line in place of the first of its kind; without it where the view's name says as much."""
    kind, name = type(question), spec_of(question).name
    at = next((i for i, line in enumerate(session.views) if line.split()[:1] == [name]), len(session.views))
    new = () if question.unfocused() == kind().unfocused() else (question.line(),)
    return replace(session, views=(*session.views[:at], *new, *session.views[at + 1 :]))


def named_dictionaries(session: Session, questions: Iterable[Question]) -> tuple[str, ...]:
    """What the session calls the dictionaries of features that its lines and these questions name, each once; empty for
    its first."""
    names = [edit.site.sae for edit in session.edits if edit.site.kind == "feature"]
    names += [vector.sae for vector in session.vectors if vector.source == "feature"]
    # What a job found before is shown without asking for it again.
    jobs = [question for question in _states(session.views).values() if question.costly]
    names += [name for question in (*questions, *jobs) for name in question.saes]
    return tuple(dict.fromkeys(names))


def for_model(session: Session, model: str) -> Session:
    """The session on another model. What narrowed the lists of heads and words was of the model before."""
    return replace(session, model=model, views=tuple(map(_whole, session.views)))


def _whole(line: str) -> str:
    with suppress(LineError):
        question = parse_question(line)
        if question != question.for_model():
            return question.for_model().line()
    return line


def check_questions(lines: Iterable[str]) -> None:
    """Raises LineError for the first that means nothing."""
    for line in lines:
        parse_question(line)


__all__ = [
    "Answer",
    "Question",
    "View",
    "ViewError",
    "answer_types",
    "check_questions",
    "cost_of",
    "example_of",
    "for_model",
    "parse_question",
    "put",
    "question_types",
    "spec_of",
    "specs",
    "state",
]
