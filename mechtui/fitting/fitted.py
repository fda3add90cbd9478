"""A lens that was fitted, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from mechtui.engine.translators import Kind, Translator, tensors_of
from mechtui.session.paths import write_private


@dataclass(frozen=True, eq=False)
class Fitted:
    """kind: of lens. matrices, biases: by the layer that h leaves, see `mechtui.engine.translators`. said: what it is
    and of how much. interrupted: whether there was to be more."""

    kind: Kind
    matrices: Mapping[int, Tensor]
    biases: Mapping[int, Tensor]
    said: str
    interrupted: bool = False

    def translator(self, name: str) -> Translator:
        """The lens as the engine has it."""
        return Translator(self.kind, name, b"", self.matrices, self.biases)

    def write(self, path: Path, model: str, text: str, seed: int) -> None:
        """model, text: on which it was fitted. Raises OSError."""
        about = {"model": model, "text": text, "seed": str(seed), "fitted": self.said}
        write_private(path, save(tensors_of(self.kind, self.matrices, self.biases), metadata=about))
