"""Memory of the model process for each view at 512 tokens: `python -m tests.memory [MODEL] [--tokens 512] [--only TEXT]
[--seconds 60] [--warm]`. Linux only.

Every line is asked in a fresh process, or with --warm all of them twice in one, of which the second time is shown; of a
session with a source, two cases and an edit that is on. Between two lines the process rests, as it does when nothing is
asked for a second. A job that has not ended after some seconds is stopped, since it holds its most from the first
batches on. Shown is the most that the process held, and how much of that is more than the weights: no view may take
more than 1.2 GB of that. MODEL: smollm2 where none is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mechtui.allocator import map_large, tidy
from mechtui.bench.subject import subject
from mechtui.engine.api import Cancelled, Engine, SessionError
from mechtui.session.document import Session
from mechtui.session.storage import load
from mechtui.views import parse_question, spec_of, specs

EDITS = 'edits = ["zero L9H3", "# scale L11H0 x2"]\ncases = "cases.jsonl"\n'
SAE = 'saes = ["res = ./sae"]\n'
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
    *("features", "geometry", "toy", "directions"),
    *("sweep zero L*H* over cases", "sweep patch L*.pre over cases"),
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """peak: bytes; over: more than the weights; said: why there is no whole answer, empty where there is one."""

    line: str
    peak: int
    over: int
    seconds: float
    said: str = ""


def files(folder: Path, text: str, other: str, target: tuple[str, str]) -> None:
    """A session, another one to compare with, cases and a text, all as long as the prompt."""
    answer, foil = target
    both = {"prompt": text, "source": other, "answer": answer, "foil": foil}
    said = "".join(f"{name} = {json.dumps(value)}\n" for name, value in both.items())
    vector = 'v = diff L9.pre " Love" " Hate"'
    head = f"mechtui = 1\n{said}vectors = [{json.dumps(vector)}]\n"
    (folder / "session.toml").write_text(
        head + 'edits = ["zero L9H3", "# scale L11H0 x2"]\ncases = "cases.jsonl"\n' + SAE
    )
    (folder / "other.toml").write_text(head)
    (folder / "text.txt").write_text(f"{text}\n" * 8)
    (folder / "cases.jsonl").write_text(
        f"{json.dumps(both)}\n{json.dumps({**both, 'prompt': other, 'source': text})}\n"
    )


def dictionary(folder: Path, width: int) -> None:
    """A sparse autoencoder with random weights, eight features for each dimension."""
    draw = np.random.default_rng(0)
    wide = 8 * width
    into, out = (draw.normal(0, width**-0.5, (width, wide)).astype(np.float32) for _ in range(2))
    biases = {"b_enc": np.zeros(wide, np.float32), "b_dec": np.zeros(width, np.float32)}
    folder.mkdir()
    save_file({"W_enc": into, "W_dec": np.ascontiguousarray(out.T), **biases}, folder / "sae_weights.safetensors")
    config = {"architecture": "standard", "d_in": width, "d_sae": wide}
    config |= {"metadata": {"hook_name": "blocks.9.hook_resid_post", "prepend_bos": None}}
    (folder / "cfg.json").write_text(json.dumps(config))


def measured(engine: Engine, session: Session, line: str, weights: int, seconds: float) -> Figure:
    Path("/proc/self/clear_refs").write_text("5")  # the most that was held is what is held now
    began = time.monotonic()
    question = parse_question(line)
    said = ""
    try:
        opened = engine.open(session, lambda: time.monotonic() - began > seconds, (question,))
        for _ in opened.answer(question):
            opened.check_cancelled()
    except SessionError as error:
        said = str(error)
    except Cancelled:
        said = "stopped"
    return Figure(line, held("VmHWM"), held("VmHWM") - weights, time.monotonic() - began, said)


def held(what: str) -> int:
    """Bytes that this process holds (VmRSS), or held at most (VmHWM)."""
    found = re.search(rf"{what}:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def alone(lines: Sequence[str], model: str, tokens: int, seconds: float) -> Iterator[Figure]:
    """In this process: what lines take, one after the other."""
    map_large()  # as the model process does
    chosen = subject(model, directly=True)
    sizes = {p.data_ptr(): p.numel() * p.element_size() for p in chosen.model.bridge.parameters()}
    weights = sum(sizes.values())
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        one, two = chosen.words()[:2]
        files(Path(name), chosen.text(tokens), chosen.text(tokens, 1), (one, two))
        dictionary(Path(name) / "sae", chosen.model.shape.d_model)
        for line in lines:
            yield measured(chosen.engine, load("session.toml"), line, weights, seconds)
            tidy()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.memory", description="Memory for each view.")
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--only", default="", help="only the lines that hold this text")
    parser.add_argument("--one", nargs="+", help="these lines, in this process")
    parser.add_argument("--warm", action="store_true", help="all in one process that has answered all of them before")
    parser.add_argument("--seconds", type=float, default=60, help="after so many a job is stopped")
    given = parser.parse_args()
    if given.one is not None:
        for figure in alone(given.one, given.model, given.tokens, given.seconds):
            print(json.dumps(asdict(figure)), flush=True)
        return 0
    if left := set(specs()) - {spec_of(parse_question(line)).name for line in LINES}:
        raise SystemExit(f"no line of {', '.join(sorted(left))} is measured")
    print(
        f"| {given.model}, {given.tokens} tokens | most held, GB | over the weights | seconds |\n|---|---:|---:|---:|"
    )
    lines = [line for line in LINES if given.only in line]
    too_much = False
    for asked in [lines * 2] if given.warm else [[line] for line in lines]:
        command = [sys.executable, "-m", "tests.memory", given.model, "--tokens", str(given.tokens), "--one", *asked]
        command += ["--seconds", str(given.seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for number, said in enumerate(process.stdout):
                if number < len(asked) - len(lines):
                    continue  # it has not answered all of them before
                figure = Figure(**json.loads(said))
                too_much |= figure.over > LIMIT
                mark, how = " **too much**" if figure.over > LIMIT else "", f" ({figure.said})" if figure.said else ""
                numbers = f"{figure.peak / 1e9:.2f} | {figure.over / 1e9:+.2f}{mark} | {figure.seconds:.0f}{how}"
                print(f"| `{figure.line}` | {numbers} |", flush=True)
        if process.returncode:
            raise SystemExit(f"the measuring process ended with {process.returncode}")
    return int(too_much)


if __name__ == "__main__":
    raise SystemExit(main())
