"""Keeping the session: a copy in the state folder a moment after every change, and at the end."""

from __future__ import annotations

from mechtui.session.document import Session

SECONDS = 1.0


def keep(session: Session) -> str:
    """Write the copy; a sentence where that cannot be done, else nothing."""
    from mechtui.session.storage import StorageError, autosave

    try:
        autosave(session)
    except StorageError as error:
        return f"The session is not being kept: {error}"
    return ""


def kept() -> str:
    """Where the copy lies; empty where no state folder can be made."""
    from mechtui.session.paths import state_dir
    from mechtui.session.storage import AUTOSAVE

    try:
        return str(state_dir() / AUTOSAVE)
    except OSError:
        return ""
