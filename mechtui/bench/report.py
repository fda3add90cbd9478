"""The table on the screen and the JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mechtui.bench.cases import FLOOR, FULL, MECHTUI, Report, Result
from mechtui.bench.timing import Timing
from mechtui.console import VisibleConsole


def show(report: Report, json_path: str | None = None, console: Console | None = None) -> None:
    console = console or VisibleConsole(markup=False)
    console.print(f"{report.model} on {', '.join(f'{name} {value}' for name, value in report.machine.items())}")
    table = Table(title="milliseconds: median (quartiles)", title_justify="left")
    for column in ("case", MECHTUI, FULL, "times faster", FLOOR, "over the floor", "largest difference"):
        table.add_column(column, justify="left" if column == "case" else "right", overflow="fold")
    for result in report.results:
        table.add_row(*row(result))
    if mean := toggle_mean(report.results):
        table.add_row(*row(mean), end_section=True)
    console.print(table)
    for name, value in report.process.items():
        console.print(f"{name.replace('_', ' ')}: {value:,.1f}")
    if json_path is not None:
        Path(json_path).write_text(json.dumps(as_json(report), indent=2) + "\n", encoding="utf-8")
        console.print(f"all figures are in {json_path}")


def row(result: Result) -> list[str]:
    def times(name: str) -> str:
        timing = result.timings.get(name)
        return "" if timing is None else f"{timing.median:,.1f} ({timing.low:,.1f}-{timing.high:,.1f})"

    ratio = "" if result.ratio is None else f"{result.ratio:.1f}x"
    if result.wanted:
        ratio += f" (wanted {result.wanted:g}x)"
    over = "" if result.over_floor is None else f"{result.over_floor:.2f}x"
    difference = "" if result.difference is None else f"{result.difference:.1e}"
    return [result.case, times(MECHTUI), times(FULL), ratio, times(FLOOR), over, difference]


def toggle_mean(results: list[Result]) -> Result | None:
    """The mean over the layers of the toggles' medians and quartiles."""
    toggles = [result for result in results if result.case.startswith("toggle")]
    if len(toggles) < 2:
        return None
    timings = {}
    for name in toggles[0].timings:
        each = [result.timings[name] for result in toggles]

        def mean(values: list[float]) -> float:
            return sum(values) / len(values)

        timings[name] = Timing(
            mean([t.median for t in each]), mean([t.low for t in each]), mean([t.high for t in each]), each[0].repeats
        )
    worst = max(result.difference or 0.0 for result in toggles)
    return Result("toggle a head, mean over the layers", timings, 3, worst)


def as_json(report: Report) -> dict[str, Any]:
    results = [*report.results]
    if mean := toggle_mean(report.results):
        results.append(mean)
    return {
        "model": report.model,
        "machine": report.machine,
        "process": report.process,
        "results": [
            {
                "case": result.case,
                "ms": {name: timing.json() for name, timing in result.timings.items()},
                "times_faster": result.ratio,
                "wanted": result.wanted or None,
                "over_floor": result.over_floor,
                "largest_difference": result.difference,
                **result.notes,
            }
            for result in results
        ],
    }


def markdown(figures: dict[str, Any]) -> str:
    """The table of docs/performance.md from what `--json` wrote."""
    lines = [
        f"| case (ms) | {MECHTUI} | {FULL} | faster | wanted | {FLOOR} | over them | largest difference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for result in figures["results"]:
        cells = [result["case"]]
        for name in (MECHTUI, FULL):
            timing = result["ms"][name]
            cells.append(f"{timing['median']:,.1f} ({timing['low']:,.1f}-{timing['high']:,.1f})")
        cells += [f"{result['times_faster']:.1f}x", f"{result['wanted']:g}x" if result["wanted"] else ""]
        floor = result["ms"].get(FLOOR)
        cells += [f"{floor['median']:,.1f}", f"{result['over_floor']:.2f}x"] if floor else ["", ""]
        cells.append(f"{result['largest_difference']:.0e}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    print(markdown(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
