"""`:cases ioi 64 seed1`, `:cases "FILE"`, `:cases none`: the prompts over which the session is judged, too."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.app.desk import Desk
from mechtui.app.line import Mistake, Suggestion
from mechtui.panes.picture import OVER
from mechtui.session.case_templates import built_in
from mechtui.session.grammar.cases import COUNT, check_cases
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question

NAME = OVER.line()
NONE = "none"


def names_cases(text: str) -> bool:
    """Whether a text names cases, rather than an order in which they are listed."""
    if not text.strip().startswith(f"{NAME} "):
        return False
    try:
        parse_question(text)
    except LineError:
        return True
    return False


def take(desk: Desk, text: str) -> Mistake | None:
    """Name them, and go to their list."""
    at = text.index(NAME) + len(NAME) + 1
    line = text[at:]
    try:
        cases = "" if line.strip() == NONE else check_cases(line)
    except LineError as error:
        return Mistake(error.problem, at + error.column)
    if cases != desk.session.cases:
        desk.change(replace(desk.session, cases=cases))
    if cases:
        desk.go(NAME)
    return None


def suggest(text: str) -> list[Suggestion]:
    """What may stand in such a line next."""
    head, blank, word = text.lstrip().rpartition(" ")
    words = head.split()
    if not blank or words[:1] != [NAME]:
        return []
    if len(words) == 1:
        choices = {f"{name} {COUNT}": family.about for name, family in built_in().items()}
        choices |= {'"': "a file: .jsonl or .csv with prompt, source, answer, foil", NONE: "no cases"}
    elif words[1] in built_in():
        choices = {"64": "how many", "seed1": "which ones", '"': "a file with templates of one's own, .toml"}
    else:
        choices = {}
    return [
        Suggestion(each, note, line=f"{head} {each}")
        for each, note in choices.items()
        if each.startswith(word) and each != word and each not in words
    ]
