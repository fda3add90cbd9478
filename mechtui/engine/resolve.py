"""What the engine resolves with: `mechtui.session.resolve`, and steering vectors as they stand on this machine."""

from __future__ import annotations

from pathlib import Path

from mechtui.session import sites
from mechtui.session.document import Site, Vector
from mechtui.session.hook_edits import EditError, Steering
from mechtui.session.prompt import NamedModel, Prompt, Surroundings
from mechtui.session.resolve import check_site, resolve

LAYER_HOOKS = {part: place.hook for part, place in sites.LAYER.items()}


def steering(vector: Vector, bos: bool) -> Steering:
    """The vector as it stands now. bos: whether the session's texts begin with BOS."""
    return Steering(
        vector,
        bos and vector.source in ("diff", "pca"),
        file_state(vector.path) if vector.source == "file" else (),
    )


def file_state(path: str) -> tuple[int, ...]:
    """What is different after a file was written again: its time of change in nanoseconds, its size, its place on the
    disk. Empty where there is none."""
    try:
        state = Path(path).expanduser().stat()
    except (OSError, RuntimeError, ValueError):  # whoever reads it says why it cannot be read
        return ()
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def head_count(site: Site, model: NamedModel) -> int:
    return sites.head_count(site, model.shape)


__all__ = [
    "LAYER_HOOKS",
    "EditError",
    "Prompt",
    "Surroundings",
    "check_site",
    "head_count",
    "resolve",
    "steering",
]
