"""Runs of a model, resumed instead of repeated; edits as hooks; answers to questions.

engine.py   Engine: traces, resuming by layer (inside.py: in the middle of a block) and by position
batches.py  many variants of one run at once
passes.py   the pieces of a forward pass that it is made of; written.py: blocks without the bridge's wrappers;
            doors.py: the model's own attention, open to edits; readout.py: how the stream is read
actions.py  edits resolved for a model and a prompt; resolve.py makes them, apply.py performs them
api.py      a session on a model: the only door for the views
ledger.py   on top of it: what each write to the stream says about a logit
"""

from __future__ import annotations

from mechtui.engine.api import Answers, OpenSession, Run, SessionError, each, together
from mechtui.engine.engine import Engine, Trace
from mechtui.engine.needs import Need
from mechtui.engine.passes import Cancelled

__all__ = ["Answers", "Cancelled", "Engine", "Need", "OpenSession", "Run", "SessionError", "Trace", "each", "together"]
