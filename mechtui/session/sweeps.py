"""Sweeps that were made: kept with what they were made of, found again, marked old when something has changed.

They are no part of what undo takes back: a sweep of minutes does not go with the next key.
"""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.session.document import Edit, Session, Swept
from mechtui.session.ops import ops

# What a session keeps: the oldest go first. A cell takes about eight characters in a session's file.
MOST, MOST_CELLS = 24, 40_000


def made_of(session: Session, edit: Edit, clean: bool = False) -> Session:
    """The session as far as it decides what a sweep of this edit says of the edited run, or of the clean one."""
    edits = () if clean else tuple(replace(each, on=True) for each in session.edits if each.on)
    every = (edit, *edits)
    taken = {ops()[each.op].takes for each in every}
    source = session.source if "source" in taken else ""
    return Session(
        model=session.model,
        prompt=session.prompt,
        source=source,
        answer=session.answer,
        foil=session.foil,
        vectors=tuple(v for v in session.vectors if any(each.vector == v.name for each in every)),
        edits=edits,
        bos=session.bos,
        align=session.align if source else "auto",
        references=session.references if "references" in taken else (),
        linear=session.linear,
    )


def add(sweeps: tuple[Swept, ...], swept: Swept) -> tuple[Swept, ...]:
    """With this one as the newest, in place of an earlier one of the same; the oldest go where there are too many."""
    others = [each for each in sweeps if (each.edit, each.of) != (swept.edit, swept.of)]
    kept = [swept]
    cells = _cells(swept)
    for each in reversed(others):
        cells += _cells(each)
        if len(kept) == MOST or cells > MOST_CELLS:
            break
        kept.append(each)
    return tuple(reversed(kept))


def _cells(swept: Swept) -> int:
    return len(swept.rows) * len(swept.columns)


def of_now(sweeps: tuple[Swept, ...], session: Session, edit: Edit, clean: bool = False) -> Swept | None:
    """What is known of this sweep of the session as it is; None where it was not made."""
    of = made_of(session, edit, clean)
    return next((each for each in sweeps if (each.edit, each.of) == (edit, of)), None)


def older(sweeps: tuple[Swept, ...], session: Session, edit: Edit, clean: bool = False) -> tuple[Swept, ...]:
    """The sweeps of this edit that were made of something else, the newest first."""
    of = made_of(session, edit, clean)
    return tuple(each for each in reversed(sweeps) if each.edit == edit and each.of != of)


def changed(swept: Swept, session: Session, clean: bool = False) -> tuple[str, ...]:
    """What the session has changed since: of model, prompt, source, target, edits, linear mode; nothing where the
    sweep is of it as it is."""
    now, then = made_of(session, swept.edit, clean), swept.of
    parts = {
        "model": ("model",),
        "prompt": ("prompt", "bos"),
        "source": ("source", "align", "references"),
        "target": ("answer", "foil"),
        "edits": ("edits", "vectors"),
        "linear mode": ("linear",),
    }
    return tuple(
        name for name, fields in parts.items() if any(getattr(now, field) != getattr(then, field) for field in fields)
    )


def of_heads(sweeps: tuple[Swept, ...], session: Session, layers: int, heads: int) -> Swept | None:
    """The last of the sweeps over all heads that is of the session as it is."""
    for each in reversed(sweeps):
        whole = len(each.rows) == layers and len(each.columns) == heads
        if whole and each.edit.site.kind == "head" and not changed(each, session):
            return each
    return None
