"""Steering vectors in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mechtui.engine.errors import SessionError
from mechtui.session.document import OF_TEXTS, Sae, Vector
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.hook_edits import EditError, Steering
from mechtui.session.paths import PathError, reason, to_read, to_write, write_private


class VectorError(EditError):
    """A steering vector that cannot be made: one sentence that says why."""


def state(path: str) -> tuple[int, ...]:
    """What is different after a file was written again: its time of change in nanoseconds, its size, its place on the
    disk. Empty where there is none."""
    try:
        state = Path(path).expanduser().stat()
    except (OSError, RuntimeError, ValueError):  # whoever reads it says why it cannot be read
        return ()
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def read(vector: Vector) -> Tensor:
    """The tensor that the vector names, float32. Raises VectorError."""
    try:
        with safe_open(to_read(vector.path), framework="pt") as file:
            names = list(file.keys())
            if vector.key not in names:
                raise VectorError(f"{vector.name}: {vector.path} holds {', '.join(names)}, but no {vector.key}")
            value: Tensor = file.get_tensor(vector.key)
            return value.float()
    except PathError as error:
        raise VectorError(f"{vector.name}: {error}") from error
    except OSError as error:
        raise VectorError(f"{vector.name}: {vector.path} cannot be read: {reason(error)}") from error
    except SafetensorError as error:
        raise VectorError(f"{vector.name}: {vector.path} is no safetensors file ({error})") from error


def write(path: str, values: Mapping[Vector, Tensor], model: str) -> None:
    """Each under its name, with its line. model: which one they were made on. Raises SessionError."""
    tensors = {vector.name: value.cpu() for vector, value in values.items()}
    lines = {vector.name: format_vector(vector) for vector in values}
    try:
        write_private(to_write(path), save(tensors, metadata=lines | {"model": model}))
    except PathError as error:
        raise SessionError(str(error)) from error
    except OSError as error:
        raise SessionError(f"{path} cannot be written: {reason(error)}") from error


def steering(vector: Vector, bos: bool, sae: Sae | None = None, mark: bytes = b"") -> Steering:
    """The vector as it stands now. bos: whether the session's texts begin with BOS. sae: of a feature its dictionary,
    and the mark of that."""
    states = tuple(number for file in vector.reads for number in state(file))
    return Steering(vector, bos and vector.source in OF_TEXTS, (*states, *mark), sae)
