"""Train the embedded models: `python -m mechtui.embedded.train [demo|attn-only-1l|attn-only-2l]`.

Three phases. **repeats**: random tokens said twice, through the attention of a few layers alone, until the second
half of a repeat costs hardly anything and a head attends to what followed before: that is when induction heads have
formed (Olsson et al. 2022); or until their time is up. **text**: all layers, the mixture of texts, some repeats
kept in, until the figures are reached. **settle**: the learning rates fall to nothing. Every step's rows come from
the seed and the step's number, so a training that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from mechtui.embedded import MODELS, network, tokenizer
from mechtui.embedded.network import Network, Shape
from mechtui.embedded.optimiser import MuonAdam
from mechtui.embedded.progress import Figures, figures
from mechtui.embedded.text.corpus import Corpus, end_of_text_id


@dataclass(frozen=True)
class Plan:
    """How one model is trained. A step has `tokens` tokens, in rows as long as the phase wants them.

    First random repeats, in rows that grow as copying is learned; then text with repeats among it, in rows that
    grow with the steps; then the same while the rate falls to zero.
    """

    shape: Shape
    tokens: int = 4096
    repeats_at_most: int = 850
    # Random repeats are learned by the attention of these layers alone. What the last layer's heads copy goes straight
    # to the unembedding, so when names are to be moved it is they that learn it, and not an MLP behind them.
    layers_first: tuple[int, ...] = (0, 3)
    text_at_least: int = 700
    text_at_most: int = 1300
    settle: int = 600
    repeat_share_first: float = 1.0
    repeat_share: float = 0.25
    matrix_rate: float = 0.015
    other_rate: float = 1e-3
    warm_up: int = 30
    mark_weight: float = 4.0
    strange_names: float = 0.3
    shortest_row: int = 64
    copied: float = 1.0  # repeats of a row's length that cost less (nats) make the rows twice as long
    text_row: int = 128
    row_doubles: int = 250  # steps of text after which rows become twice as long, until they fill the context
    look_every: int = 25
    mover_wanted: float = 0.35


PLANS: dict[str, Plan] = {
    "demo": Plan(Shape()),
    "attn-only-1l": Plan(
        Shape(n_layers=1, n_heads=8, d_model=256, d_mlp=0),
        repeats_at_most=0,
        text_at_least=400,
        text_at_most=400,
        settle=300,
    ),
    "attn-only-2l": Plan(
        # Of four heads in 128 dimensions none came to look one token back; they matched stretches 18 back instead.
        Shape(n_layers=2, n_heads=8, d_model=256, d_mlp=0),
        layers_first=(0, 1),
        text_at_least=400,
        text_at_most=400,
        settle=300,
    ),
}


class Training:
    """A training that can be stopped after any step and taken up again from `folder`/state.pt."""

    def __init__(self, plan: Plan, words: Tokenizer, seed: int, folder: Path) -> None:
        self.plan = replace(plan, shape=replace(plan.shape, n_vocab=words.get_vocab_size()))
        self.words = words
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.network = Network(self.plan.shape, seed)
        self.optimiser = MuonAdam(self.network.matrices(), self.network.others())
        self.corpus = Corpus(
            words,
            seed=seed,
            n_ctx=self.plan.shape.n_ctx,
            mark_weight=plan.mark_weight,
            strange_names=plan.strange_names,
        )
        self.step = 0
        self.phase = "repeats" if plan.repeats_at_most else "text"
        self.phase_began = 0
        # What a head finds by attending to everything is the sum of what it attends to. Of a few tokens such a
        # sum can be read, of a hundred hardly; so copying is learned from short rows first, in far fewer steps.
        self.row_length = plan.shortest_row if plan.repeats_at_most else plan.shape.n_ctx
        self.seconds = 0.0
        self.log: list[dict[str, Any]] = []
        self.during_ratio = -1.0

    @property
    def last_step(self) -> int:
        """The latest step at which the training can end, as far as is known now."""
        plan = self.plan
        left = {"repeats": plan.repeats_at_most + plan.text_at_most, "text": plan.text_at_most, "settle": 0}
        return self.phase_began + left[self.phase] + plan.settle

    @property
    def done(self) -> bool:
        return self.phase == "settle" and self.step - self.phase_began >= self.plan.settle

    def advance(self) -> float:
        """One step; its loss."""
        began = time.perf_counter()
        plan = self.plan
        share = plan.repeat_share_first if self.phase == "repeats" else plan.repeat_share
        length = self.row_length
        made = self.corpus.rows(self.step, plan.tokens // length, share, length)
        self.network.only = plan.layers_first if self.phase == "repeats" else ()
        loss = self.network.loss(torch.from_numpy(made.tokens), torch.from_numpy(made.weights))
        loss.backward()  # type: ignore[no-untyped-call]
        rate = min(1.0, (self.step + 1) / plan.warm_up)
        if self.phase == "settle":
            rate *= 1 - (self.step - self.phase_began) / plan.settle
        self.optimiser.step(plan.matrix_rate * rate, plan.other_rate * rate)
        self.step += 1
        self.seconds += time.perf_counter() - began
        return loss.item()

    def look(self, loss: float) -> Figures:
        """Measure, note it in the log, keep the checkpoints of the phase change, change phase if it is time."""
        now = figures(self.network, self.words, self.row_length)
        entry = {"step": self.step, "phase": self.phase, "loss": loss, "seconds": self.seconds, **asdict(now)}
        self.log.append({k: round(v, 4) if isinstance(v, float) else v for k, v in entry.items()})
        if self.during_ratio < 0 and now.ratio > 0.8:
            self.save_weights(self.folder / "before")
        elif abs(now.ratio - 0.4) < abs(self.during_ratio - 0.4):
            self.save_weights(self.folder / "during")
            self.during_ratio = now.ratio
        in_phase = self.step - self.phase_began
        plan = self.plan
        whole = self.row_length == plan.shape.n_ctx
        if self.phase == "repeats":
            formed = whole and now.ratio < 0.03 and now.induction > 0.85
            if now.here < plan.copied:
                self.row_length = min(2 * self.row_length, plan.shape.n_ctx)
            self._next("text", if_=formed or in_phase >= plan.repeats_at_most)
        elif self.phase == "text":
            self.row_length = min(plan.text_row * 2 ** (in_phase // plan.row_doubles), plan.shape.n_ctx)
            good = now.ioi > 0.98 and now.ioi_templates > 0.9 and now.ratio < 0.1 and now.mover > plan.mover_wanted
            enough = whole and good and in_phase >= plan.text_at_least
            self._next("settle", if_=enough or in_phase >= plan.text_at_most)
        return now

    def _next(self, phase: str, *, if_: bool) -> None:
        if if_:
            self.phase = phase
            self.phase_began = self.step
            self.row_length = self.plan.text_row if phase == "text" else self.plan.shape.n_ctx

    def save(self) -> None:
        """Everything that is needed to go on, as tensors, numbers and text."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "at": json.dumps(
                {
                    "step": self.step,
                    "phase": self.phase,
                    "phase_began": self.phase_began,
                    "row_length": self.row_length,
                    "seconds": self.seconds,
                    "during_ratio": self.during_ratio,
                    "log": self.log,
                }
            ),
        }
        partial = self.folder / "state.part"
        torch.save(state, partial)
        partial.replace(self.folder / "state.pt")

    def resume(self) -> bool:
        """Take up a stopped training; whether there was one."""
        path = self.folder / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in json.loads(state["at"]).items():
            setattr(self, name, value)
        return True

    def save_weights(self, folder: Path) -> None:
        """The model as it is now, ready to be loaded: config.json, model.safetensors, tokenizer, log.json."""
        tokenizer.save(self.words, folder, self.plan.shape.n_ctx)
        eot = end_of_text_id(self.words)
        shape = self.plan.shape
        config = network.gpt2_config(shape, eot) if shape.d_mlp else network.native_config(shape, eot)
        state: dict[str, Tensor]
        state = network.gpt2_state(self.network) if shape.d_mlp else network.native_state(self.network)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(state, folder / "model.safetensors", metadata={"format": "pt", "step": str(self.step)})
        (folder / "log.json").write_text("[\n" + ",\n".join(json.dumps(e) for e in self.log) + "\n]\n")


def train(training: Training, *, console: Console, save_every: int = 200, stop_at: int | None = None) -> None:
    """Run to the end, or to step `stop_at`, with a progress bar and a line of figures at every look."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(training.phase, total=training.last_step, completed=training.step)
        loss = float("nan")
        while not training.done and (stop_at is None or training.step < stop_at):
            loss = training.advance()
            if training.step % training.plan.look_every == 0 or training.done:
                now = training.look(loss)
                console.print(f"{training.step} {training.phase} {training.seconds:.0f}s loss {loss:.3f} {now}")
            if training.step % save_every == 0:
                training.save()
            bar.update(
                task,
                description=f"{training.phase} {loss:.2f}",
                completed=training.step,
                total=training.last_step,
            )
    training.save()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mechtui.embedded.train", description=__doc__)
    parser.add_argument("model", nargs="?", default="demo", choices=sorted(PLANS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work (default: .training/MODEL)")
    parser.add_argument("--fresh", action="store_true", help="do not take up a stopped training")
    parser.add_argument("--install", action="store_true", help="write the result over the embedded model")
    parser.add_argument("--threads", type=int, help="processor cores to use")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=NUMBER", help="change the plan")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    plan = PLANS[options.model]
    for change in options.set:
        name, _, value = change.partition("=")
        number = float(value)
        if hasattr(plan.shape, name):
            plan = replace(plan, shape=replace(plan.shape, **{name: int(number)}))
        else:
            kind = type(getattr(plan, name))
            plan = replace(plan, **{name: kind(number)})
    console = Console(stderr=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 220)
    folder = options.folder or Path(".training") / options.model
    training = Training(plan, tokenizer.build(seed=0), options.seed, folder)
    if not options.fresh and training.resume():
        console.print(f"taken up at step {training.step}")
    train(training, console=console)
    training.save_weights(folder / "final")
    if options.install:
        training.save_weights(MODELS[options.model])
        for stage in ("before", "during"):
            if (place := MODELS.get(f"{options.model}@{stage}")) is not None:
                shutil.copytree(folder / stage, place, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
