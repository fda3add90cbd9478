"""Memory of the model process for each view at 512 tokens: `python -m tests.memory [MODEL] [--tokens 512] [--only TEXT]
[--seconds 60] [--json FILE]`.

Every line is asked by `mechtui run` in a process of its own, of a session with an edit that is on; a job that has not
ended after some seconds is stopped, since it holds its most from the first batches on. Shown is what the largest
process held at most, and how much of that is more than the weights: no view may take more than 1.2 GB of that. MODEL:
by default smollm2.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mechtui.views import parse_question, spec_of, specs

LIMIT = 1_200_000_000
# The heaviest lines of each view, and those that it asks by itself.
LINES = (
    *("next_tokens", "tokens", "residual", "attention L9H3", "attention L9H3 scores", "attention L9H3 value"),
    *("heads entropy", "heads norm", "heads attribution", "scores", "lens", "lens mid", "loss", "bigrams", "vectors"),
    *("attribution", "attribution L9H3", "attribution L9.mlp", "attribution measured", "attribution L9H3 measured"),
    *("neurons", "neurons attribution", 'contexts "text.txt"', "circuit L9H3", "circuit L9H3 trigrams"),
    *("circuit L9H3 directions", "composition K", "path logits", "path L9H3.q", "path L9.mlp cut", "history"),
    *('compare "other.toml"', "effects", "sweep zero L*H*", "sweep zero L*H* estimate", "sweep patch L*.pre"),
    *("sweep patch L*.pre ig8 estimate", "sweep patch L*H*.pattern", "sweep patch L*H*.pattern estimate"),
    *("dose add L9.pre v", "dose add L9.pre v layers", "generate", 'perplexity "text.txt"', "cases", "faithfulness"),
    *("sweep zero L*H* over cases", "sweep patch L*.pre over cases"),
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """peak: bytes; over: more than the weights; ended: whether the answer was whole before it was stopped."""

    line: str
    peak: int
    over: int
    seconds: float
    ended: bool
    said: str = ""


def files(folder: Path, text: str, other: str, target: tuple[str, str]) -> None:
    """A session, another one to compare with, cases and a text, all as long as the prompt."""
    answer, foil = target
    both = {"prompt": text, "source": other, "answer": answer, "foil": foil}
    said = "".join(f"{name} = {json.dumps(value)}\n" for name, value in both.items())
    vector = 'v = diff L9.pre " Love" " Hate"'
    head = f"mechtui = 1\n{said}vectors = [{json.dumps(vector)}]\n"
    (folder / "session.toml").write_text(head + 'edits = ["zero L9H3", "# scale L11H0 x2"]\ncases = "cases.jsonl"\n')
    (folder / "other.toml").write_text(head)
    (folder / "text.txt").write_text(f"{text}\n" * 8)
    (folder / "cases.jsonl").write_text(
        f"{json.dumps(both)}\n{json.dumps({**both, 'prompt': other, 'source': text})}\n"
    )


def measured(line: str, model: str, folder: Path, weights: int, seconds: float) -> Figure:
    command = [sys.executable, "-m", "mechtui", "run", "session.toml", "--model", model, "--view", line]
    began = time.monotonic()
    with (folder / "said.txt").open("w+b") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said)
        stopped = False
        while True:
            pid, status, usage = os.wait4(process.pid, 0 if stopped else os.WNOHANG)
            if pid:
                break
            if time.monotonic() - began > seconds:
                process.send_signal(signal.SIGINT)
                stopped = True
            else:
                time.sleep(0.2)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        last = said.read().decode(errors="replace").strip().rpartition("\n")[2]
    peak = usage.ru_maxrss * 1024
    took = time.monotonic() - began
    return Figure(line, peak, peak - weights, took, process.returncode == 0, "" if process.returncode == 0 else last)


def prepare(model: str, tokens: int) -> None:
    """Print the weights' bytes, two texts, and two words."""
    from mechtui.bench.subject import subject

    chosen = subject(model)
    weights = {p.data_ptr(): p.numel() * p.element_size() for p in chosen.model.bridge.parameters()}
    print(json.dumps([sum(weights.values()), chosen.text(tokens), chosen.text(tokens, 1), *chosen.words()[:2]]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.memory", description="Memory for each view.")
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--only", default="", help="only the lines that hold this text")
    parser.add_argument("--seconds", type=float, default=60, help="after so many a job is stopped")
    parser.add_argument("--json", dest="file", type=Path)
    given = parser.parse_args()
    named = {spec_of(parse_question(line)).name for line in LINES}
    if left := set(specs()) - named:
        raise SystemExit(f"no line of {', '.join(sorted(left))} is measured")
    # In a process of its own: one that is started counts what the starting one held.
    code = f"from tests.memory import prepare; prepare({given.model!r}, {given.tokens})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    weights, *texts, one, two = json.loads(done.stdout.splitlines()[-1])
    figures = []
    with tempfile.TemporaryDirectory() as name:
        files(Path(name), texts[0], texts[1], (one, two))
        # The first one compares the model with the bridge, which reads the weights a second time.
        measured("tokens", given.model, Path(name), weights, 600)
        print(f"{given.model}, {given.tokens} tokens, weights {weights / 1e9:.2f} GB\n")
        print("| line | most held, GB | over the weights | seconds |\n|---|---:|---:|---:|")
        for line in LINES:
            if given.only not in line:
                continue
            figure = measured(line, given.model, Path(name), weights, given.seconds)
            figures.append(figure)
            mark = "" if figure.over <= LIMIT else " **too much**"
            how = "" if figure.ended else f" ({figure.said or 'stopped'})"
            print(
                f"| `{line}` | {figure.peak / 1e9:.2f} | {figure.over / 1e9:+.2f}{mark} | {figure.seconds:.0f}{how} |",
                flush=True,
            )
    if given.file is not None:
        given.file.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))
    return int(any(figure.over > LIMIT for figure in figures))


if __name__ == "__main__":
    raise SystemExit(main())
