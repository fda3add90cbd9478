"""A model as it comes from its weights."""

from __future__ import annotations

from dataclasses import dataclass

from mechtui.engine.model import Model
from mechtui.worker.check import Plain


@dataclass(eq=False)
class LoadedModel(Model):
    """plain: Hugging Face's own model, until this one was compared with it; None where there is none."""

    plain: Plain | None = None
