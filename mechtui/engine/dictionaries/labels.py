"""Features' names, from a file that somebody wrote or exported: JSON, JSONL or CSV.

{"12": "names", "40": "a capital letter"}
[{"index": "12", "description": "names"}, …]               as Neuronpedia exports them; also under "explanations",
                                                               or an object a line in .jsonl
index,description                                          a CSV with these columns; feature and label do as well
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mechtui.engine.dictionaries.dictionary import DictionaryError
from mechtui.session.grammar.words import short
from mechtui.session.paths import PathError, read_text

# In the dictionary's own folder, in the order in which they are looked for.
FILES = tuple(f"{name}.{kind}" for name in ("labels", "explanations") for kind in ("json", "jsonl", "csv"))
NUMBERS, NAMES = ("index", "feature", "feature_index"), ("description", "label", "explanation")
MOST_BYTES = 1 << 26


def beside(folder: Path) -> Path | None:
    """The file of labels that lies in a folder."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read(file: str, count: int) -> dict[int, str]:
    """Feature -> its label, of `count` features. Raises DictionaryError."""
    try:
        text = read_text(file, MOST_BYTES)
    except PathError as error:
        raise DictionaryError(str(error)) from error
    rows = _records(text, file) if file.lower().endswith(".csv") else _objects(text, file)
    found: dict[int, str] = {}
    for number, label in rows:
        if not number.isascii() or not number.isdigit() or len(number) > 9 or int(number) >= count:
            raise DictionaryError(f"{short(file)}: there is no feature {short(number)}: there are 0 to {count - 1:,}")
        # The first of several descriptions is the best one.
        found.setdefault(int(number), " ".join(label.split()))
    return found


def _objects(text: str, file: str) -> Iterable[tuple[str, str]]:
    if file.lower().endswith(".jsonl"):
        text = f"[{','.join(line for line in text.splitlines() if line.strip())}]"
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DictionaryError(f"{short(file)} is not JSON") from error
    if isinstance(said, dict) and isinstance(said.get("explanations"), list):
        said = said["explanations"]
    if isinstance(said, dict) and all(isinstance(label, str) for label in said.values()):
        return [(str(number), label) for number, label in said.items()]
    if isinstance(said, list) and all(isinstance(row, dict) for row in said):
        return [_row(row, file, number) for number, row in enumerate(said, 1)]
    raise DictionaryError(
        f"{short(file)} should be an object from a feature's number to its label, or a list of objects with index and "
        "description"
    )


def _records(text: str, file: str) -> Iterable[tuple[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DictionaryError(f"{short(file)} is not CSV: {error}") from error
    return [_row(row, file, number) for number, row in enumerate(rows, 1)]


def _row(row: Mapping[str, Any], file: str, number: int) -> tuple[str, str]:
    index = next((row[key] for key in NUMBERS if row.get(key) not in (None, "")), None)
    label = next((row[key] for key in NAMES if isinstance(row.get(key), str)), None)
    if not isinstance(index, (str, int)) or isinstance(index, bool) or label is None:
        raise DictionaryError(f"{short(file)}: entry {number} should have index and description, or feature and label")
    return str(index).strip(), label
