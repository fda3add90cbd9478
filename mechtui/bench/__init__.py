"""`mechtui bench`: how fast this machine answers, beside what one would write with TransformerLens.

timing.py   interleaved repeats, medians, spread
subject.py  the model that is measured, and texts of a wanted number of tokens
rivals.py   the same answers by full runs of the bridge, and the floor: bare blocks
cases.py    what is measured
child.py    a fresh process: first result after start, memory
screen.py   from a key to new numbers on the screen, in the app
keys.py     bytes, cells and milliseconds of keys in every pane
report.py   the table and the JSON file
"""

from __future__ import annotations


def run(model: str | None, json_path: str | None, repeats: int, only: str, device: str, screen: bool) -> int:
    """Measure, print the table, write JSON where json_path names a file. Returns the exit status.

    model: None for gpt2 if it is here, else random weights. only: what the names of cases must have in them.
    screen: only what keys cost the terminal.
    """
    from mechtui.bench.cases import measure_all
    from mechtui.bench.report import show
    from mechtui.bench.subject import subject

    chosen = subject(model, device)
    if screen:
        from mechtui.bench.keys import show_keys

        show_keys(chosen, json_path)
        return 0
    report = measure_all(chosen, repeats, only)
    show(report, json_path)
    return 0
