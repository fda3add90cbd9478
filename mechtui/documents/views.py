"""docs/views.md: every view by what its SPEC, its line and its example say."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mechtui.app.help import glossary
from mechtui.app.workspaces import RAIL, TOP, built_in, panes
from mechtui.views import example_of, specs
from mechtui.views.example import Example
from mechtui.views.spec import Cost, View
from mechtui.views.tables import Around, Block, Curve, Listing, Matrix, Passage, tables

HEAD = """# Views

Every view, as the program describes it: what `?` explains in its pane, the words of its line, and what stands in its
files. Written by `python -m mechtui.documents.views`. What each key of the JSON means, and all forms of each line, are
in [lines](lines.md#questions).
"""
COSTS = {
    Cost.ONE_RUN: "from the run that all views share, at once",
    Cost.OWN_RUNS: "from a few runs of its own, at once",
    Cost.TEXTS: "at once, once its texts are read",
    Cost.JOB: "when `.` starts it, `esc` stops it: it costs many runs",
}
RUNS = {"edited": "the edited run", "clean": "the clean run", "difference": "edited minus clean"}


def document() -> str:
    """The page as Markdown."""
    known = specs()
    names = "\n".join(f"- [{known[name].title}](#{_anchor(known[name].title)}): {_asks(name)}" for name in panes())
    return f"{HEAD}\n{names}\n" + "".join(_view(known[name]) for name in panes()) + _words()


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _asks(name: str) -> str:
    """The first paragraph of its module, behind the line."""
    text = inspect.getdoc(importlib.import_module(f"mechtui.views.{name}")) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(": ")[2]


def _view(view: View) -> str:
    example = example_of(view.name)
    lines = [f"\n## {view.title}\n", f"`{view.keys}`, {_where(view.name)}. Answered {COSTS[view.cost]}."]
    lines += [f"\n**Shows.** {_plain(view.shows)}"]
    lines += [f"\n**How to read it.** {_plain(view.read)}", f"\n**Trap.** {_plain(view.trap)}"]
    lines += [f"\n**Source.** {view.paper}"] if view.paper else []
    if view.words:
        lines += ["\n**Words.** " + ", ".join(f"[{word}](#{_slug(word)})" for word in view.words)]
    if words := list(_line_words(view)):
        lines += ["\n**Words of its line.** " + "; ".join(words)]
    keys = ", ".join(f"`{key}`" for key in example.clean.json())
    lines += [f"\n**Line**, as in `{example.question.line()}`, and the keys of its JSON: {keys}"]
    if numbers := list(_numbers(example)):
        lines += [
            "\n**Numbers** in files and reports:\n",
            "| table | rows and columns, with units |",
            "|---|---|",
            *numbers,
        ]
    if any(not action.group for action in view.actions):
        lines += [f"\n**Keys**: [in its pane](keys.md#in-the-{_anchor(view.title)}-pane)"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """A text in which a star is a star, outside code."""
    return re.sub(r"(`[^`]*`)|\*", lambda found: found[1] or r"\*", text)


def _where(name: str) -> str:
    """Where its pane stands."""
    if name == TOP:
        return "above every workspace"
    if name in RAIL:
        return "at the right of every workspace"
    found = [workspace.name for workspace in built_in() if name in workspace.views]
    return f"in {', '.join(found)}" if found else "in no workspace: it comes up where there is room"


def _line_words(view: View) -> Iterator[str]:
    """Each word that its line takes, with what it means where that is said."""
    said = dict(view.line_words)
    default = view.question()
    for name, kind in get_type_hints(view.question).items():
        if name in view.question.__struct_fields__ and get_origin(kind) is Literal:
            for choice in get_args(kind):
                if choice != getattr(default, name):
                    said.setdefault(choice, RUNS.get(choice, "") if name == "run" else "")
    for word, meaning in said.items():
        yield f"`{word}` {_plain(meaning)}".strip()


def _numbers(example: Example) -> Iterator[str]:
    around = Around(example.session, example.shape, example.tokens, example.tokens, range(len(example.tokens)))
    blocks = tables(example.question, example.clean, around)
    # Of several texts the first is enough.
    first = next((block for block in blocks if isinstance(block, Passage)), None)
    rows = [_row(block) for block in blocks if block is first or not isinstance(block, Passage)]
    yield from filter(None, dict.fromkeys(rows))


def _row(block: Block) -> str:
    """A block's row; empty for what is no table of its own."""
    match block:
        case Matrix():
            return _cells(block.title, _with(" by ".join(filter(None, block.of)), block.unit))
        case Listing():
            # One number that stands alone has no column's name. Of columns that are numbered, the first is enough.
            columns = {_unnumbered(column.name): column for column in reversed(block.columns)}
            said = ", ".join(_with(column.name or block.rows[0], column.unit) for column in reversed(columns.values()))
            return _cells(block.title, f"{block.of}: {said}" if block.of else said)
        case Passage():
            return _cells(block.title, "tokens")
        case Curve():
            return ""


def _unnumbered(name: str) -> str:
    return re.sub(r"\d+$", "", name)


def _with(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _cells(*cells: str) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _words() -> str:
    rows = "".join(f"\n### {word}\n\n{_plain(meaning)}\n" for word, meaning in sorted(glossary().items(), key=_lower))
    return f"\n## The words\n{rows}"


def _lower(item: tuple[str, Any]) -> str:
    return item[0].lower()


def _slug(word: str) -> str:
    return word.lower().replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    print(document(), end="")
