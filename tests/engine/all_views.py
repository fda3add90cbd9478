"""The session that lines of all views are asked of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mechtui.engine.api import Engine
from mechtui.engine.errors import SessionError
from mechtui.engine.model import Model
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import parse_question
from mechtui.views.sweep import SweepAnswer
from tests.dictionaries import saelens
from tests.lines import PROMPT, SOURCE, VECTORS

SWEEP = "sweep zero L*H*"


def session_for(model: Model, *edits: str, vectors: tuple[str, ...] = (), **more: Any) -> Session:
    """The session that lines are asked of, on this model; its dictionary of features is written into the current
    folder. vectors: besides VECTORS. more: fields."""
    made = saelens(Path("feats"), model.shape.d_model, architecture="jumprelu")
    targets = {"answer": " Mary", "foil": " John"} | {"cases": "cases.csv"}
    session = Session(
        model=model.ready.name,
        prompt=PROMPT,
        source=SOURCE,
        vectors=tuple(map(parse_vector, (*VECTORS, *vectors))),
        saes=(Sae("feats", str(made.path)),),
        edits=tuple(map(parse_edit, edits)),
        **(targets | more),
    )
    question = parse_question(SWEEP)
    try:
        [*_, (clean, edited, _)] = Engine(model).open(session).answer(question)
    except SessionError:
        return session  # without a foil there is nothing to measure
    answer = edited or clean
    assert isinstance(answer, SweepAnswer)
    kept = answer.kept(question, session, edited is None)
    return session if kept is None else replace(session, sweeps=(kept,))
