"""A model as it comes from its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mechtui.engine.model import Model
from mechtui.worker.check import Plain


class OtherTokensError(Exception):
    """transformers reads texts as other tokens."""


class NoRoomError(Exception):
    """There is no memory for a model's weights once more."""


@dataclass(eq=False)
class LoadedModel(Model):
    """plain: Hugging Face's own model, until this one was compared with it; None where there is none.

    compared_with: of a model that was read directly, what makes that model when there is time for it. It raises
    OtherTokensError, NoRoomError, and ModelError where transformers cannot read the folder.
    folder: where the weights lie.
    """

    plain: Plain | None = None
    compared_with: Callable[[], Plain] | None = None
    folder: Path = Path()
