"""The tensors of safetensors files, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechtui.worker.models.weights import LEFTOVER

T = TypeVar("T")


class UnknownError(Exception):
    """Something of the model is not known here for sure."""


class Tensors:
    """Of several files. Each tensor is read once, in the order in which it is asked for."""

    def __init__(self, files: list[Path], device: torch.device, dtype: torch.dtype) -> None:
        """Raises UnknownError for files that cannot be read."""
        self.device, self.dtype = device, dtype
        self._files: dict[str, Any] = {}
        try:
            for file in files:
                opened = safe_open(file, "pt")
                self._files |= dict.fromkeys(opened.keys(), opened)  # type: ignore[no-untyped-call]
        except (OSError, SafetensorError) as error:
            raise UnknownError(str(error)) from error
        self._left = {name for name in self._files if not LEFTOVER.search(name)}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def take(self, name: str, *shape: int) -> Tensor:
        """Raises UnknownError where there is none of that name, shape and kind."""
        if name not in self._files:
            raise UnknownError(f"no {name}")
        self._left.discard(name)
        try:
            tensor: Tensor = self._files[name].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise UnknownError(str(error)) from error
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise UnknownError(f"{name} is {tuple(tensor.shape)}")
        return tensor.to(self.device, self.dtype)

    def leave(self, name: str) -> None:
        """A tensor that is not read, since another stands in its place."""
        self._left.discard(name)

    def check_all_read(self) -> None:
        """Raises UnknownError where one was never asked for."""
        if self._left:
            raise UnknownError(f"{min(self._left)} has no place")


def number(config: Mapping[str, Any], *names: str, default: Any = None) -> int:
    """The first of these that stands in a config.json. Raises UnknownError where none is a whole number above 0."""
    found = next((config[name] for name in names if config.get(name) is not None), default)
    if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
        raise UnknownError(f"{names[0]} is {found!r}")
    return found


def given(config: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """Raises UnknownError where it is of another type."""
    found = config.get(name, default)
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        found = float(found)
    if not isinstance(found, kind):
        raise UnknownError(f"{name} is {found!r}")
    return found


def plain(config: Mapping[str, Any], **expected: Any) -> None:
    """Raises UnknownError where one of these stands there with another value."""
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise UnknownError(f"{name} is {config[name]!r}")
