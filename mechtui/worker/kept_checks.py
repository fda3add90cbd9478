"""Verdicts of the self-check, kept between starts: what was compared need not be compared again.

Only that all holds is kept, for these very files and this very program: another version of it, of torch or of
transformers, another file or another time of one, and the model is compared anew.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

import msgspec
import torch

import mechtui
from mechtui.engine.model import Model
from mechtui.link.messages import Checked
from mechtui.session.paths import cache_dir, private_folder, write_private

LIBRARIES = ("mechtui", "torch", "transformers", "transformer-lens", "tokenizers", "safetensors")
# What of a model's folder decides its numbers.
DECIDING = ("*.json", "*.safetensors", "*.txt", "*.model")


def file_for(model: Model, folder: Path) -> Path:
    """Where the verdict on this model is kept. folder: where its weights lie. Raises OSError."""
    own = Path(mechtui.__file__).parent
    files = [file for pattern in DECIDING for file in sorted(folder.glob(pattern))]
    files += sorted(file for room in ("engine", "worker") for file in (own / room).rglob("*.py"))
    told = [model.ready.device, model.ready.dtype, *(f"{name} {version(name)}" for name in LIBRARIES)]
    told.append(f"{torch.backends.mkldnn.is_available()}")  # type: ignore[no-untyped-call]
    for file in files:
        status = file.stat()
        told.append(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}")
    mark = hashlib.sha256("\n".join(told).encode(errors="surrogateescape")).hexdigest()[:32]
    return cache_dir() / "checked" / f"{mark}.json"


def read(model: Model, folder: Path) -> Checked | None:
    """None where none is kept, or none that can be read."""
    try:
        kept = msgspec.json.decode(file_for(model, folder).read_bytes(), type=Checked)
    except (OSError, ValueError, RecursionError):
        return None
    return msgspec.structs.replace(kept, model=model.ready.name) if kept.differences and not kept.sentence else None


def write(model: Model, folder: Path, checked: Checked) -> None:
    """Where it cannot be written, the model is compared again at the next start."""
    if checked.sentence or not checked.differences:
        return
    try:
        path = file_for(model, folder)
        private_folder(path.parent)
        write_private(path, msgspec.json.encode(checked))
    except OSError:
        return
