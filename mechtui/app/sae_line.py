"""`:sae [NAME =] PATH`, `:sae NAME none`: the dictionaries of features that the session names."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.app.desk import Desk
from mechtui.app.line import Mistake, Suggestion
from mechtui.session import changes
from mechtui.session.document import SaeName, Session
from mechtui.session.grammar.saes import EXAMPLE, given_sae, unknown
from mechtui.session.grammar.words import LineError
from mechtui.views.features import Features

NAME, NONE = "sae", "none"
VIEW = Features().line()


def is_one(text: str) -> bool:
    return text.lstrip().startswith(f"{NAME} ")


def take(desk: Desk, text: str) -> Mistake | None:
    """Name it, and go to its features; or let it go."""
    at = text.index(NAME) + len(NAME) + 1
    line, session = text[at:], desk.session
    words = line.split()
    if len(words) == 2 and words[1] == NONE:
        if session.sae(words[0]) is None:
            return Mistake(f"{unknown(words[0], session.saes)}.", at)
        desk.change(replace(session, saes=tuple(sae for sae in session.saes if sae.name != words[0])))
        return None
    try:
        sae = given_sae(line.strip(), [each.name for each in session.saes])
    except LineError as error:
        return Mistake(error.problem, at + error.column)
    desk.change(changes.put_sae(session, sae))
    desk.go(VIEW)
    desk.put(Features(of=SaeName(sae.name)))
    return None


def suggest(text: str, session: Session) -> list[Suggestion]:
    """What may stand in such a line next."""
    head, _, word = text.lstrip().rpartition(" ")
    words = head.split()
    if len(words) == 1:
        choices = {EXAMPLE: "a file, a folder or a hub id"}
        choices |= {f"{sae.name} {NONE}": "this session without it" for sae in session.saes}
    elif len(words) > 2 and words[-1] not in ("=", "at", "labels"):
        choices = {"at L8.post": "where it reads, where its files do not say", "labels": "a file of features' names"}
    else:
        choices = {}
    return [
        Suggestion(each, note, line=f"{head} {each}")
        for each, note in choices.items()
        if each.startswith(word) and each != word
    ]
