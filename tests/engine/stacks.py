"""Whatever one does, in whatever order: what the engine resumes from must not show in its numbers.

    python -m tests.engine.stacks --stacks 10000 --sequences 20 --changes 200 --seed 0

Two things are drawn. A stack is a session at random: texts, BOS, alignment, targets, vectors, references and up to six
edits of any kind anywhere. A sequence is a session that is changed as a user changes it, again and again: edits added,
deleted, added again, moved, switched, turned up, texts typed, cut and replaced, and views, sweeps and generation in
between. Each session is asked of an engine that has seen all those before it. Its logits, clean and edited, its
activations and what it generates are compared with plain Hugging Face modules (tests/engine/reference.py; in float32),
and for sequences and in bfloat16 with an engine that has seen nothing. GPT-2-, Llama-shaped and attention-only models,
blocks packed, exact and the bridge's take turns.

A difference is the largest of all numbers of an activation, as a share of the largest of these numbers where that is
above 1. Stacks of edits can be so badly conditioned that float32 itself is not worth 1e-4 (a norm of what cancels); of
those the plain model's float32 differs from its float64 as much, which is looked up and counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from mechtui.engine.api import Engine, OpenSession
from mechtui.engine.forward import choice
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.link.messages import Load
from mechtui.session.document import Edit, Session, Vector
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.views import parse_question
from mechtui.worker.models.load import load
from tests import folders
from tests.engine.reference import Activations, run

LAYERS = 3
# Of float32, as promised in docs/performance.md. bfloat16 rounds by 2^-8, and a softmax or a norm amplifies that.
CLOSE = {"float32": 1e-4, "bfloat16": 0.5}
BLOCKS = ("packed", "exact", "the bridge's")
SHAPES = ("gpt2", "llama", "attention only")

WORDS = (" Mary", " John", " gave", " the", " store", ",", " to", " a", " drink", " x", "Love", "Hate")
PLACES = ("", "", "@0", "@-1", "@1", "@0-2", "@1,-1", '@" John"', '@" Mary"#1')
NUMBERS = ("x0", "x0.5", "x-1", "x2", "x1.5", "x-0.25")
HOOKS = {
    "hook_resid_pre": "pre",
    "hook_resid_post": "post",
    "hook_attn_out": "attn",
    "hook_mlp_out": "mlp",
    "attn.hook_q": "q",
    "attn.hook_v": "v",
    "attn.hook_pattern": "pattern",
    "attn.hook_z": "z",
    "mlp.hook_post": "neuron",
}
VIEWS = (
    *("next_tokens top5", "effects", "heads entropy", "heads first", "heads norm @0", "residual", "lens", "tokens"),
    *("attention L0H1", "attention L2H0 value", "sweep zero L*H*", "sweep patch L*.pre", "sweep scale L*.attn x0.5"),
    *("sweep mean L*H*.pattern", "sweep add L*.pre v x2", "vectors"),
)


# The models


@dataclass
class Subject:
    """One model with one kind of blocks. plain: its weights in transformers' own class. engine: it has seen all that
    came before; afresh: it has seen nothing."""

    name: str
    dtype: str
    plain: Any
    engine: Engine
    afresh: Callable[[], Engine]
    double: Any
    has_mlp: bool
    kv_heads: int
    has_pos: bool
    clean: dict[tuple[bool, tuple[int, ...]], Activations] = field(default_factory=dict)


@contextmanager
def kind_of_blocks(kind: str) -> Iterator[None]:
    """Within, engines are made that run these blocks."""
    if kind == "the bridge's":
        with patch.object(kinds, "KINDS", {}):
            yield
    elif kind == "exact":
        with patch.object(choice, "can_be_packed", lambda _modules: False):
            yield
    else:
        yield


def subjects(place: Path, dtypes: Sequence[str] = ("float32", "bfloat16")) -> list[Subject]:
    """Every shape with every kind of blocks that it has, in each of the dtypes."""
    from copy import deepcopy

    from transformers import AutoModelForCausalLM

    found = []
    for shape in SHAPES:
        folder = place / shape.replace(" ", "-")
        plain: Any
        if shape == "attention only":
            folder, plain = folders.attention_only(folder, LAYERS)
        else:
            (folders.gpt2 if shape == "gpt2" else folders.llama)(folder, LAYERS)
            plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        plain.eval()
        double = deepcopy(plain).double()
        for dtype in dtypes:
            model = load(Load(str(folder), device="cpu", dtype=dtype), lambda *_: None, lambda: False)
            if model.ready.dtype != dtype:
                continue
            for kind in BLOCKS if shape != "attention only" else BLOCKS[2:]:
                if dtype != "float32" and kind == "packed":
                    continue

                def afresh(model: Any = model, kind: str = kind) -> Engine:
                    with kind_of_blocks(kind):
                        return Engine(model)

                name = f"{shape}, {kind}, {dtype}"
                sizes = model.shape
                found.append(
                    Subject(
                        name, dtype, plain, afresh(), afresh, double, sizes.d_mlp > 0, sizes.n_kv_heads, sizes.has_pos
                    )
                )
    return found


# What is drawn


def edit_line(draw: Random, subject: Subject) -> str:
    """Any op that the line's grammar has, at any site that the model has."""
    layer = draw.choice(("0", "1", "2", "*", "1-2", "0-1"))
    place = draw.choice(PLACES)
    head = draw.choice(("0", "1", "*", "0-1"))
    wide = [f"L{layer}.{part}" for part in ("pre", "attn", "post")] + ["embed"]
    values = [f"L{layer}H{head}{part}" for part in ("", ".q", ".k", ".v")]
    tables = [f"L{layer}H{head}.pattern", f"L{layer}H{head}.scores"]
    if subject.has_mlp:
        wide += [f"L{layer}.mid", f"L{layer}.mlp"]
        values += [f"L{layer}N{draw.choice(('3', '0-9', '*'))}"]
    if subject.has_pos:
        wide.append("pos")
    if draw.random() < 0.12:
        return path_line(draw, subject)
    op = draw.choice(
        ("zero", "mean", "freeze", "patch", "scale", "noise", "resample", "add", "project", "cut", "zero", "scale")
    )
    if op == "cut":
        queries, keys = draw.choice(("-1", "2", "*", "1-2")), draw.choice(("0", "1", "0-2", "*", '" John"'))
        return f"cut L{layer}H{head} {queries}>{keys}" + draw.choice(("", " raw"))
    if op in ("add", "project"):
        vector = draw.choice(("v", "w", "n" if subject.has_mlp else "t", "t"))
        return f"{op} {draw.choice(wide)} {place} {vector}" + (f" {draw.choice(NUMBERS)}" if op == "add" else "")
    site = draw.choice([*wide, *values] if op == "resample" else [*wide, *values, *tables, *tables])
    last = {"scale": draw.choice(NUMBERS), "noise": f"sd{draw.choice('12')} seed{draw.choice('12')}"}
    last["resample"] = f"seed{draw.choice('12')}"
    return f"{op} {site} {place} {last.get(op, '')}"


def path_line(draw: Random, subject: Subject) -> str:
    """A path from a layer to a later one, or from attention to the MLP behind it."""
    senders = ["L0H0", "L*H*", "L0-1H0-1", "L*.attn", "L0.attn", "embed"]
    receivers = [f"L{layer}H{head}.{part}" for layer in ("2", "*") for head in ("0", "*", "0-1") for part in "qkv"]
    if subject.has_mlp:
        senders += ["L0.mlp", "L*.mlp"]
        receivers += ["L2.mlp", "L*.mlp"]
    op = draw.choice(("cut-path", "cut-path", "patch-path"))
    return f"{op} {draw.choice(senders)}>{draw.choice(receivers)} {draw.choice(PLACES)}"


def vector_lines(draw: Random, subject: Subject) -> tuple[Vector, ...]:
    one, two, three = draw.sample(WORDS, 3)
    unit, at = draw.choice(("", " unit")), draw.choice(("", " @0", " @all"))
    lines = [
        f'v = diff L{draw.randrange(LAYERS)}.pre "{one}{two}" "{two}{three}" | "{one}" "{three}"{unit}{at}',
        f'w = pca L{draw.randrange(LAYERS)}.{draw.choice(("post", "attn"))} "{one}" | "{two}" | "{three}"{at}',
        f't = token "{one}"{unit}',
    ]
    if subject.has_mlp:
        lines.append(f"n = neuron L{draw.randrange(LAYERS)}N{draw.randrange(9)}{unit}")
    return tuple(parse_vector(line) for line in lines)


def text(draw: Random, least: int = 2, most: int = 9) -> str:
    return "".join(draw.choice(WORDS) for _ in range(draw.randint(least, most))).lstrip()


def stack(draw: Random, subject: Subject) -> Session:
    """A session at random."""
    prompt = text(draw)
    source = draw.choice((prompt, text(draw), ""))
    if draw.random() < 0.5:
        source = prompt.replace(" John", " Mary") or source
    return Session(
        prompt=prompt,
        source=source,
        answer=draw.choice(("", " Mary")),
        foil=draw.choice(("", " John")),
        bos=draw.choice(("yes", "no", "auto")),
        align=draw.choice(("auto", "auto", "left", "right")),
        references=draw.choice(((), (), (text(draw), text(draw)))),
        vectors=vector_lines(draw, subject),
        edits=tuple(parse_edit(edit_line(draw, subject)) for _ in range(draw.randint(0, 6))),
    )


def changed(draw: Random, subject: Subject, session: Session, gone: list[Edit], before: list[Session]) -> Session:
    """The session after one change. gone: edits that were deleted; before: the sessions so far."""
    edits = list(session.edits)
    at = draw.randrange(len(edits)) if edits else 0
    match draw.randrange(22):
        case 0 | 1 | 2:
            edits.insert(draw.randint(0, len(edits)), parse_edit(edit_line(draw, subject)))
        case 3 if edits:
            gone.append(edits.pop(at))
        case 4 if gone:
            edits.insert(draw.randint(0, len(edits)), gone.pop(draw.randrange(len(gone))))
        case 5 | 6 if edits:
            edits.insert(draw.randrange(len(edits)), edits.pop(at))
        case 7 | 8 if edits:
            edits[at] = replace(edits[at], on=not edits[at].on)
        case 9 | 10 if edits:
            edits[at] = replace(edits[at], factor=edits[at].factor + 0.25, sd=edits[at].sd + 0.25)
        case 11 | 12 | 13:
            return replace(session, prompt=session.prompt[-40:] + draw.choice(WORDS))
        case 14:
            return replace(session, prompt=session.prompt[: -draw.randint(1, 6)] or "x")
        case 15:
            return replace(session, prompt=text(draw))
        case 16:
            begin = draw.randrange(len(session.prompt))
            return replace(session, prompt=session.prompt[:begin] + draw.choice(WORDS) + session.prompt[begin:])
        case 17:
            return replace(session, source=draw.choice((session.prompt, text(draw), "")))
        case 18:
            return replace(session, bos=draw.choice(("yes", "no", "auto")), align=draw.choice(("auto", "left")))
        case 19:
            return replace(session, answer=draw.choice(("", " Mary", "Love")), foil=draw.choice(("", " John")))
        case 20:
            return replace(session, vectors=vector_lines(draw, subject))
        case 21:
            return replace(session, references=draw.choice(((), (text(draw),), (text(draw), text(draw)))))
        case _:
            return draw.choice(before)  # undone
    return replace(session, edits=tuple(edits[-8:]))


# What is compared


class DifferentError(AssertionError):
    """Two ways to the same number that do not agree."""


@dataclass
class Tally:
    """largest: of the differences, by dtype. refused: edits that were not applied. ill: numbers that float32 is not
    precise enough for, and the largest difference of those."""

    compared: int = 0
    edits: int = 0
    refused: int = 0
    overflowed: int = 0
    generated: int = 0
    ill: int = 0
    largest_ill: float = 0.0
    largest: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        most = ", ".join(f"{dtype} {value:.2e}" for dtype, value in sorted(self.largest.items()))
        return (
            f"{self.compared:,} activations compared, {self.edits:,} edits on ({self.refused:,} more refused), "
            f"{self.generated:,} tokens generated, {self.overflowed:,} runs refused as not finite; largest difference "
            f"{most}; {self.ill:,} of float32 too badly conditioned (largest {self.largest_ill:.2e})"
        )


def difference(one: Tensor, other: Tensor) -> float:
    """The largest, as a share of the largest number where that is above 1."""
    one, other = one.double(), other.double()
    return float((one - other).abs().max() / max(1.0, float(other.abs().max())))


class Comparison:
    """One session on one subject: the plain model's numbers, asked for once."""

    def __init__(self, subject: Subject, session: Session, opened: OpenSession, tally: Tally) -> None:
        self.subject, self.session, self.opened, self.tally = subject, session, opened, tally
        refused = {problem.index for problem in opened.problems}
        self.edits = tuple(edit for i, edit in enumerate(session.edits) if i not in refused and edit.on)
        self.bos = [opened.model.bos_id] if opened.bos else []

    def plain(self, edits: Sequence[Edit], ids: Sequence[int], double: bool = False) -> tuple[Tensor, Activations]:
        """Logits and activations; ids may go on behind the prompt."""
        opened = self.opened
        return run(
            self.subject.double if double else self.subject.plain,
            ids,
            edits,
            source_ids=opened.source_ids or None,
            alignment=opened.alignment or None,
            vectors=self.vectors(edits, double),
            texts=[opened.model.token(i).text for i in ids],
            end=len(opened.ids) if len(ids) > len(opened.ids) else None,
            references=opened.references,
        )

    def vectors(self, edits: Sequence[Edit], double: bool) -> dict[str, np.ndarray]:
        used = {edit.vector for edit in edits if edit.vector}
        return {each.name: self._vector(each, double) for each in self.session.vectors if each.name in used}

    def _vector(self, vector: Vector, double: bool) -> np.ndarray:
        plain = self.subject.double if double else self.subject.plain
        encode = self.opened.model.encode

        def read(words: str) -> np.ndarray:
            ids = (*self.bos, *encode(words, "no"))
            if (double, ids) not in self.subject.clean:
                self.subject.clean[double, ids] = run(plain, ids)[1]
            rows = self.subject.clean[double, ids][vector.part, vector.layer].double().numpy()
            return rows.mean(axis=0) if vector.position is None else rows[vector.position]

        match vector.source:
            case "diff":
                made = np.mean([read(a) - read(b) for a, b in vector.pairs], axis=0)
            case "pca":
                rows = np.stack([read(words) for words in vector.texts])
                made = np.linalg.svd(rows - rows.mean(axis=0))[2][0]
                made = made * np.sign(made[np.abs(made).argmax()])
            case "neuron":
                made = _w_out(plain, vector.layer)[vector.index].double().numpy()
            case _:
                made = _w_u(plain)[encode(vector.texts[0], "no")[0]].double().numpy()
        made = made / np.linalg.norm(made) if vector.unit else made
        return made if double else np.asarray(made, dtype=np.float32)

    def check(self, what: str, got: Tensor, wanted: Tensor, double: Callable[[], Tensor] | None = None) -> None:
        """Raises DifferentError."""
        dtype = self.subject.dtype
        self.tally.compared += 1
        differs = difference(got, wanted)
        if not differs <= CLOSE[dtype]:
            rounding = difference(wanted, double()) if double is not None else 0.0
            if not rounding > 0.1 * differs:
                raise DifferentError(f"{what} differs by {differs:.2e}{self.said()}")
            self.tally.ill += 1
            self.tally.largest_ill = max(self.tally.largest_ill, differs)
            return
        self.tally.largest[dtype] = max(self.tally.largest.get(dtype, 0.0), differs)

    def said(self) -> str:
        """The session, to try it again."""
        session = self.session
        texts = [f"{name} {getattr(session, name)!r}" for name in ("prompt", "source", "bos", "align", "references")]
        lines = [format_vector(vector) for vector in session.vectors] + [format_edit(edit) for edit in session.edits]
        return f"\non {self.subject.name}\n" + "\n".join(texts + lines)


def _w_out(plain: Any, layer: int) -> Tensor:
    """[d_mlp, d_model]."""
    if hasattr(plain, "transformer"):
        return plain.transformer.h[layer].mlp.c_proj.weight.detach()
    return plain.model.layers[layer].mlp.down_proj.weight.detach().T


def _w_u(plain: Any) -> Tensor:
    """[d_vocab, d_model]."""
    return plain.unembed.detach() if hasattr(plain, "unembed") else plain.lm_head.weight.detach()


def compare(subject: Subject, session: Session, draw: Random, tally: Tally, afresh: Engine | None = None) -> None:
    """Both runs of the session against the plain model's, and against an engine that has seen nothing. Raises
    DifferentError, and whatever the engine raises."""
    from mechtui.engine.api import SessionError

    opened = subject.engine.open(session)
    fresh = afresh.open(session) if afresh is not None else None
    here = Comparison(subject, session, opened, tally)
    if fresh is not None and fresh.problems != opened.problems:
        raise DifferentError(f"problems are others when resumed: {opened.problems} and {fresh.problems}{here.said()}")
    tally.edits += len(here.edits)
    tally.refused += len(opened.problems)
    hook = draw.choice([name for name in HOOKS if subject.has_mlp or "mlp" not in name])
    layer = draw.randrange(LAYERS)
    activation = f"blocks.{layer}.{hook}"
    for which in ("clean", "edited"):
        try:
            got = getattr(opened, which)
        except SessionError:
            logits = here.plain(here.edits, opened.ids, double=True)[0]
            if float(logits.abs().nan_to_num(torch.inf).max()) < 1e30:
                raise
            tally.overflowed += 1
            continue
        if got is None:
            continue
        edits = here.edits if which == "edited" else ()
        pairs = [("logits", got.logits()), (activation, got.activation(activation))]
        if subject.dtype == "float32":

            def plainly(number: int, double: bool = False, edits: Sequence[Edit] = edits) -> Tensor:
                logits, kept = here.plain(edits, opened.ids, double)
                return kept[HOOKS[hook], layer] if number else logits

            logits, kept = here.plain(edits, opened.ids)
            for number, (name, value) in enumerate(pairs):
                wanted = kept[HOOKS[hook], layer] if number else logits
                here.check(f"{which} {name}, and the plain model's,", value, wanted, lambda n=number: plainly(n, True))
        if fresh is not None:
            again = getattr(fresh, which)
            others = [again.logits(), again.activation(activation)]
            for number, ((name, value), other) in enumerate(zip(pairs, others, strict=True)):
                double = (lambda n=number: plainly(n, True)) if subject.dtype == "float32" else None
                here.check(f"{which} {name}, and afresh,", value, other, double)


def generate(subject: Subject, session: Session, draw: Random, tally: Tally) -> None:
    """Both continuations: each token is the best of the plain model's. Raises DifferentError."""
    opened = subject.engine.open(session)
    here = Comparison(subject, session, opened, tally)
    *_, (clean, edited, _) = opened.answer(parse_question(f"generate {draw.randint(1, 4)}"))
    for edits, answer in (((), clean), (here.edits, edited)):
        whole = list(opened.ids)
        for token in answer.tokens if answer is not None else ():
            tally.generated += 1
            if subject.dtype == "float32":
                last = here.plain(edits, whole)[0][-1].double()
                lacks = float(last.max() - last[token.id]) / max(1.0, float(last.abs().max()))
                if lacks > 2 * CLOSE["float32"]:
                    exact = here.plain(edits, whole, double=True)[0][-1]
                    if not difference(last, exact) > 0.1 * lacks:
                        raise DifferentError(f"token {len(whole)} is not the best, by {lacks:.2e}{here.said()}")
                    tally.ill += 1
            whole.append(token.id)


def look(subject: Subject, session: Session, line: str, tally: Tally, afresh: Engine) -> None:
    """A view's numbers, resumed and afresh. Raises DifferentError."""
    from mechtui.engine.api import SessionError

    told: list[Any] = []
    for engine in (subject.engine, afresh):
        try:
            *_, (clean, edited, _) = engine.open(session).answer(parse_question(line))
            told.append([answer.json() for answer in (clean, edited) if answer is not None])
        except SessionError as error:
            told.append(str(error))
    mine, its = (list(_numbers(each)) for each in told)
    here = Comparison(subject, session, subject.engine.open(session), tally)
    if isinstance(told[0], str) or isinstance(told[1], str):
        if told[0] != told[1]:
            raise DifferentError(f"{line}: {told[0]} and afresh {told[1]}{here.said()}")
        return
    if len(mine) != len(its):
        raise DifferentError(f"{line} has {len(mine)} numbers and afresh {len(its)}{here.said()}")
    # Against a baseline of any size: a sweep's normalised effects divide by what may be small.
    if mine and "patch" not in line and subject.dtype == "float32":
        one, other = torch.tensor(mine), torch.tensor(its)
        differs = difference(one, other)
        tally.compared += 1
        if differs > 1e-3:
            raise DifferentError(f"{line} differs from afresh by {differs:.2e}{here.said()}")


def _numbers(value: Any) -> Iterator[float]:
    """The floats of an answer, in their order, without those that were not computed."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in ("top", "raises", "lowers"):  # their order is that of numbers which may be equal
                yield from _numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, float):
        yield value


# What is run


def one_stack(subject: Subject, seed: int, tally: Tally) -> None:
    draw = Random(seed)
    session = stack(draw, subject)
    compare(subject, session, draw, tally, None if subject.dtype == "float32" else forgetful(subject))
    if draw.random() < 0.1:
        generate(subject, session, draw, tally)


def one_sequence(subject: Subject, seed: int, changes: int, tally: Tally) -> None:
    draw = Random(seed)
    session = stack(draw, subject)
    gone: list[Edit] = []
    before = [session]
    for _ in range(changes):
        afresh = forgetful(subject)
        compare(subject, session, draw, tally, afresh)
        if draw.random() < 0.15:
            generate(subject, session, draw, tally)
        if draw.random() < 0.3:
            look(subject, session, draw.choice(VIEWS), tally, afresh)
        session = changed(draw, subject, session, gone, before)
        before = [*before[-20:], session]


_forgetful: dict[str, Engine] = {}


def forgetful(subject: Subject) -> Engine:
    """An engine that has seen nothing. Which blocks its model may run was tried out before, once."""
    engine = _forgetful.setdefault(subject.name, subject.afresh())
    engine.forget()
    engine.runner.vectors.forget()
    return engine


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--stacks", type=int, default=10_000)
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        every = subjects(Path(place))
        print(f"{len(every)} models: " + "; ".join(subject.name for subject in every), flush=True)
        for what, count in (("stack", asked.stacks), ("sequence", asked.sequences)):
            tally, began = Tally(), time.monotonic()
            first = asked.seed * 1_000_000
            print(f"{count:,} {what}s, seeds {first} to {first + count - 1}", flush=True)
            for number in range(count):
                subject, seed = every[number % len(every)], first + number
                try:
                    if what == "stack":
                        one_stack(subject, seed, tally)
                    else:
                        one_sequence(subject, seed, asked.changes, tally)
                except Exception as error:  # noqa: BLE001 - each failure is shown with its seed, and the run goes on
                    failed += 1
                    if failed <= 20:
                        print(f"FAILED {what} {seed}, {subject.name}: {type(error).__name__}: {error}\n", flush=True)
                if (number + 1) % max(1, count // 10) == 0:
                    seconds = time.monotonic() - began
                    print(f"  {number + 1:,} after {seconds:.0f} s, {failed} failed; {tally.line()}", flush=True)
    print("failed" if failed else "passed", f": {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
