"""Train the demo's dictionaries: `python -m mechtui.embedded.train_sae [res2|mlp3] [--install]`.

A sparse autoencoder of a residual stream and a transcoder of an MLP, from activations of the demo on its own text
(`mechtui.embedded.text`, no random repeats). The activations are collected once, into a temporary file. Then the
features that earn a label get one (`mechtui.embedded.labels`), and the whole is measured on held-out text: other
documents of the same generator, those that were learned from left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mechtui.embedded import DICTIONARIES, dictionary, labels
from mechtui.embedded.dictionary import Recipe
from mechtui.embedded.reading import Reading, read
from mechtui.selftest import features
from mechtui.selftest.subject import Subject, load

RECIPES: dict[str, Recipe] = {
    "res2": Recipe("demo", "blocks.2.hook_resid_pre"),
    "mlp3": Recipe("demo", "blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out", rows=1200),
}
# Readings: their seeds differ from the demo's own.
LEARNED_FROM, HELD_OUT = 1, 2
ROWS_LABELLED, ROWS_HELD, ROWS_LOSS = 400, 240, 48


@contextmanager
def collected(subject: Subject, reading: Reading, hooks: tuple[str, ...], console: Console) -> Iterator[list[Tensor]]:
    """Activations at all tokens that are text, float16 [token, d] of each hook, in a file that goes afterwards."""
    count = int(reading.counts.sum())
    with tempfile.TemporaryDirectory() as place:
        files: list[Any] = []
        at = 0
        starts = range(0, len(reading.tokens), 16)
        for begin in track(starts, "collecting", console=console, transient=True):
            counts = torch.from_numpy(reading.counts[begin : begin + 16])
            _, kept = subject.run(torch.from_numpy(reading.tokens[begin : begin + 16]), list(hooks))
            for k, hook in enumerate(hooks):
                taken = kept[hook][counts].numpy().astype(np.float16)
                if len(files) == k:
                    shape = (count, taken.shape[1])
                    files.append(np.memmap(Path(place) / str(k), np.float16, "w+", shape=shape))
                files[k][at : at + len(taken)] = taken
            at += len(taken)
        yield [torch.from_numpy(file) for file in files]


def train(subject: Subject, recipe: Recipe, *, seed: int, folder: Path, console: Console) -> dict[str, Any]:
    """Learn, write the folder, label, measure; the figures, which log.json keeps."""
    began = time.perf_counter()
    reading = read(subject.tokenizer.backend_tokenizer, seed=LEARNED_FROM, rows=recipe.rows)
    hooks = tuple(dict.fromkeys((recipe.hook, recipe.hook_out or recipe.hook)))
    with collected(subject, reading, hooks, console) as taken:
        console.print(f"{len(taken[0])} tokens after {time.perf_counter() - began:.0f} s")

        def say(step: int, loss: float) -> None:
            if step % 100 == 0:
                console.print(f"{step} of {recipe.steps}: loss {loss:.4f}, {time.perf_counter() - began:.0f} s")

        learner = dictionary.learn(recipe, taken[0], taken[-1], seed=seed, progress=say)
        dictionary.fit_threshold(learner, taken[0])
        dictionary.save(learner, folder, subject.n_ctx)
        seconds = time.perf_counter() - began
        found = label(subject, reading, taken[0], folder)
    return {"recipe": asdict(recipe), "seed": seed, "seconds": round(seconds), **found}


def label(subject: Subject, reading: Reading, inputs: Tensor, folder: Path) -> dict[str, Any]:
    """Find labels on some of what was learned from, write those that hold on held-out text, measure there."""
    made = features.read_dictionary(folder.name, folder)
    some = first_rows(reading, ROWS_LABELLED)
    on = torch.cat([made.encode(part.float()) > 0 for part in torch.split(inputs[: int(some.counts.sum())], 4096)])
    vocabulary = features.vocabulary(subject)
    found = labels.find(labels.places(some, some.counts), features.firings(on), vocabulary)
    held = read(subject.tokenizer.backend_tokenizer, seed=HELD_OUT, rows=ROWS_HELD, but=reading.texts)
    measured = features.measure(subject, made, held, losses_of=ROWS_LOSS)
    checked = features.held_labels(subject, found, measured.on, held)
    kept = [one for one in checked if labels.earned(one)]
    labels.write(kept, folder / labels.FILE)
    clamped = None if made.transcodes else asdict(features.clamp_names(subject, made, kept))
    return {
        "l0": round(measured.l0, 2),
        "explained": round(measured.explained, 4),
        "loss": [round(loss, 4) for loss in (measured.clean, measured.replaced, measured.zeroed)],
        "recovered": round(measured.recovered, 4),
        "silent": round(measured.silent, 4),
        "labels_found": len(found),
        "labels": len(kept),
        "labelled": round(sum(one.firings for one in kept) / len(measured.on.feature), 3),
        "clamped": clamped,
    }


def first_rows(reading: Reading, rows: int) -> Reading:
    """The first rows of a reading."""
    return replace(
        reading,
        tokens=reading.tokens[:rows],
        counts=reading.counts[:rows],
        fresh=reading.fresh[:rows],
        tags={name: tag[:rows] for name, tag in reading.tags.items()},
    )


def changed(recipe: Recipe, change: str) -> Recipe:
    """A recipe with one NAME=VALUE of it changed; of `groups`, numbers with commas between."""
    field, _, value = change.partition("=")
    kind = type(getattr(recipe, field))
    new: dict[str, Any] = {field: tuple(map(int, value.split(","))) if kind is tuple else kind(value)}
    return replace(recipe, **new)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mechtui.embedded.train_sae", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to write (default: .training/)")
    parser.add_argument("--install", action="store_true", help="write the result over the embedded dictionary")
    parser.add_argument("--threads", type=int, help="processor cores to use")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the recipe")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in RECIPES]:
        parser.error(f"no dictionary is called {unknown[0]!r}; there are: {', '.join(RECIPES)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    console = Console(stderr=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 220)
    for name in options.names or list(RECIPES):
        recipe = RECIPES[name]
        for change in options.set:
            recipe = changed(recipe, change)
        folder = DICTIONARIES[recipe.model][name] if options.install else (options.folder or Path(".training")) / name
        figures = train(load(recipe.model), recipe, seed=options.seed, folder=folder, console=console)
        (folder / "log.json").write_text(json.dumps(figures, indent=2) + "\n")
        console.print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
