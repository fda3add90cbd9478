"""`mechtui info` and `mechtui fetch`: what is here, and how to have more."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from importlib import metadata

from mechtui import __version__
from mechtui.duration import said
from mechtui.link import live
from mechtui.session.paths import config_file, state_dir
from mechtui.visible import seen, write_over

PACKAGES = ("torch", "transformers", "transformer-lens", "textual", "rich", "numpy", "safetensors", "gguf")
# The variables that say what the terminal can show.
TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG")
MISTAKE, NO_MODEL, INTERRUPTED = 2, 3, 130


def lines() -> Iterator[str]:
    """What `mechtui info` prints."""
    yield f"mechtui {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for package in PACKAGES:
        yield f"  {package} {_version(package)}"
    yield f"terminal: {_terminal()}"
    yield "devices"
    yield from (f"  {line}" for line in _devices())
    yield "paths"
    yield f"  config {config_file()}{'' if config_file().exists() else ' (not there)'}"
    try:
        yield f"  state  {state_dir()}"
    except OSError as error:
        yield f"  state  {error.filename} (cannot be used: {error.strerror}; neither sessions nor logs are kept)"
    from huggingface_hub import constants

    yield f"  models {constants.HF_HUB_CACHE}{' (offline: HF_HUB_OFFLINE is set)' if constants.HF_HUB_OFFLINE else ''}"
    if kept := live.every():
        yield "models in memory"
        yield from (f"  {_about(each)}" for each in kept)
    yield "models"
    from mechtui.worker.models.names import find

    for model in find():
        yield f"  {model.name}  {model.kind}  {model.bytes / 1e6:.0f} MB  {model.detail}".rstrip()


def _terminal() -> str:
    """What the app takes the terminal for."""
    from mechtui.paint.palette import Depth, detect
    from mechtui.paint.plain import wanted

    depth = detect(os.environ)
    colours = {Depth.NONE: "no colours", Depth.TRUE: "all colours"}.get(depth, f"{depth} colours")
    said = [f"{name}={seen(os.environ[name])}" for name in TERMINAL if os.environ.get(name)]
    signs = "ASCII only" if wanted("auto", os.environ) else "all signs"
    return f"{colours}, {signs} ({', '.join(said) or 'TERM is not set'})"


def _about(found: live.Found) -> str:
    page = found.live
    name = page.load.model or "the default model"
    held = f", {bytes_ / 1e9:.1f} GB" if (bytes_ := live.resident_bytes(found.pid)) else ""
    until = f"stays for {said(min(page.left + page.seconds - time.time(), page.seconds))}" if page.left else "in use"
    other = "" if page.build == live.build() else f", of another mechtui ({page.version}), which this one leaves alone"
    return f"{name}  process {found.pid}{held}, {until}{other}"


def stop(processes: Iterable[int] = ()) -> int:
    """End live processes that no app uses: these, or all -> exit status."""
    wanted, status = set(processes), 0
    found = [each for each in live.every() if not wanted or each.pid in wanted]
    for pid in sorted(wanted - {each.pid for each in found}):
        print(f"mechtui: process {pid} is no model process that stays in memory", file=sys.stderr)
        status = MISTAKE
    for each in found:
        name = seen(each.live.load.model or "the default model")
        ended = bool(each.live.left) and live.end(each)
        print(f"{name} (process {each.pid}) {'has ended' if ended else 'is in use: q ends its app'}")
    if not found and not wanted:
        print("no model stays in memory")
    return status


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _devices() -> Iterator[str]:
    import torch

    yield f"cpu, {torch.get_num_threads()} threads"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {properties.name}, {properties.total_memory / 1e9:.1f} GB"
    if torch.backends.mps.is_available():
        yield "mps"


def fetch(model: str, dictionary: bool = False) -> int:
    """Download a model, or a dictionary of features, and say how far it is -> exit status."""
    from mechtui.engine.errors import ModelError
    from mechtui.worker.models.hub import fetch as download

    def progress(stage: str, fraction: float | None = None, detail: str = "") -> None:
        percent = f" {fraction:.0%}" if fraction is not None else ""
        write_over(f"{stage}{percent} {detail}")

    try:
        download(model, progress, lambda: False, dictionary)
    except ModelError as error:
        print(f"mechtui: {seen(str(error))}", file=sys.stderr)
        return NO_MODEL
    except KeyboardInterrupt:
        print("\nmechtui: interrupted; files that had come whole are kept", file=sys.stderr)
        return INTERRUPTED
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\n")
    how = "name it with: mechtui --sae" if dictionary else "open it with: mechtui --model"
    print(f"{seen(model)} is here; {how} {model}")
    return 0
