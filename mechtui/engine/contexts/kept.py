"""What was read of texts, on the disk: safetensors, each written as a whole or not at all.

Of a dictionary's features it lies beside the dictionary; where nothing can be written there, in the hub's cache and in
what is installed it lies in the cache folder, as that of neurons does, and samples.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mechtui.embedded import WEIGHTS
from mechtui.engine.contexts.strongest import LARGEST, NOWHERE, Strongest
from mechtui.engine.contexts.units import Units
from mechtui.engine.contexts.windows import Text
from mechtui.engine.dictionaries import Dictionary, DictionaryError
from mechtui.engine.errors import Cancelled
from mechtui.session.grammar.words import short
from mechtui.session.paths import cache_dir, private_folder, reason, write_private

# Of what is kept and how: files of another version are read anew.
VERSION = 2
# Files that are kept of one kind, the latest.
MOST_FILES = 24


@dataclass(eq=False)
class Scan:
    """What was found in a text, as far as it was read.

    units: what is looked for. read: windows that were read; kept: those that the disk has. found: of each group of
    units. note: why what the disk had was not taken, or nothing is kept; empty where all is well.
    """

    text: Text
    units: Units
    read: int = 0
    kept: int = 0
    found: list[Strongest] = field(default_factory=list)
    note: str = ""

    @property
    def counted(self) -> int:
        """Tokens that count, of those that were read."""
        return self.text.counted(self.read)

    @property
    def tokens(self) -> int:
        """Tokens that count, of all."""
        return self.text.counted(self.text.windows)

    @property
    def done(self) -> bool:
        return self.read == self.text.windows


class _OtherError(ValueError):
    """A file that is whole, and of something else: one sentence's end."""


def content(dictionary: Dictionary, cancelled: Callable[[], bool]) -> str:
    """The digest of a dictionary's file. Raises DictionaryError, Cancelled."""
    mark = hashlib.blake2b(digest_size=16)
    try:
        with open(dictionary.file, "rb") as file:
            while part := file.read(1 << 20):
                if cancelled():
                    raise Cancelled
                mark.update(part)
    except OSError as error:
        raise DictionaryError(f"{dictionary.name}: its file cannot be read: {reason(error)}") from error
    return mark.hexdigest()


def digest(dictionary: Dictionary, content: str) -> str:
    """Of a dictionary with a file of this digest, and of how it is read."""
    names = (name for name in dictionary.__dataclass_fields__ if name not in ("name", "file", "mark"))
    about = {name: getattr(dictionary, name) for name in names}
    plain = {name: each for name, each in about.items() if not isinstance(each, Tensor | tuple)}
    return hashlib.blake2b(repr((content, sorted(plain.items()))).encode(), digest_size=16).hexdigest()


# Samples


def read_samples(text: Text) -> None:
    """Take up those that the disk has; nothing where it has none that are whole."""
    try:
        with safe_open(_samples(text), framework="pt") as file:
            ids = file.get_tensor("ids")
    except (OSError, SafetensorError):
        return
    whole = ids.ndim == 1 and ids.dtype == torch.int32 and 0 < len(ids) <= text.windows * text.body
    if whole and len(ids) % text.body == 0 and int(ids.min()) >= 0:
        text.ids = ids.numpy()


def write_samples(text: Text) -> None:
    """Where they cannot be written, they are drawn again at the next start."""
    try:
        path = _samples(text)
        private_folder(path.parent)
        write_private(path, save({"ids": torch.from_numpy(text.ids)}))
    except OSError:
        return


def _samples(text: Text) -> Path:
    return _folder() / f"samples-{text.mark}.safetensors"


# What was found


def read(scan: Scan) -> None:
    """Take up what the disk has of these units in this text; where it has what cannot be taken, `note` says why."""
    for path in _places(scan):
        try:
            found, windows = _read(path, scan)
        except FileNotFoundError:
            continue
        except OSError as error:
            scan.note = f"{short(path.name)} cannot be read, and the text is read anew: {reason(error)}"
        except _OtherError as error:
            scan.note = f"{short(path.name)} is {error}: the text is read anew"
        except (SafetensorError, ValueError):
            scan.note = f"{short(path.name)} is damaged: the text is read anew, and the file made again"
        else:
            scan.found, scan.read, scan.kept, scan.note = found, windows, windows, ""
            return


def _read(path: Path, scan: Scan) -> tuple[list[Strongest], int]:
    """What was found, and how many windows were read. Raises OSError, SafetensorError, ValueError."""
    with safe_open(path, framework="pt") as file:
        said: Mapping[str, str] = file.metadata() or {}
        if said.get("version") != str(VERSION):
            raise _OtherError("of another version of mechtui")
        if said.get("dictionary") != scan.units.digest:
            raise _OtherError("of a dictionary with other weights")
        windows = int(said.get("windows", "0"))
        if not 0 < windows <= scan.text.written:
            raise _OtherError("of another text")
        if said.get("text") != scan.text.mark or said.get("tokens") != scan.text.digest(windows):
            raise _OtherError("of another text")
        tables = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    wanted = _stacked(scan.units.empty())
    if {name: (table.shape, table.dtype) for name, table in tables.items()} != {
        name: (table.shape, table.dtype) for name, table in wanted.items()
    }:
        raise ValueError("its tables are others")
    places = tables["places"]
    if int(places.max()) >= len(scan.text.ids) or int(places.min()) < -1:
        raise ValueError("its places are in no text")
    if not int(tables["reach"].min()) >= NOWHERE or int(tables["reach"].max()) > LARGEST:
        raise ValueError("its histograms reach nowhere")
    groups = range(len(places))
    return [Strongest.of_tables({name: each[at] for name, each in tables.items()}) for at in groups], windows


def write(scan: Scan) -> None:
    """What was found so far. Where it cannot be written, the text is read again at the next start, and `note` says why
    it cannot."""
    scan.kept = scan.read
    said = {
        "version": str(VERSION),
        "dictionary": scan.units.digest,
        "text": scan.text.mark,
        "tokens": scan.text.digest(scan.read),
        "windows": str(scan.read),
    }
    content = save(_stacked(scan.found), metadata=said)
    why = "there is no folder for it"
    for path in _places(scan):
        beside = scan.units.beside is not None and path.parent == scan.units.beside.parent
        if beside and not os.access(path.parent, os.W_OK):
            continue
        try:
            if not beside:
                private_folder(path.parent)
            write_private(path, content)
        except OSError as error:
            why = reason(error)
            continue
        _leave_latest(path)
        scan.note = ""
        return
    scan.note = f"what is read cannot be kept: {why}"


def _stacked(found: list[Strongest]) -> dict[str, Tensor]:
    tables = [each.tables() for each in found]
    return {name: torch.stack([each[name] for each in tables]) for name in tables[0]}


def _folder() -> Path:
    """Raises OSError."""
    return cache_dir() / "contexts"


def _places(scan: Scan) -> tuple[Path, ...]:
    """Where it may lie, the best first."""
    mark, weights = scan.text.mark, scan.units.beside
    made = mark if weights is None else f"{mark}-{scan.units.digest[:16]}"
    try:
        cached: tuple[Path, ...] = (_folder() / f"{made}.safetensors",)
    except OSError:
        cached = ()
    if weights is None or _managed(weights):
        return cached
    return (weights.parent / f"{weights.stem}.contexts-{mark}.safetensors", *cached)


def _managed(file: Path) -> bool:
    """Whether others look after the folder of a file: it is installed, or of the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return any(folder in file.parents for folder in (WEIGHTS, Path(HF_HUB_CACHE)))


def _leave_latest(path: Path) -> None:
    """Of the files of this one's kind."""
    before, mark, _ = path.name.partition(".contexts-")
    kind = f"{glob.escape(before)}{mark}*.safetensors" if mark else "*.safetensors"
    try:
        kept = sorted(path.parent.glob(kind), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in kept[MOST_FILES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
