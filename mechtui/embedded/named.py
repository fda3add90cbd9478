"""The dictionaries of features that lines may name: the session's, and those that travel with an embedded model."""

from __future__ import annotations

from pathlib import Path

from mechtui.embedded import DICTIONARIES
from mechtui.session.document import Sae, Session


def saes(session: Session, model: str) -> tuple[Sae, ...]:
    """The session's, and behind them those of the model of this name that have no other of their name there."""
    own = {sae.name for sae in session.saes}
    embedded = DICTIONARIES.get(model, {})
    return session.saes + tuple(
        Sae(name, f"{model}/{name}") for name, folder in embedded.items() if name not in own and folder.is_dir()
    )


def folder(path: str) -> Path | None:
    """Where `demo/res2` lies; None of another name."""
    model, _, name = path.partition("/")
    return DICTIONARIES.get(model, {}).get(name)
