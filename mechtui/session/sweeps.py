"""Sweeps that were made: kept with what they were made of, found again, marked old when something has changed.

They are no part of what undo takes back: a sweep of minutes does not go with the next key.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from mechtui.session.cases import COLUMNS, Case
from mechtui.session.document import Edit, Session, Swept
from mechtui.session.ops import ops

# What a session keeps: the oldest go first. A cell takes about eight characters in a session's file.
MOST, MOST_CELLS = 24, 40_000


def made_of(session: Session, edit: Edit, clean: bool = False, over: bool = False) -> Session:
    """The session as far as it decides what a sweep of this edit says of the edited run, or of the clean one. over: of
    one over its cases."""
    edits = () if clean else tuple(replace(each, on=True) for each in session.edits if each.on)
    every = (edit, *edits)
    taken = {ops()[each.op].takes for each in every}
    source = session.source if "source" in taken else ""
    vectors = tuple(v for v in session.vectors if any(each.vector == v.name for each in every))
    read = {vector.sae for vector in vectors} | {each.site.sae for each in every}
    return Session(
        model=session.model,
        prompt=session.prompt,
        source=source,
        answer=session.answer,
        foil=session.foil,
        vectors=vectors,
        saes=tuple(sae for sae in session.saes if sae.name in read),
        edits=edits,
        bos=session.bos,
        align=session.align if source else "auto",
        references=session.references if "references" in taken else (),
        linear=session.linear,
        cases=session.cases if over else "",
    )


def of_texts(of: Session, cases: Sequence[Case]) -> Session:
    """What a sweep over these cases is made of, without the texts that each of them has itself."""
    own = {name for name in COLUMNS if all(getattr(case, name) is not None for case in cases)}
    if "prompt" in own:
        own.add("source")  # one belongs to its prompt
    return _without(of, own)


def _without(of: Session, own: AbstractSet[str]) -> Session:
    return replace(of, **dict.fromkeys(own, ""), **({"align": "auto"} if "prompt" in own else {}))


def told(cases: Sequence[Case]) -> str:
    """A word that is another for other cases."""
    said = [(case.prompt, case.source, case.answer, case.foil, case.roles) for case in cases]
    return sha256(msgspec.json.encode(said)).hexdigest()[:16]


def _now(swept: Swept, session: Session, clean: bool) -> Session:
    """What such a sweep would be made of now."""
    now = made_of(session, swept.edit, clean, swept.over is not None)
    return now if swept.over is None else _without(now, {name for name in COLUMNS if not getattr(swept.of, name)})


def add(sweeps: tuple[Swept, ...], swept: Swept) -> tuple[Swept, ...]:
    """With this one as the newest, in place of an earlier one of the same; the oldest go where there are too many."""
    others = [each for each in sweeps if (each.edit, each.of) != (swept.edit, swept.of)]
    kept = [swept]
    cells = cells_of(swept)
    for each in reversed(others):
        cells += cells_of(each)
        if len(kept) == MOST or cells > MOST_CELLS:
            break
        kept.append(each)
    return tuple(reversed(kept))


def cells_of(swept: Swept) -> int:
    """As many as it writes: over cases there are five tables besides the means."""
    return len(swept.rows) * len(swept.columns) * (1 if swept.over is None else 6)


def _of_line(sweeps: tuple[Swept, ...], edit: Edit, over: bool) -> list[Swept]:
    return [each for each in sweeps if each.edit == edit and (each.over is not None) == over]


def of_now(
    sweeps: tuple[Swept, ...], session: Session, edit: Edit, clean: bool = False, over: bool = False
) -> Swept | None:
    """What is known of this sweep of the session as it is; None where it was not made. over: over its cases."""
    return next((each for each in _of_line(sweeps, edit, over) if each.of == _now(each, session, clean)), None)


def older(
    sweeps: tuple[Swept, ...], session: Session, edit: Edit, clean: bool = False, over: bool = False
) -> tuple[Swept, ...]:
    """The sweeps of this edit that were made of something else, the newest first."""
    found = _of_line(sweeps, edit, over)
    return tuple(each for each in reversed(found) if each.of != _now(each, session, clean))


def changed(swept: Swept, session: Session, clean: bool = False) -> tuple[str, ...]:
    """What the session has changed since: of model, cases, prompt, source, target, edits, linear mode; nothing where
    the sweep is of it as it is."""
    now, then = _now(swept, session, clean), swept.of
    parts = {
        "model": ("model",),
        "cases": ("cases",),
        "prompt": ("prompt", "bos"),
        "source": ("source", "align", "references"),
        "target": ("answer", "foil"),
        "edits": ("edits", "vectors", "saes"),
        "linear mode": ("linear",),
    }
    return tuple(
        name for name, fields in parts.items() if any(getattr(now, field) != getattr(then, field) for field in fields)
    )


def of_heads(sweeps: tuple[Swept, ...], session: Session, layers: int, heads: int) -> Swept | None:
    """The last of the sweeps over all heads that is of the session as it is."""
    for each in reversed(sweeps):
        whole = len(each.rows) == layers and len(each.columns) == heads
        if whole and each.over is None and each.edit.site.kind == "head" and not changed(each, session):
            return each
    return None
