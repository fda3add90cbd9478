"""How views and panes grow with the prompt: `python -m tests.benchmarks.length [--only TEXT]`.

Every view is asked of a small model at 128, 512 and 1,024 tokens, with an edit on, after the runs have been made: what
it costs besides them. Its pane is then painted in 120 by 40 cells. The last columns say how many times more the longest
text takes than the shortest, of eight times the tokens.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
from pathlib import Path

from mechtui.bench.subject import ask, subject
from mechtui.engine.errors import SessionError
from mechtui.panes.pane import Focus
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import parse_question, spec_of
from mechtui.views.example import Example
from tests import tiny
from tests.panes.pictures import pictured

COUNTS = (128, 512, 1024)
WIDTH, HEIGHT = 120, 40
REPEATS = 5
LINES = (
    *("next_tokens", "tokens", "residual", "attention L9H3", "heads entropy", "heads norm", "heads attribution"),
    *("lens", "loss", "bigrams", "attribution", "attribution L9H3", "attribution L9.mlp", "neurons", "path logits"),
    *("path L9H3.q", "composition K", "circuit L9H3", "effects", "vectors", "generate", "dose add L6.pre v"),
    *("sweep zero L*H* estimate", "sweep patch L*.pre estimate", "scores"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.length", description="Growth with the prompt.")
    parser.add_argument("--only", default="", help="only the lines that hold this text")
    given = parser.parse_args()
    tiny.LAYERS, tiny.HEADS, tiny.WIDTH, tiny.CONTEXT = 12, 12, 96, 1100
    with tempfile.TemporaryDirectory() as name:
        chosen = subject(str(tiny.make(Path(name))), "cpu")
    engine = chosen.engine
    sides = [f"{what}, {count}" for what in ("answer", "paint") for count in COUNTS]
    print(f"| line (ms) | {' | '.join(sides)} | answer x | paint x |\n|---|{'---:|' * 8}")
    for line in LINES:
        if given.only not in line:
            continue
        question = parse_question(line)
        pane = importlib.import_module(f"mechtui.views.{spec_of(question).name}.pane").PANE
        answers, paints = [], []
        for count in COUNTS:
            text = ("The house stood at the end of the lane; " * 30)[: count - 1]
            session = Session(
                prompt=text,
                source=text.replace("house", "horse"),
                answer="a",
                foil="b",
                edits=(parse_edit("scale L2H1 x0.5"),),
                vectors=(parse_vector('v = diff L6.pre "a" "b"'),),
            )
            took = []
            for repeat in range(REPEATS):
                engine.forget()
                changed = Session(**{each: getattr(session, each) for each in session.__struct_fields__})
                ask(engine, changed, ("next_tokens",))
                opened = engine.open(changed, questions=(question,))
                began = time.perf_counter()
                try:
                    *_, (clean, edited, _) = opened.answer(question)
                except SessionError as error:
                    print(f"| `{line}` | {error} |")
                    break
                took.append(time.perf_counter() - began)
                if repeat == 0 and took[0] > 2:
                    break
            if not took:
                break
            answers.append(statistics.median(took) * 1000)
            assert clean is not None
            example = Example(question, clean, edited, session, chosen.model.shape, opened.tokens)
            picture = pictured(example, Focus(layer=9, head=3))
            drawn = []
            for _ in range(REPEATS):
                one = pane()
                began = time.perf_counter()
                page = one.draw(picture, WIDTH, HEIGHT)
                if page.head is not None:
                    page.head(0)
                for row in range(min(page.rows, HEIGHT)):
                    page.row(row, 0)
                drawn.append(time.perf_counter() - began)
            paints.append(statistics.median(drawn) * 1000)
        if len(answers) == len(COUNTS):
            cells = " | ".join(f"{value:.1f}" for value in (*answers, *paints))
            print(f"| `{line}` | {cells} | {answers[-1] / answers[0]:.1f} | {paints[-1] / paints[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
