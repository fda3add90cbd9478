"""Where `mechtui export` writes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mechtui.headless.ending import FAILED, MISTAKE, Stop
from mechtui.session.paths import PathError, reason, to_write, write_private


def ending_of(output: str, endings: Collection[str]) -> str:
    """The ending of a file's name, one of `endings`; empty for -, the standard output. Before the model runs, not
    after. Raises Stop."""
    if output == "-":
        return ""
    ending = Path(output).suffix.lower()
    if ending not in endings:
        raise Stop(MISTAKE, f"--output {output} should end in {' or '.join(endings)}, or be - for the standard output")
    try:
        to_write(output)
    except PathError as error:
        raise Stop(MISTAKE, f"--output {error}") from error
    return ending


def put(text: str, output: str) -> None:
    """To a file, or with - to the standard output. Raises Stop."""
    if output == "-":
        print(text, end="")
        return
    try:
        # It holds prompts, so that nobody else may read it; an older one stays until the new one is whole.
        write_private(to_write(output), text)
    except PathError as error:
        raise Stop(FAILED, str(error)) from error
    except OSError as error:
        raise Stop(FAILED, f"{output} cannot be written: {reason(error)}") from error
