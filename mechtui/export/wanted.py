"""The numbers that were on the screen: as text in the program, and the code there that compares them."""

from __future__ import annotations

import pprint
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mechtui.views.script import ViewLines, quoted

# How far a number may be off, absolutely and as a share of itself. Half precision rounds each sum of a logit.
TOLERANCES = {"float32": 0.001, "float16": 0.03, "bfloat16": 0.25}
# Whole numbers that are names: nearly the same is another.
NAMES = ("id", "neurons", "feature")
WIDTH = 116

COMPARING = '''\
def numbers(text):
    return np.array(text.split(), dtype=float)


def leaves(value, place=""):
    """Every number and word of an answer with its place, as in ("pattern[3][2]", 0.25)."""
    value = value.tolist() if isinstance(value, torch.Tensor) else value
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{place}.{key}" if place else key)
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from leaves(each, f"{place}[{number}]")
    else:
        yield place, value


def same(value, wanted, tolerance, share):
    """Words are the same or not; what is no number (nan, or None) equals its like."""
    if isinstance(wanted, (str, bool, type(None))) or isinstance(value, str):
        return value == wanted
    value = math.nan if value is None or not math.isfinite(value) else value
    return (math.isnan(value) and math.isnan(wanted)) or abs(value - wanted) <= tolerance + share * abs(wanted)


def differences(run, line, wanted, answer):
    """A sentence for everything in an answer that is not as it was."""
    got = {}
    for place, value in leaves(answer):
        got.setdefault(re.sub(r"\\[[0-9]+\\]", "[]", place), []).append((place, value))
    for name in [*wanted, *(name for name in got if name not in wanted and not HALF)]:
        cells, expected = got.get(name, []), list(wanted.get(name, []))
        if len(cells) != len(expected):
            yield f"{line}, {run} run: {name} should have {len(expected)} cells and has {len(cells)}"
            continue
        exact = not isinstance(wanted[name], np.ndarray)
        tolerance = 0 if exact else TOLERANCE * LOOSER.get((run, line), 1)
        # Logits that nearly tie change places: a rank of 500 may be 1 in 100 off, one below 100 may not.
        share = 0.01 if name.replace("[]", "").endswith("rank") else tolerance
        wrong = [
            f"{line}, {run} run: {place} should be {want if exact else float(want)!r} and is {value!r}"
            for (place, value), want in zip(cells, expected)
            if not same(value, want, tolerance, share)
        ]
        if wrong:
            yield wrong[0] + (f" (and {len(wrong) - 1} more cells)" if len(wrong) > 1 else "")
'''


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and word of an answer, as `mechtui run` prints it, with its place: ("pattern[3][2]", 0.25)."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, f"{place}.{key}" if place else key)
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from leaves(each, f"{place}[{number}]")
    else:
        yield place, value


def tables(answer: Mapping[str, Any], view: ViewLines) -> dict[str, list[tuple[str, Any]]]:
    """Name ("pattern[][]") -> (place, number or word) of all of it that the program computes."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for place, value in leaves(answer):
        name = re.sub(r"\[[0-9]+\]", "[]", place)
        if name.replace("[]", "") not in view.omits and name.split("[")[0].split(".")[0] not in view.omits:
            found.setdefault(name, []).append((place, value))
    return found


def is_exact(name: str, values: Sequence[Any]) -> bool:
    """Whether these are words, or numbers that are names."""
    if name.replace("[]", "").rpartition(".")[2] in NAMES:
        return True
    return any(isinstance(value, (str, bool)) for value in values)


def written(answer: Mapping[str, Any], view: ViewLines, half: bool = False) -> str:
    """The answer as a dict in Python: number tables to four digits, a row in a line, and lists of words. half: in
    half precision, where lists of words and ranks are left out."""
    lines = ["{"]
    for name, cells in tables(answer, view).items():
        values = [value for _, value in cells]
        if half and "[]" in name and (is_exact(name, values) or name.replace("[]", "").endswith("rank")):
            continue  # logits tie
        if is_exact(name, values):
            words = pprint.pformat(values, width=WIDTH - 4, compact=True)
            lines.append(textwrap.indent(f"{quoted(name)}: {words},", "    "))
            continue
        rows: dict[str, list[str]] = {}
        for place, value in cells:
            row = rows.setdefault(place.rpartition("[")[0], [])
            row.append("nan" if value is None else f"{value:.4g}")
        text = [" ".join(row) for row in rows.values()]
        # A table stands under its name; one row that fits beside it.
        if len(text) > 1 and name.count("[]") < 2:
            text = [" ".join(text)]
        if len(text) == 1 and len(text[0]) < WIDTH - 30:
            lines.append(f'    {quoted(name)}: numbers("{text[0]}"),')
        else:
            wrapped = [part for row in text for part in textwrap.wrap(row, WIDTH)]
            lines += [f'    {quoted(name)}: numbers("""', *wrapped, '"""),']
    return "\n".join([*lines, "}"])
