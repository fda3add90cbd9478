"""The versions of the libraries that mechtui's numbers were compared with; others are refused at the start."""

from __future__ import annotations

import re
from importlib import metadata

# package -> (the oldest that works, the first that is not known to), as in pyproject.toml
WORKS: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "transformers": ((5, 19), (6, 0)),
    "transformer-lens": ((4, 3), (5, 0)),
}


def unfit() -> str:
    """One sentence about the first package that does not work; empty where all do."""
    for package, (oldest, beyond) in WORKS.items():
        try:
            installed = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed = ""
        numbers = tuple(int(part) for part in re.findall(r"\d+", installed)[:2])
        if not oldest <= numbers < beyond:
            here = f"{package} {installed} is installed" if installed else f"{package} is not installed"
            span = f">={oldest[0]}.{oldest[1]},<{beyond[0]}"
            return f"{here}, and mechtui works with {span}: run pip install '{package}{span}'"
    return ""
