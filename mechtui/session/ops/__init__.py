"""One file an op: what its line says, how it resolves, and how the exported program does it.

A new op is a new file here, with `OP` in it, and a function of its name in mechtui/engine/apply.py. This module finds
the file.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from mechtui.session.op import Op


@cache
def ops() -> dict[str, Op]:
    """Name -> op, for every file here, in the order of lists."""
    found: list[Op] = [importlib.import_module(f"{__name__}.{info.name}").OP for info in pkgutil.iter_modules(__path__)]
    return {op.name: op for op in sorted(found, key=lambda op: op.order)}
