"""`python -m tests.grid`: every comparison of the grid, and the table of what came out in docs/models.md.

It takes two minutes. With `--check` it writes nothing and says whether the table is what the grid gives.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.grid.families import FAMILIES
from tests.grid.table import TABLE, row, written


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        rows = {}
        for name in FAMILIES:
            rows[name] = row(name, Path(folder) / name.replace(" ", "-"))
            print(name, *(f"{what}: {says}" for what, says in rows[name].items() if says != "right"), sep="\n  ")
    text = written(rows)
    bad = "wrong" in text
    if "--check" in sys.argv:
        same = TABLE.read_text(encoding="utf-8") == text
        print("the table is what the grid gives" if same else "the table is not what the grid gives")
        return int(bad or not same)
    TABLE.write_text(text, encoding="utf-8")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
