"""What is measured: each case, mechtui's way and the others', with the largest difference between their numbers."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mechtui.bench import rivals
from mechtui.bench.child import fresh_process
from mechtui.bench.screen import key_to_screen
from mechtui.bench.start import start
from mechtui.bench.subject import Subject, ask
from mechtui.bench.timing import Contender, Timing, bandwidth, interleaved, taken_by_others
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question

# Processes that are started, at most: each takes seconds.
STARTS = 5
MECHTUI, FULL, FLOOR = "mechtui", "TransformerLens", "bare blocks"


@dataclass
class Result:
    """wanted: how many times faster than TransformerLens this should be at least; 0: not said. difference: the
    largest difference between mechtui's numbers and TransformerLens's (logits, or the sweep's values)."""

    case: str
    timings: dict[str, Timing]
    wanted: float = 0.0
    difference: float | None = None
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        if MECHTUI not in self.timings or FULL not in self.timings:
            return None
        return self.timings[FULL].median / self.timings[MECHTUI].median

    @property
    def over_floor(self) -> float | None:
        if MECHTUI not in self.timings or FLOOR not in self.timings:
            return None
        return self.timings[MECHTUI].median / self.timings[FLOOR].median


@dataclass
class Report:
    machine: dict[str, Any]
    model: str
    results: list[Result] = field(default_factory=list)
    process: dict[str, float] = field(default_factory=dict)


def measure_all(subject: Subject, repeats: int, only: str = "") -> Report:
    report = Report(machine(subject), subject.name)
    taken = taken_by_others()
    for name, measure in cases(subject, repeats):
        if only in name:
            print(f"{name} ...", file=sys.stderr, flush=True)
            report.results.append(measure())
            subject.engine.forget()
    if only in "process":
        report.process |= fresh_process(subject)
    if only in "start" and not subject.random:
        report.process |= start(subject.name, str(subject.device), min(repeats, STARTS))
    if only in "key to screen":
        report.process |= key_to_screen(subject)
    if taken is not None and (now := taken_by_others()) is not None:
        report.process["processor_time_taken_by_others_s"] = now - taken
    return report


def machine(subject: Subject) -> dict[str, Any]:
    from importlib.metadata import version

    import transformers

    device = subject.device
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "processor": gpu or platform.processor() or platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "bandwidth_gb_per_s": round(bandwidth(device) / 1e9, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "transformer_lens": version("transformer-lens"),
    }


def cases(subject: Subject, repeats: int) -> Iterator[tuple[str, Callable[[], Result]]]:
    n_layers = subject.model.shape.n_layers
    for layer in range(n_layers):
        yield f"toggle a head, layer {layer}, 32 tokens", partial(toggle, subject, layer, 32, repeats)
    for count in (16, 128, 256, 512):
        yield f"one token appended to {count}", partial(append, subject, count, repeats)
    for count in (32, 128):
        yield f"a word changed in the middle of {count}", partial(change, subject, count, repeats)
    for count in (16, 64):
        few = 3 if count == 16 else 2
        yield f"zero every head, {count} tokens", partial(sweep, subject, "zero L*H*", count, few)
        yield f"patch every head, {count} tokens", partial(sweep, subject, "patch L*H*", count, few)
    yield "patch the residual, layer by position, 16 tokens", partial(sweep, subject, "patch L*.pre", 16, 2)


def tokens_of(subject: Subject, text: str) -> Tensor:
    return torch.tensor([subject.model.encode(text, "auto")], device=subject.device)


def toggle(subject: Subject, layer: int, count: int, repeats: int) -> Result:
    """A head's edit, new at every repeat so that nothing is answered from memory; all panes' answers."""
    text, head = subject.text(count), 3 % subject.model.shape.n_heads
    tokens = tokens_of(subject, text)
    bridge, engine = subject.model.bridge, subject.engine
    floor = rivals.Floor(bridge, tokens)

    def session(repeat: int) -> Session:
        return Session(prompt=text, edits=(parse_edit(f"scale L{layer}H{head} x{factor(repeat)!r}"),))

    def factor(repeat: int) -> float:
        return 0.01 * (repeat + 1)

    def full(repeat: int) -> Tensor:
        return rivals.answers_by_full_run(bridge, tokens, [rivals.scaled_head(layer, head, factor(repeat))])

    ask(engine, Session(prompt=text))
    timings = interleaved(
        {
            MECHTUI: Contender(lambda repeat: ask(engine, session(repeat))),
            FULL: Contender(full),
            FLOOR: Contender(lambda _: floor.run(layer)),
            "mechtui, switched back on": Contender(lambda repeat: ask(engine, session(repeat))),
        },
        repeats,
        subject.device,
    )
    edited = ask(engine, session(999)).edited
    assert edited is not None
    last = subject.model.shape.n_layers - 1
    read = rivals.touched_bytes(bridge, layer)
    return Result(
        f"toggle a head, layer {layer}, {count} tokens",
        timings,
        wanted=10 if layer == last else 0,
        difference=largest(edited.logits([-1])[0], full(999)),
        notes={"weights_mb": read / 1e6},
    )


def append(subject: Subject, count: int, repeats: int) -> Result:
    """One more token after a text that is on the screen; another one at every repeat."""
    return _typed(
        subject, f"one token appended to {count}", *_appended(subject, count), repeats, 8 if count == 256 else 0
    )


def _appended(subject: Subject, count: int) -> tuple[str, Callable[[int], str]]:
    text, words = subject.text(count), subject.words()
    return text, lambda repeat: text + words[repeat % len(words)]


def change(subject: Subject, count: int, repeats: int) -> Result:
    """Another word in the middle of a text that is on the screen."""
    text = subject.text(count)
    cut = text.rindex(" ", 0, len(text) // 2)
    end = text.index(" ", cut + 1)
    words = subject.words()
    return _typed(
        subject,
        f"a word changed in the middle of {count}",
        text,
        lambda repeat: text[:cut] + words[repeat % len(words)] + text[end:],
        repeats,
        0,
    )


def _typed(subject: Subject, name: str, base: str, text: Callable[[int], str], repeats: int, wanted: float) -> Result:
    bridge, engine = subject.model.bridge, subject.engine

    def before(_: int) -> None:
        engine.forget()  # a word that came up before would be answered from memory
        ask(engine, Session(prompt=base))

    def full(repeat: int) -> Tensor:
        return rivals.answers_by_full_run(bridge, tokens_of(subject, text(repeat)), ())

    timings = interleaved(
        {
            MECHTUI: Contender(lambda repeat: ask(engine, Session(prompt=text(repeat))), prepare=before),
            FULL: Contender(full),
        },
        repeats,
        subject.device,
    )
    before(0)
    ours = ask(engine, Session(prompt=text(1))).clean.logits([-1])[0]
    return Result(name, timings, wanted, largest(ours, full(1)))


def sweep(subject: Subject, edit: str, count: int, repeats: int) -> Result:
    """`sweep EDIT`, against one full run per cell; the values of both are compared."""
    model, bridge, engine = subject.model, subject.model.bridge, subject.engine
    text, source = subject.text(count, seed=1), subject.text(count, seed=2)
    answer, foil = (model.encode(word, "no")[0] for word in subject.words()[:2])
    named = [model.token(id).text for id in (answer, foil)]
    session = Session(prompt=text, source=source, answer=named[0], foil=named[1])
    tokens, source_tokens = tokens_of(subject, text), tokens_of(subject, source)
    question = parse_question(f"sweep {edit}")

    def difference(logits: Tensor) -> Tensor:
        return logits[0, -1, answer] - logits[0, -1, foil]

    with torch.inference_mode():
        corrupted, clean = (float(difference(bridge(ids))) for ids in (tokens, source_tokens))

    def ours() -> Tensor:
        *_, (found, _, _) = engine.open(session, questions=(question,)).answer(question)
        return torch.from_numpy(found.values)  # type: ignore[union-attr]

    def theirs() -> Tensor:
        if edit.startswith("zero"):
            return rivals.zero_sweep(bridge, tokens, difference) - corrupted
        what = "heads" if "H" in edit else "resid"
        values = rivals.patching_sweep(bridge, tokens, source_tokens, difference, what)
        return (values - corrupted) / (clean - corrupted)

    def before(_: int) -> None:
        engine.forget()

    timings = interleaved(
        {MECHTUI: Contender(lambda _: ours(), prepare=before), FULL: Contender(lambda _: theirs())},
        repeats,
        subject.device,
        warm=0,
    )
    what = {"zero L*H*": "zero every head", "patch L*H*": "patch every head"}.get(
        edit, "patch the residual, layer by position"
    )
    wanted = 8 if edit == "patch L*H*" and count == 16 else 0
    return Result(f"{what}, {count} tokens", timings, wanted, largest(ours(), theirs()))


def largest(one: Tensor, other: Tensor) -> float:
    return float((one.cpu() - other.cpu()).abs().max())
