"""Where a dictionary's files lie, and what is in them.

Nothing is downloaded here, and no pickle is loaded: of safetensors and .npz the tensors are mapped into memory, so that
only what is looked at is read; .pt files are read by torch as weights alone.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechtui.embedded.named import folder
from mechtui.engine.dictionaries.dictionary import DictionaryError
from mechtui.engine.hub_parts import WEIGHTS, hub_parts
from mechtui.engine.vector_files import state
from mechtui.session.grammar.words import short
from mechtui.session.paths import PathError, expanded, read_text, reason, to_read

CONFIGS = ("cfg.json", "config.json")
PICKLES = (".pkl", ".pickle", ".bin", ".pth", ".ckpt")
MOST_CONFIG, MOST_COMPRESSED = 1 << 20, 1 << 33


@dataclass(frozen=True, eq=False)
class Found:
    """name: as messages call it. folder, weights: where they lie. config: what the .json says; none beside .npz."""

    name: str
    folder: Path
    weights: Path
    config: Mapping[str, Any]

    @property
    def mark(self) -> bytes:
        """Another when the weights were written again."""
        return blake2b(repr((str(self.weights), state(str(self.weights)))).encode(), digest_size=16).digest()

    def error(self, problem: str) -> DictionaryError:
        return DictionaryError(f"{short(self.name)}: {problem}")

    def of(self, key: str, kind: type, default: Any = None, within: Mapping[str, Any] | None = None) -> Any:
        """A value of the config, of this kind; default where there is none. Raises DictionaryError."""
        value = (self.config if within is None else within).get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            names = {int: "a whole number", bool: "true or false", str: "a text", dict: "a table"}
            raise self.error(f"{key} in its config is {short(json.dumps(value))} and should be {names[kind]}")
        return value


def find(path: str, name: str) -> Found:
    """The files that a session's line names. Raises DictionaryError."""
    try:
        place = expanded(path)
    except PathError as error:
        raise DictionaryError(f"{name}: {error}") from error
    if not place.exists():
        place = folder(path) or cached(path, name)
    if place.is_dir():
        weights = next((place / each for each in WEIGHTS if (place / each).is_file()), None)
        if weights is None:
            raise DictionaryError(f"{name}: {_no_weights(place, path)}")
    else:
        weights = place
    beside = weights.parent
    if weights.suffix in PICKLES or (weights.suffix == ".pt" and weights.name != "ae.pt"):
        raise DictionaryError(
            f"{name}: {short(weights.name)} is a pickle, which may hold code: a dictionary is read from .safetensors, "
            ".npz, or dictionary_learning's ae.pt"
        )
    if weights.suffix not in (".safetensors", ".npz", ".pt"):
        raise DictionaryError(f"{name}: {short(path)} is no dictionary: one is a folder, .safetensors or .npz file")
    return Found(name, beside, weights, {} if weights.suffix == ".npz" else _config(beside, name))


def _no_weights(folder: Path, path: str) -> str:
    within = sorted(each.parent.name for name in CONFIGS for each in folder.glob(f"*/{name}"))
    within += sorted(str(each.parent.relative_to(folder)) for each in folder.glob("**/params.npz"))
    if within:
        return f"{short(path)} holds several dictionaries: name one, as in {short(f'{path}/{within[0]}')}"
    return f"{short(path)} holds no dictionary: none of {', '.join(WEIGHTS)}"


def _config(folder: Path, name: str) -> Mapping[str, Any]:
    file = next((folder / each for each in CONFIGS if (folder / each).is_file()), None)
    if file is None:
        raise DictionaryError(f"{name}: there is no cfg.json beside its weights, which says what they are")
    try:
        said = json.loads(read_text(str(file), MOST_CONFIG))
    except PathError as error:
        raise DictionaryError(f"{name}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise DictionaryError(f"{name}: {file.name} is not JSON") from error
    if not isinstance(said, dict):
        raise DictionaryError(f"{name}: {file.name} should be an object, as {{...}} is one")
    return said


# The hub


def cached(path: str, name: str) -> Path:
    """The folder or file of a hub id in the local cache. Raises DictionaryError."""
    id, within, revision = hub_parts(path)
    if path.startswith((".", "/", "~")) or id.count("/") != 1:
        raise DictionaryError(f"{name}: there is no file or folder {short(path)}")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    file = Path(within).suffix in (".safetensors", ".npz", ".pt")
    wanted = [within] if file else [f"{within}/{each}" if within else each for each in (*WEIGHTS, *CONFIGS)]
    for each in wanted:
        try:
            found = try_to_load_from_cache(id, each, revision=revision or None)
        except HFValidationError as error:
            raise DictionaryError(f"{name}: {short(path)} is no file, no folder and no hub id") from error
        if isinstance(found, str):
            return Path(found) if file else Path(found).parent
    raise DictionaryError(
        f"{name}: {short(path)} is no file or folder here, and not in the hub's local cache: fetch it with "
        f"mechtui fetch --sae {short(path)}"
    )


# Tensors


class Tensors:
    """The tensors of a file by name; what is taken has the shape that it should have and holds numbers."""

    def __init__(self, found: Found) -> None:
        """Raises DictionaryError."""
        self._found = found
        self._held = _held(found)

    def __contains__(self, name: object) -> bool:
        return name in self._held

    @property
    def names(self) -> list[str]:
        return sorted(self._held)

    def matrix(self, name: str, *shape: int | None) -> Tensor:
        """A tensor of numbers, of this shape; None: of any size. Raises DictionaryError."""
        if name not in self._held:
            raise self._found.error(f"{short(self._found.weights.name)} holds {self._there()}, but no {name}")
        tensor = self._held[name]
        if tensor.dim() != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
        ):
            has = "x".join(map(str, tensor.shape)) or "a single number"
            wants = "x".join("?" if each is None else str(each) for each in shape) or "a single number"
            raise self._found.error(f"{name} is {has} and should be {wants}")
        if not tensor.dtype.is_floating_point or 0 in tensor.shape:
            raise self._found.error(f"{name} holds no numbers that a dictionary could use ({tensor.dtype})")
        return tensor

    def vector(self, name: str, size: int) -> Tensor:
        """[size] float32, all finite. Raises DictionaryError."""
        found = self.matrix(name, size).float()
        if not bool(found.isfinite().all()):
            raise self._found.error(f"{name} holds numbers that are not finite (NaN or infinite)")
        return found

    def number(self, name: str) -> float:
        """Raises DictionaryError."""
        tensor = self._held.get(name)
        if tensor is None or tensor.numel() != 1 or not bool(tensor.isfinite().all()):
            raise self._found.error(f"{name} should be one number")
        return float(tensor)

    def _there(self) -> str:
        return short(", ".join(self.names)) or "nothing"


def _held(found: Found) -> dict[str, Tensor]:
    file = found.weights
    try:
        path = to_read(str(file))
        if file.suffix == ".npz":
            return _arrays(path)
        if file.suffix == ".pt":
            return _weights_only(found, path)
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    except PathError as error:
        raise found.error(str(error)) from error
    except OSError as error:
        raise found.error(f"{short(file.name)} cannot be read: {reason(error)}") from error
    except SafetensorError as error:
        raise found.error(f"{short(file.name)} is no whole safetensors file ({error})") from error
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise found.error(f"{short(file.name)} is no whole file of arrays ({short(str(error))})") from error


def _weights_only(found: Found, path: Path) -> dict[str, Tensor]:
    import pickle

    try:
        held = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, AttributeError, KeyError, IndexError) as error:
        raise found.error(
            f"{path.name} cannot be read as weights alone: it is broken, or a pickle that holds more than tensors"
        ) from error
    if not isinstance(held, dict) or not all(isinstance(each, Tensor) for each in held.values()):
        raise found.error(f"{path.name} should hold tensors by name, and holds something else")
    return {str(name): each.detach() for name, each in held.items()}


def _arrays(path: Path) -> dict[str, Tensor]:
    """Arrays of an .npz; those that it does not compress lie in the file and are read where they are looked at. Raises
    ValueError, zipfile.BadZipFile, OSError."""
    found: dict[str, Tensor] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                continue
            with archive.open(member) as stream:
                shape, fortran, dtype = _header(stream)
                if dtype.hasobject:
                    raise ValueError(f"{name} is pickled, which may hold code")
                header = stream.tell()
                if member.compress_type != zipfile.ZIP_STORED:
                    if member.file_size > MOST_COMPRESSED:
                        raise ValueError(f"{name} is compressed, and larger than what is unpacked")
                    array = np.frombuffer(bytearray(stream.read()), dtype)
                    array = array.reshape(shape, order="F" if fortran else "C")
                else:
                    file.seek(member.header_offset + 26)
                    sizes = np.frombuffer(file.read(4), "<u2")
                    begin = member.header_offset + 30 + int(sizes.sum()) + header
                    if begin + dtype.itemsize * int(np.prod(shape)) > path.stat().st_size:
                        raise ValueError(f"{name} ends before it should")
                    array = np.memmap(path, dtype, "c", begin, shape or (1,), "F" if fortran else "C").reshape(shape)
            if dtype.kind == "f" and dtype.itemsize <= 8 and dtype.isnative:
                found[name] = torch.from_numpy(array)
    return found


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype
