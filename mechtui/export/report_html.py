"""A report as one HTML page: no other file, no script. It reads on a phone (tables scroll within themselves), on paper
(nothing is told by colour alone) and on a dark screen."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from mechtui.export.report import (
    CLEAN,
    EDITED,
    Part,
    Report,
    Section,
    conventions,
    edit_lines,
    ends_of,
    facts,
    of_curve,
    of_passage,
    recipe,
    said,
    sections,
    vector_lines,
)
from mechtui.paint.hues import Triplet
from mechtui.paint.numbers import fixed, tick
from mechtui.paint.palette import (
    DARK,
    HALF,
    LEVELS,
    Depth,
    Ground,
    Palette,
    contrast,
    diverging_level,
    level,
    lightness,
)
from mechtui.paint.tokens import visible
from mechtui.views.tables import Block, Column, Curve, Listing, Matrix, Passage
from mechtui.visible import seen

# A table of more cells is too much for a page: the strongest stand for all.
MOST_CELLS, STRONGEST = 20_000, 100
# More columns are cut into tables below each other, so that each fits a sheet of paper.
MOST_COLUMNS = 32
# Names of columns that are longer stand upright.
UPRIGHT = 5

# Paper is white, whatever the screen is.
_PAPER = Ground((27, 27, 34), ((255, 255, 255),))

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b22; --dim: #5b5b66; --paper: #fff; --rule: #d8d8de; --soft: #f4f4f7;
  --mark: #a34700; --line0: #0b62a8; --line1: #b4530a; --line2: #4a7d0f; --line3: #7a3e9d; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 86rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: .2rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: .95rem; margin: 1.2rem 0 .2rem; }
p { margin: .3rem 0; max-width: 46rem; }
.dim, figcaption .unit, summary { color: var(--dim); }
.result { font-size: 1.05rem; } .result b { font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre, table { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: .9em; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .6rem .7rem; margin: .4rem 0; font-size: 12.5px; line-height: 1.45;
  white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .9rem; margin: .4rem 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.parts { display: flex; flex-wrap: wrap; gap: 0 2.4rem; align-items: flex-start; }
.parts > .runs { max-width: 100%; } .parts > .fact { flex-basis: 100%; }
.runs { display: flex; flex-wrap: wrap; gap: 0 1.6rem; align-items: flex-start; }
figure { margin: .6rem 0; min-width: 0; max-width: 100%; }
figcaption { font-size: .85rem; margin-bottom: .25rem; overflow-wrap: anywhere; }
figcaption b { font-weight: 600; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: 12px; line-height: 1.35; font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--dim); text-align: left; padding: 1px 6px 1px 0; white-space: nowrap; }
thead th { vertical-align: bottom; padding: 1px 2px 1px 6px; text-align: right; line-height: 1.2; }
thead th:first-child { text-align: left; padding-left: 0; }
thead th.up { padding: 2px 0; }
tbody th { position: sticky; left: 0; background: var(--paper); color: var(--ink); }
td { padding: 1px 2px 1px 3px; text-align: right; white-space: nowrap; min-width: 2.75em; }
td.nil { color: var(--dim); }
td.text { text-align: left; } thead th.text { text-align: left; }
td.moved { color: var(--mark); font-weight: 700; }
th.up span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 9em; overflow: hidden; }
details { margin: .5rem 0; } summary { cursor: pointer; font-size: .85rem; }
.legend { font-size: 11px; color: var(--dim); display: flex; align-items: center; gap: .3rem; margin-top: .2rem; }
.legend i { display: inline-block; width: .7em; height: .8em; }
svg.curve { width: 40rem; max-width: 100%; height: auto; display: block; }
svg.curve text { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--dim); }
svg.curve .axis { stroke: var(--rule); stroke-width: 1; }
.key { display: inline-block; margin-right: 1.1em; white-space: nowrap; font-size: .82rem; }
.key svg { width: 2.4em; height: .8em; vertical-align: baseline; }
.line0 { color: var(--line0); } .line1 { color: var(--line1); } .line2 { color: var(--line2); }
.line3 { color: var(--line3); }
.off code { color: var(--dim); }
@media (max-width: 30rem) { body { padding: .7rem; font-size: 14px; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .35rem; } svg.curve text { font-size: 17px; } }
@media print { @page { size: A4 landscape; margin: 12mm; }
  body { max-width: none; padding: 0; font-size: 9.5pt; } h2, h3 { break-after: avoid; }
  figure, svg { break-inside: avoid; }
  .parts, .runs { display: block; } .runs:not(.fact) { display: inline; }
  figure { display: inline-block; vertical-align: top; margin: 4pt 18pt 4pt 0; } svg.curve { width: 26rem; }
  table { font-size: 7.4pt; } td { padding: 0 2pt; } .scroll { overflow: visible; } tr { break-inside: avoid; }
  tbody th { position: static; } details:not([open]) { display: none; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""
DARK_NAMES = """--ink: #dcd7ba; --dim: #a39f8c; --paper: #16161d; --rule: #33333f; --soft: #1f1f28; --mark: #ff9e3b;
  --line0: #7fb4ff; --line1: #ffb45a; --line2: #a6d46a; --line3: #d3a6f5;"""


def page(report: Report) -> str:
    """The whole report."""
    return _page(report.title, "".join(_body(report)))


def view_page(report: Report) -> str:
    """The open views alone, on a page that is as wide as its tables: what a picture is taken of."""
    body = "".join(text for section in sections(report) for text in _section(section))
    return _page(report.title, body, "body { max-width: none; width: max-content; min-width: 20rem; }")


def _page(title: str, body: str, more: str = "") -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="generator" content="mechtui">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(title)}</title>\n<style>{STYLE}{_colours()}{more}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def _text(text: str) -> str:
    """Any text as HTML says it: nothing in it is markup, and what is hidden is seen."""
    return html.escape(seen(text), quote=True)


def _lines(text: str) -> str:
    """The same of text that has lines."""
    return html.escape(seen(text, keep="\n"), quote=True)


# Colours


def _colours() -> str:
    """s0 to s15 for amounts, n8 to n1 and p1 to p8 for differences: for light screens and paper, and for dark ones."""
    light, dark = (_classes(Palette(Depth.TRUE, ground)) for ground in (_PAPER, DARK))
    dark_rules = "".join(_rule(name, colour) for name, colour in dark)
    rules = "".join(_rule(name, colour) for name, colour in light)
    return f"{rules}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {DARK_NAMES} }}\n{dark_rules} }}\n"


def _classes(palette: Palette) -> list[tuple[str, Triplet]]:
    found = [(f"s{at}", _back(palette.sequential(at).bgcolor)) for at in range(LEVELS)]
    for size in range(1, HALF + 1):
        found += [
            (f"{name}{size}", _back(palette.diverging(sign * size).bgcolor)) for name, sign in (("n", -1), ("p", 1))
        ]
    return found


def _rule(name: str, colour: Triplet) -> str:
    light = lightness(colour)
    front = "#fff" if contrast(1.0, light) > contrast(light, 0.0) else "#000"
    return f".{name}{{background:#{bytes(colour).hex()};color:{front}}}\n"


def _back(color: object) -> Triplet:
    from rich.color import Color

    assert isinstance(color, Color)
    found = color.get_truecolor()
    return found.red, found.green, found.blue


def _class(value: float, low: float, high: float, signs: bool) -> str:
    if math.isnan(value):
        return ""
    if not signs:
        return f"s{level(value, low, high) or 0}"
    step = diverging_level(value, high) or 0
    return f"{'p' if step > 0 else 'n'}{abs(step)}" if step else ""


# The page


def _body(report: Report) -> Iterator[str]:
    session = report.session
    yield f"<h1>{_text(report.title)}</h1>\n"
    for name, value in facts(report):
        yield f'<p class="result">{_text(name)}: <b>{_text(value)}</b></p>\n'
    yield "<h2>Prompts and edits</h2>\n"
    for name, text in (("prompt", session.prompt), ("source", session.source)):
        if text:
            yield f"<h3>{name}</h3>\n<pre>{_lines(text)}</pre>\n"
    yield f'<p class="dim">{_text(_tokens(report))}</p>\n'
    if session.answer or session.foil:
        answer, foil = (_text(_quoted(text)) for text in (session.answer, session.foil))
        yield f"<p>answer <code>{answer}</code>, foil <code>{foil}</code></p>\n"
    if lines := vector_lines(report):
        yield f"<h3>vectors</h3>\n<pre>{_lines(chr(10).join(map(seen, lines)))}</pre>\n"
    yield "<h3>edits, in the order in which they act</h3>\n"
    if edits := edit_lines(report):
        rows = "".join(
            f'<tr><th scope="row" class="{state}"><code>{_text(line)}</code></th><td class="text">{state}</td>'
            f'<td class="text">{_text(effect)}</td></tr>'
            for line, state, effect in edits
        )
        yield f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>\n'
    else:
        yield "<p>none: all numbers are of the model as it is</p>\n"
    for section in sections(report):
        yield from _section(section)
    yield "<h2>What the numbers rest on</h2>\n<dl>"
    yield from (f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in conventions(report))
    file, command = recipe(report)
    yield "</dl>\n<h2>Again</h2>\n<p>As a session file: <code>mechtui --session FILE</code> opens it, "
    yield f"<code>mechtui run FILE</code> prints its numbers.</p>\n<pre>{_lines(file)}</pre>\n"
    yield f"<p>As one command:</p>\n<pre>{_lines(command)}</pre>\n"


def _tokens(report: Report) -> str:
    tokens = report.tokens
    both = f"{len(tokens.tokens)} tokens: {' '.join(visible(token) for token in tokens.tokens)}"
    return both + (f"; the source has {len(tokens.source)}" if tokens.source else "")


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "none"


def _section(section: Section) -> Iterator[str]:
    view = section.view
    yield f"<h2>{_text(view.title)} <code>{_text(section.line)}</code></h2>\n"
    source = f" {view.paper}." if view.paper else ""
    said = f"{view.shows} {view.read} {view.trap}{source}"
    yield f"<details><summary>what this shows</summary><p>{_text(said)}</p></details>\n"
    yield '<div class="parts">'
    yield from (_part(part) for part in section.parts if not part.extra)
    yield "</div>\n"
    if extra := [part for part in section.parts if part.extra]:
        yield "<details><summary>more numbers</summary>\n"
        yield from map(_part, extra)
        yield "</details>\n"


def _part(part: Part) -> str:
    figures = "".join(_figure(block, run) for run, block in part.runs)
    alone = " fact" if figures.startswith("<p>") else ""
    return f'<div class="runs{alone}">{figures}</div>\n'


def _figure(block: Block, run: str) -> str:
    match block:
        case Matrix():
            return _matrix(block, run)
        case Listing():
            return _listing(block)
        case Curve():
            return _curve(block)
        case Passage():
            note = f' <span class="unit">{_text(block.note)}</span>'
            text = _lines(of_passage(block)) or " "
            return f"<figure>{_caption(run or block.title, '')}{note}<pre>{text}</pre></figure>"


def _caption(title: str, unit: str, run: str = "") -> str:
    said = ", ".join(text for text in (run, title) if text)
    if not said and not unit:
        return ""
    behind = f' <span class="unit">({_text(unit)})</span>' if unit else ""
    return f"<figcaption><b>{_text(said)}</b>{behind}</figcaption>"


def _matrix(block: Matrix, run: str) -> str:
    caption = _caption(block.title, block.unit, run)
    if block.values.size > MOST_CELLS:
        return f"<figure>{caption}{_strongest(block)}</figure>"
    low, high = ends_of(block)
    count = len(block.columns)
    pieces = [range(first, min(first + MOST_COLUMNS, count)) for first in range(0, count, MOST_COLUMNS)]
    tables = "".join(_piece(block, columns, low, high) for columns in pieces)
    return f"<figure>{caption}{tables}{_scale(block, low, high)}</figure>"


def _piece(block: Matrix, columns: range, low: float, high: float) -> str:
    heads = [block.columns[at] for at in columns]
    upright = max((len(name) for name in heads), default=0) > UPRIGHT
    corner = " \\ ".join(name for name in block.of if name)
    head = "".join(
        f'<th scope="col" class="up"><span>{_text(name)}</span></th>'
        if upright
        else f'<th scope="col">{_text(name)}</th>'
        for name in heads
    )
    rows = []
    for at, name in enumerate(block.rows):
        cells = []
        for there in columns:
            value = float(block.values[at, there])
            kind = _class(value, low, high, block.signs)
            text = (
                block.texts[at][there]
                if block.texts is not None
                else fixed(value, block.places, sign=block.signs).strip()
            )
            # A text's number is what its colour says.
            more = f' title="{fixed(value, 3)}"' if block.texts is not None and not math.isnan(value) else ""
            # What is nothing to these places steps back.
            kind = kind if text.strip("+-.0") or kind not in ("", "s0") else "nil"
            cells.append(f'<td class="{kind}"{more}>{_text(text)}</td>' if text else "<td></td>")
        rows.append(f'<tr><th scope="row">{_text(name)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr><th>{_text(corner)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _scale(block: Matrix, low: float, high: float) -> str:
    steps: Iterable[str] = (f"s{at}" for at in range(LEVELS))
    if block.signs:
        steps = (*(f"n{at}" for at in range(HALF, 0, -1)), *(f"p{at}" for at in range(1, HALF + 1)))
    boxes = "".join(f'<i class="{name}"></i>' for name in steps)
    return (
        f'<div class="legend">{_text(tick(low, sign=block.signs))}<span>{boxes}</span>'
        f"{_text(tick(high, sign=block.signs))} {_text(block.unit)}</div>"
    )


def _strongest(block: Matrix) -> str:
    """The largest numbers in place of all."""
    sizes = np.nan_to_num(np.abs(block.values), nan=-1.0).ravel()
    order = [int(at) for at in np.argsort(-sizes, kind="stable")[:STRONGEST] if sizes[at] >= 0]
    places = [divmod(at, len(block.columns)) for at in order]
    rows = "".join(
        f'<tr><th scope="row">{_text(block.rows[row])}</th><td class="text">{_text(block.columns[column])}</td>'
        f"<td>{fixed(float(block.values[row, column]), block.places, sign=block.signs).strip()}</td></tr>"
        for row, column in places
    )
    said = (
        f"the {len(order)} largest of {block.values.size:,} numbers; mechtui run --output FILE.npz writes all of them"
    )
    return f'<p class="dim">{said}</p><div class="scroll"><table><tbody>{rows}</tbody></table></div>'


def _listing(block: Listing) -> str:
    if not block.title and len(block.rows) == 1:
        # A number that stands alone is a sentence.
        values = "; ".join(f"{column.name} {said(column, 0)}".strip() for column in block.columns)
        unit = block.columns[0].unit
        return f"<p>{_text(block.rows[0])}: <b>{_text(values)}</b> {_text(unit)}</p>"
    head = f"<th>{_text(block.of)}</th>" + "".join(_head(column) for column in block.columns)
    rows = []
    for at, name in enumerate(block.rows):
        cells = (_cell(column, at, _before(block.columns, place, at)) for place, column in enumerate(block.columns))
        rows.append(f'<tr><th scope="row">{_text(name)}</th>{"".join(cells)}</tr>')
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<figure>{_caption(block.title, "")}<div class="scroll">{table}</div></figure>'


def _head(column: Column) -> str:
    unit = f'<br><span class="dim">{_text(column.unit)}</span>' if column.unit else ""
    look = ' class="text"' if column.is_text else ""
    name, _, run = column.name.rpartition(" ")
    both = f"{_text(name)}<br>{run}" if run in (CLEAN, EDITED) and name else _text(column.name)
    return f'<th scope="col"{look}>{both}{unit}</th>'


def _before(columns: Sequence[Column], place: int, row: int) -> str:
    """What the clean run says in the same place, of an edited run's cell; its own text elsewhere."""
    column = columns[place]
    clean = columns[place - 1] if place and column.name.endswith(EDITED) else column
    return said(clean, row)


def _cell(column: Column, row: int, before: str) -> str:
    text = said(column, row)
    looks = [name for name, has in (("text", column.is_text), ("moved", text != before)) if has]
    look = f' class="{" ".join(looks)}"' if looks else ""
    return f"<td{look}>{_text(text)}</td>"


# Curves

WIDE, HIGH, LEFT, BELOW, ABOVE, RIGHT = 640, 220, 62, 24, 8, 30
MARKS = ("circle", "square", "triangle", "diamond")


def _anchor(at: int, count: int) -> str:
    """What of a point's name stands at the point."""
    return "middle" if count == 1 or 0 < at < count - 1 else "end" if at else "start"


def _curve(block: Curve) -> str:
    values = [value for line in block.series.values() for value in map(float, line) if math.isfinite(value)]
    if not values:
        return ""
    low = min(values) if block.low is None else block.low
    high = max(values) if block.high is None else block.high
    if high <= low:
        low, high = low - 0.5, high + 0.5
    count = len(block.points)
    step = (WIDE - LEFT - RIGHT) / max(count - 1, 1)

    def x(at: int) -> float:
        return LEFT + (at * step if count > 1 else (WIDE - LEFT - RIGHT) / 2)

    def y(value: float) -> float:
        return ABOVE + (high - min(max(value, low), high)) / (high - low) * (HIGH - ABOVE - BELOW)

    marks = [low, high] + ([0.0] if low < 0 < high else [])
    axis = "".join(
        f'<line class="axis" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(at) + 4:.1f}" text-anchor="end">{_text(tick(at))}</text>'
        for at in marks
    )
    # As many of the points' names as stand apart, also in the larger letters of a phone; none leaves the drawing.
    room = max((len(name) for name in block.points), default=1) * 10.5 * 1.5 + 10
    every = max(math.ceil(room / step) if count > 1 else 1, 1)
    names = "".join(
        f'<text x="{x(at):.1f}" y="{HIGH - 6}" text-anchor="{_anchor(at, count)}">{_text(name)}</text>'
        for at, name in enumerate(block.points)
        if (count - 1 - at) % every == 0
    )
    lines, keys = [], []
    base = [name for name in block.series if not name.endswith(f", {EDITED}")]
    for name, series in block.series.items():
        other = name.endswith(f", {EDITED}")
        at = base.index(name.replace(f", {EDITED}", f", {CLEAN}") if other else name)
        dashed = "" if other or len(base) == len(block.series) else ' stroke-dasharray="6 4"'
        points = [(x(i), y(float(value))) if math.isfinite(float(value)) else None for i, value in enumerate(series)]
        lines.append(_series(points, at, dashed))
        sample = _series([(4, 5), (40, 5)], at, dashed)
        keys.append(f'<span class="key"><svg viewBox="0 0 44 10">{sample}</svg> {_text(name)}</span>')
    said = _text(f"{block.title}: {block.unit} by {block.of}")
    drawing = (
        f'<svg class="curve" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{said}">'
        f"{axis}{names}{''.join(lines)}</svg>"
    )
    table = of_curve(block)
    ends = ends_of(table)
    numbers = "".join(
        _piece(table, range(first, min(first + MOST_COLUMNS, count)), *ends) for first in range(0, count, MOST_COLUMNS)
    )
    return f"<figure>{_caption(block.title, block.unit)}<div>{''.join(keys)}</div>{drawing}{numbers}</figure>"


def _series(points: Sequence[tuple[float, float] | None], number: int, dashed: str) -> str:
    """A line and its marks, which tell it from others without its colour."""
    lines = "".join(
        f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"{dashed}/>'
        for a, b in pairwise(points)
        if a is not None and b is not None
    )
    fill = "var(--paper)" if dashed else "currentColor"
    marks = "".join(_mark(at, number) for at in points if at is not None)
    return (
        f'<g class="line{number % len(MARKS)}" stroke="currentColor" stroke-width="2" fill="{fill}">{lines}{marks}</g>'
    )


def _mark(at: tuple[float, float], number: int) -> str:
    x, y = at
    match MARKS[number % len(MARKS)]:
        case "circle":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
        case "square":
            return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
        case "triangle":
            return f'<path d="M{x:.1f} {y - 3.5:.1f}l3.5 6.5h-7z"/>'
        case _:
            return f'<path d="M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4 -4z"/>'
