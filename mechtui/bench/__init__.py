"""`mechtui bench`: how fast this machine answers, beside what one would write with TransformerLens.

timing.py   interleaved repeats, medians, spread
subject.py  the model that is measured, and texts of a wanted number of tokens
rivals.py   the same answers by full runs of the bridge, and the floor: bare blocks
cases.py    what is measured
child.py    a fresh process: first result after start, memory
screen.py   from a key to new numbers on the screen, in the app
report.py   the table and the JSON file
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def run(arguments: Sequence[str] = ()) -> int:
    """Measure, print the table, write JSON where `--json FILE` says so. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="mechtui bench", description="Measure how fast mechtui is on this machine.")
    parser.add_argument("--model", help="what to measure; by default gpt2 if it is here, else random weights")
    parser.add_argument("--json", dest="json_path", metavar="FILE", help="write all figures here")
    parser.add_argument("--repeats", type=int, default=7, help="repeats of each short measurement (default 7)")
    parser.add_argument("--only", default="", help="only the cases whose name holds this text")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    given = parser.parse_args(list(arguments))
    from mechtui.bench.cases import measure_all
    from mechtui.bench.report import show
    from mechtui.bench.subject import subject

    chosen = subject(given.model, given.device)
    report = measure_all(chosen, max(3, given.repeats), given.only)
    show(report, given.json_path)
    return 0
