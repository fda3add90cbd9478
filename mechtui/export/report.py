"""A report: prompts, edits, what each open view says, clean beside edited, and how to have it all again.

What stands in it is gathered here, as text and labelled tables; `report_html` and `report_markdown` write it.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from importlib import metadata

import numpy as np
from msgspec.structs import replace

from mechtui import __version__
from mechtui.link.messages import Checked, Ready
from mechtui.paint.numbers import fixed, signed
from mechtui.paint.tokens import visible
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.storage import dumps
from mechtui.views import Answer, Question, spec_of
from mechtui.views.effects import Effects, EffectsAnswer
from mechtui.views.next_tokens import NextTokensAnswer
from mechtui.views.spec import View
from mechtui.views.tables import Around, Block, Column, Curve, Listing, Matrix, Passage, tables
from mechtui.views.tokens import TokensAnswer

# What a report asks besides: what each edit does alone.
EFFECTS = Effects
PACKAGES = ("torch", "transformers", "transformer-lens", "numpy")
CLEAN, EDITED, DIFFERENCE, ALIKE = "clean", "edited", "edited − clean", "clean and edited alike"


@dataclass(frozen=True, eq=False)
class Shown:
    """A question and what the runs say to it. edited: None where no edit is on, and where edits change nothing."""

    question: Question
    clean: Answer | None
    edited: Answer | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a report is made of. shown: the open views. tokens: the prompt's. command: what asks it all
    again. position: the token that is looked at. checked: the model's self-check; None while it is not done. effects:
    the answer to EFFECTS; None where nobody asked."""

    session: Session
    ready: Ready
    tokens: TokensAnswer
    shown: tuple[Shown, ...]
    command: str
    position: int = -1
    checked: Checked | None = None
    effects: Answer | None = None

    @property
    def around(self) -> Around:
        tokens = self.tokens
        shape = self.ready.shape
        return Around(self.session, shape, tokens.tokens, tokens.source, tokens.alignment, self.position)

    @property
    def title(self) -> str:
        return f"{self.ready.name}: {visible_prompt(self.session.prompt)}"


@dataclass(frozen=True)
class Part:
    """One of a view's tables: what each run says there, by the run's name; a list and a curve hold all runs."""

    runs: tuple[tuple[str, Block], ...]

    @property
    def extra(self) -> bool:
        block = self.runs[0][1]
        return isinstance(block, (Matrix, Listing)) and block.extra


@dataclass(frozen=True)
class Section:
    """A view: its SPEC, its question line, and its tables."""

    view: View
    line: str
    parts: tuple[Part, ...]


def visible_prompt(prompt: str, most: int = 60) -> str:
    """The prompt's end on one line."""
    text = prompt if len(prompt) <= most else f"…{prompt[1 - most :]}"
    return text.replace("\n", "⏎")


def sections(report: Report) -> list[Section]:
    """The open views in their order."""
    return [Section(spec_of(each.question), each.question.line(), parts(each, report.around)) for each in report.shown]


def parts(shown: Shown, around: Around) -> tuple[Part, ...]:
    """The tables of one view, clean beside edited."""
    runs = {CLEAN: shown.clean, EDITED: shown.edited}
    found = {run: tables(shown.question, answer, around) for run, answer in runs.items() if answer is not None}
    if len(found) < 2:
        return tuple(
            Part(((("" if run == CLEAN else run), block),)) for run, blocks in found.items() for block in blocks
        )
    clean, edited = found[CLEAN], found[EDITED]
    if [type(each) for each in clean] != [type(each) for each in edited]:
        return tuple(Part(((run, block),)) for run, blocks in found.items() for block in blocks)
    return tuple(_pair(before, after) for before, after in zip(clean, edited, strict=True))


def _pair(clean: Block, edited: Block) -> Part:
    match clean, edited:
        case Matrix() as before, Matrix() as after:
            if _alike(before, after):
                return Part(((ALIKE, before),))
            low, high = _ends(before, after)
            both: list[tuple[str, Block]] = [
                (CLEAN, changed(before, low=low, high=high)),
                (EDITED, changed(after, low=low, high=high)),
            ]
            # Where cells are texts, the numbers of two runs are of two things.
            if before.texts is None and (before.rows, before.columns) == (after.rows, after.columns):
                values = after.values - before.values
                both.append((DIFFERENCE, changed(after, values=values, signs=True, low=None, high=None)))
            return Part(tuple(both))
        case Listing() as before, Listing() as after if _names(before) == _names(after):
            return Part((("", joined(before, after)),))
        case Curve() as before, Curve() as after if list(before.series) == list(after.series):
            series = {f"{name}, {CLEAN}": values for name, values in before.series.items()}
            series |= {f"{name}, {EDITED}": values for name, values in after.series.items()}
            return Part((("", changed(after, series=series)),))
        case _:
            return Part(((CLEAN, clean), (EDITED, edited)))


def _alike(before: Matrix, after: Matrix) -> bool:
    return (before.rows, before.columns, before.texts) == (after.rows, after.columns, after.texts) and np.array_equal(
        before.values, after.values, equal_nan=True
    )


def _names(block: Listing) -> list[str]:
    return [column.name for column in block.columns]


def _ends(*blocks: Matrix) -> tuple[float | None, float | None]:
    """One scale for both runs."""
    ends = [ends_of(block) for block in blocks]
    return min(low for low, _ in ends), max(high for _, high in ends)


def ends_of(block: Matrix) -> tuple[float, float]:
    """The ends of a matrix's colours."""
    finite = block.values[np.isfinite(block.values)]
    if block.signs:
        most = block.high if block.high is not None else float(np.abs(finite).max(initial=0.0))
        return -most, most
    low = block.low if block.low is not None else float(finite.min()) if finite.size else 0.0
    high = block.high if block.high is not None else float(finite.max()) if finite.size else 1.0
    return low, high


def joined(clean: Listing, edited: Listing) -> Listing:
    """Both runs' lists as one, row by row: what differs has a column for each run; what one run lacks is blank."""
    rows = tuple(dict.fromkeys((*clean.rows, *edited.rows)))
    columns: list[Column] = []
    for before in clean.columns:
        after = next(each for each in edited.columns if each.name == before.name)
        both = [_spread(each, of.rows, rows) for each, of in ((before, clean), (after, edited))]
        each_run = [changed(before, values=values) for values in both]
        if all(said(each_run[0], at) == said(each_run[1], at) for at in range(len(rows))):
            columns.append(each_run[0])
            continue
        for run, column in zip((CLEAN, EDITED), each_run, strict=True):
            columns.append(changed(column, name=f"{before.name} {run}".strip()))
    return changed(edited, rows=rows, columns=tuple(columns))


def said(column: Column, row: int) -> str:
    """What a list says in this place."""
    value = column.values[row]
    if isinstance(value, str):
        return value
    return fixed(column.number(row), column.places, sign=column.signs).strip()


def _spread(column: Column, own: Sequence[str], rows: Sequence[str]) -> list[float | None] | list[str]:
    if column.is_text:
        texts = dict(zip(own, column.values, strict=True))
        return [str(texts.get(row, "")) for row in rows]
    numbers = {row: column.number(at) for at, row in enumerate(own)}
    found = [numbers.get(row, math.nan) for row in rows]
    return [None if math.isnan(value) else value for value in found]


def of_curve(curve: Curve) -> Matrix:
    """The numbers that a curve is drawn from."""
    values = np.array(list(curve.series.values()), dtype=np.float64).reshape(len(curve.series), len(curve.points))
    signs = bool((values < 0).any())  # what is not computed is NaN, which is not less
    return Matrix(
        "", curve.unit, ("", curve.of), tuple(curve.series), curve.points, values, signs=signs, places=curve.places
    )


# What is said of the session and of the numbers


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """The result in short: the logit difference, clean and edited, and how many edits are on."""
    for shown in report.shown:
        if isinstance(shown.clean, NextTokensAnswer):
            before, after = shown.clean, shown.edited
            if before.logit_diff is not None and before.answer is not None and before.foil is not None:
                what = f"logit({visible(before.answer.token)}) − logit({visible(before.foil.token)})"
                text = f"{signed(before.logit_diff).strip()} logits"
                if isinstance(after, NextTokensAnswer) and after.logit_diff is not None:
                    text = f"{signed(before.logit_diff).strip()} → {signed(after.logit_diff).strip()} logits"
                yield f"{what} after {report.around.at(before.position)}", text
            break


def edit_lines(report: Report) -> list[tuple[str, str, str]]:
    """(line, on or off, effect) of each edit: its effect alone, in logits; empty where it has none."""
    effects: Sequence[float | None] = report.effects.effect if isinstance(report.effects, EffectsAnswer) else ()
    found = []
    for at, edit in enumerate(report.session.edits):
        effect = effects[at] if at < len(effects) else None
        text = "" if effect is None else f"{signed(effect).strip()} logits alone"
        found.append((format_edit(replace(edit, on=True)), "on" if edit.on else "off", text))
    return found


def conventions(report: Report) -> Iterator[tuple[str, str]]:
    """What the numbers rest on."""
    ready, session = report.ready, report.session
    shape = ready.shape
    yield "model", f"{ready.name} ({ready.source}), {ready.architecture}"
    size = f"{shape.n_layers} layers, {shape.n_heads} heads, d_model {shape.d_model}, d_head {shape.d_head}"
    yield "shape", f"{size}, {shape.d_vocab} tokens in the vocabulary"
    put = f"{ready.bos_token} stands before the prompt" if report.tokens.bos else "nothing is put before the prompt"
    yield "BOS", f"{put} (bos = {session.bos}); positions count from 0, it included"
    if session.linear:
        held = "patterns, the scales of norms and neurons are held at their values in the clean run"
        yield "linear", f"{held}; each edit adds what it changes there"
    folded = "folded into the next layer's weights" if ready.weights == "folded" else "raw: nothing is folded in"
    yield "norms", f"{folded}"
    yield "computed in", f"{ready.dtype} on {ready.device}"
    yield "units", "logits as the model gives them; probabilities of 1; entropy, surprise and KL in nats; norms are L2"
    yield "names", "hooks and activations are TransformerLens's; layers and heads count from 0"
    yield "self-check", _compared(report.checked)
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield "versions", f"mechtui {__version__}, Python {platform.python_version()}, {versions}"


def _compared(checked: Checked | None) -> str:
    if checked is None:
        return "not compared with Hugging Face's own forward yet"
    if checked.sentence:
        return checked.sentence
    most = max(checked.differences.values(), default=None)
    how = "" if most is None else f", largest difference {most:.1g} logits"
    return f"compared with Hugging Face's own forward on these weights: it holds{how}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def vector_lines(report: Report) -> list[str]:
    return [format_vector(vector) for vector in report.session.vectors]


def recipe(report: Report) -> tuple[str, str]:
    """(the session file, the command)"""
    lines = tuple(each.question.line() for each in report.shown)
    return dumps(replace(report.session.work(), views=lines)), report.command


def of_passage(block: Passage) -> str:
    """The text as it is, bytes that are no characters as hex."""
    return "".join(f"<{token.hex}>" if token.hex else token.text for token in block.tokens)
