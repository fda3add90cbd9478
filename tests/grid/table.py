"""The table in docs/models.md: what the grid found, by architecture."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from tests.grid.compare import COLUMNS, GROUPS, VIEWS, Grid, ModelError
from tests.grid.families import make

TABLE = Path(__file__).parents[2] / "docs" / "models.md"

PARTLY = "right; "

HEAD = """\
# Which models are right

For every architecture below a tiny model with random weights and its own quirks (windows shorter than the prompt,
scaled rotations, soft caps, norms behind the blocks, multipliers) is made, and what mechtui says of it is compared
with Hugging Face's own forward and plain torch hooks: logits and probabilities, norms of the residual stream, patterns
and scores, the lens, attribution, sweeps and effects, generation, the program that `W` writes, and every op at every
site. folded: the same views, edits at most sites and vectors with `--fold-ln`, which changes no number.
`python -m tests.grid` makes the comparisons and writes this page; `python -m pytest tests/grid` makes a part.

**right**: within 0.0001 (attribution and patched sweeps: 0.001). A number: refused, with the sentence of that number;
what stands before it is all that is refused.
"""


def row(name: str, folder: Path, wanted: Sequence[str] = COLUMNS) -> dict[str, str]:
    """What came out for one architecture: per column "right", "wrong: ...", the sentence of a refusal, or
    "right; PARTS: sentence" where only those parts are refused."""
    make(name, folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            cells = list(Grid(folder).cells(wanted))
    except ModelError as error:
        return dict.fromkeys(wanted, str(error).replace(str(folder), "the model"))
    found = {}
    for what, cell in cells:
        if cell.wrong:
            found[what] = "wrong: " + "; ".join(cell.wrong)
        elif cell.refused:
            parts = ", ".join(dict.fromkeys(part for each in cell.refused.values() for part in each))
            sentence = " / ".join(cell.refused).replace(str(folder), "the model")
            found[what] = f"{PARTLY}{parts}: {sentence}" if cell.right else sentence
        else:
            assert cell.right, f"{name}: nothing was compared of {what}"
            found[what] = "right"
    return found


def _cell(says: str, sentences: list[str]) -> str:
    """A sentence becomes its number in `sentences`, where it is added if it is new."""
    if says == "right" or says.startswith("wrong"):
        return says
    parts, _, sentence = says.partition(": ") if says.startswith(PARTLY) else ("", "", says)
    if sentence not in sentences:
        sentences.append(sentence)
    return f"{parts} {sentences.index(sentence) + 1}".lstrip()


def written(rows: dict[str, dict[str, str]]) -> str:
    """The whole page."""
    sentences: list[str] = []
    lines = [HEAD]
    for title, columns in (("Views", VIEWS), ("Edits, by site", tuple(GROUPS))):
        lines += [f"## {title}", "", f"| model | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for name, found in rows.items():
            shown = []
            for column in columns:
                shown.append(_cell(found[column], sentences))
            lines.append(f"| {name} | {' | '.join(shown)} |")
        lines.append("")
    lines += ["## Refusals", ""]
    lines += [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
    return "\n".join(lines) + "\n"


def committed() -> dict[str, dict[str, str]]:
    """The page as rows again."""
    text = TABLE.read_text(encoding="utf-8")
    sentences = {}
    for line in text.partition("## Refusals")[2].splitlines():
        number, _, sentence = line.partition(". ")
        if number.isdigit():
            sentences[number] = sentence
    rows: dict[str, dict[str, str]] = {}
    columns: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| model |"):
            columns = cells[1:]
        elif line.startswith("| "):
            for column, cell in zip(columns, cells[1:], strict=True):
                parts, _, number = cell.rpartition(" ") if cell.startswith(PARTLY) else ("", "", cell)
                says = sentences.get(number, number)
                rows.setdefault(cells[0], {})[column] = f"{parts}: {says}" if parts else says
    return rows
