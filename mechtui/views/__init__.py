"""One folder per question that can be asked of a run.

<view>/__init__.py  the question and its answer, pure data: QUESTION and ANSWER name the two structs
<view>/compute.py   the answer from a run (torch; model process only)
<view>/pane.py      the answer on the screen (textual; UI process only)

A new view is a new folder: this module finds it.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any, Union

from mechtui.session.lines import LineError, cut, short
from mechtui.views.question import Answer, Question


@cache
def folders() -> dict[str, ModuleType]:
    """Name -> the view's data module, for every folder here that is a view."""
    modules = {
        info.name: importlib.import_module(f"{__name__}.{info.name}")
        for info in pkgutil.iter_modules(__path__)
        if info.ispkg
    }
    return {name: module for name, module in sorted(modules.items()) if hasattr(module, "QUESTION")}


def question_types() -> Any:
    """The union of all questions, for decoding."""
    return Union[tuple(module.QUESTION for module in folders().values())]  # noqa: UP007 - made at run time


def answer_types() -> Any:
    """The union of all answers, for decoding."""
    return Union[tuple(module.ANSWER for module in folders().values())]  # noqa: UP007 - made at run time


def parse_question(line: str) -> Question:
    """A question line (`attention L9H9`, `next_tokens @-1 top20`) -> its struct. Raises LineError."""
    words = cut(line)
    name = words[0][0] if words else ""
    module = folders().get(name)
    if module is None:
        names = tuple(folders())
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise LineError(
            line, 0, f"{short(name) or 'nothing'} is not a question; {hint}questions are {', '.join(names)}"
        )
    question: Question = module.QUESTION.parse(line, line.strip()[len(name) :].strip())
    return question


def check_questions(lines: Iterable[str]) -> None:
    """Raises LineError for the first that means nothing."""
    for line in lines:
        parse_question(line)


__all__ = ["Answer", "Question", "answer_types", "check_questions", "folders", "parse_question", "question_types"]
