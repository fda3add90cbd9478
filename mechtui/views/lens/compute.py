"""The logit lens, as many rows at a time as fit a buffer that stays in the processor's cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession, Readout, Run, Translator
from mechtui.session.grammar.places import parse_site
from mechtui.views.lens import Lens, LensAnswer

# Bytes of the logits of one product. What is larger leaves the cache, and its memory is asked for anew each time.
AT_ONCE = 1 << 24
# Positions whose numbers are kept: a few KB each.
MOST_KEPT = 4096
NUMBERS = ("top", "prob", "entropy", "kl", "answer_logit", "answer_prob", "answer_rank", "foil_logit", "foil_prob")
ENTROPY, KL = NUMBERS.index("entropy"), NUMBERS.index("kl")

# [pos]: ids of answer and foil, -1 where there is none; None where the clean run's two best stand in.
Targets = Sequence[tuple[int, int]] | None

# Of one position: ids of answer and foil (-1 where there is none), and [row, number].
Column = tuple[tuple[int, int], np.ndarray]
# By what decides it: the residual stream at that position, and the targets where the session names them.
Kept = OrderedDict[tuple[bytes, tuple[int, int] | None], Column]
_kept: WeakKeyDictionary[Readout, Kept] = WeakKeyDictionary()


def _mids(question: Lens, opened: OpenSession) -> list[Need]:
    layers = range(opened.shape.n_layers) if question.mid else ()
    return [Need(f"blocks.{layer}.hook_resid_mid") for layer in layers]


def needs(question: Lens, opened: OpenSession) -> list[Need]:
    return _mids(question, opened) if opened.shape.has_mid else []


def answers(question: Lens, opened: OpenSession) -> Answers:
    if question.mid:
        opened.check_site(parse_site("L*.mid"))
    parts = ("mid", "post") if question.mid else ("post",)
    names = tuple(f"L{layer}.{part}" for layer in range(opened.shape.n_layers) for part in parts)
    translator = opened.translator(question.file) if question.file else None
    answer, foil = (-1 if id is None else id for id in opened.targets)
    named = None if opened.auto else [(answer, foil)] * len(opened.ids)

    def columns(run: Run, targets: Targets) -> list[Column]:
        mids = [run.take(need) for need in _mids(question, opened)]
        posts = [run.resid(layer + 1) for layer in range(opened.shape.n_layers)]
        rows = [row for pair in zip(mids, posts, strict=True) for row in pair] if mids else posts
        return _columns(opened, rows, targets, translator)

    clean = columns(opened.clean, named)
    if opened.waits:
        yield _answer(opened, names, clean, translator), None, True
    edited = None
    if opened.edited is not None:
        edited = _answer(opened, names, columns(opened.edited, [targets for targets, _ in clean]), translator)
    yield _answer(opened, names, clean, translator), edited, False


def _answer(
    opened: OpenSession, names: tuple[str, ...], columns: Sequence[Column], translator: Translator | None
) -> LensAnswer:
    tables = dict(zip(NUMBERS, np.stack([numbers for _, numbers in columns], axis=2), strict=True))
    ids = np.array([targets for targets, _ in columns], dtype=np.int32)
    tables |= {name: tables[name].astype(np.int32) for name in ("top", "answer_rank")}
    tables |= {"answers": ids[:, 0], "foils": ids[:, 1]}
    # Either all positions have an answer, or none has.
    without = [which for which, id in zip(("answer", "foil"), ids[0], strict=True) if id < 0]
    tables = {name: table for name, table in tables.items() if not name.startswith(tuple(without))}
    seen = np.unique(np.concatenate([tables[name].ravel() for name in ("top", "answers", "foils") if name in tables]))
    vocabulary = tuple(opened.token(int(id)) for id in seen)
    name = "" if translator is None else translator.name
    return LensAnswer(names, vocabulary=vocabulary, auto=opened.auto, translator=name, **tables)


@torch.inference_mode()
def _columns(
    opened: OpenSession, rows: Sequence[Tensor], targets: Targets, translator: Translator | None
) -> list[Column]:
    """rows: of each the residual stream [pos, d_model]; the last is what leaves the last block. translator: of rows
    that are those of L*.post. Positions whose stream is that of an earlier reading are not read again: those before an
    edit, and those before what was typed."""
    kept = _kept.setdefault(opened.readout, OrderedDict())
    stream = torch.stack([row.to(rows[0].device) for row in rows], dim=1)  # [pos, row, d_model]
    held = stream.view(torch.uint8).cpu().numpy()
    count = len(held)
    lens = b"" if translator is None else translator.mark
    keys = [
        (blake2b(held[p], digest_size=16, key=lens).digest(), targets[p] if targets else None) for p in range(count)
    ]
    found = {p: kept[key] for p, key in enumerate(keys) if key in kept}
    missing = [p for p in range(count) if p not in found]
    at_once = max(AT_ONCE // (4 * opened.shape.d_vocab), 1)
    for begin in range(0, len(missing), at_once):
        some = missing[begin : begin + at_once]
        given = torch.tensor([targets[p] for p in some], device=stream.device) if targets else None
        part = stream[some]
        if translator is not None:
            part = torch.stack([translator.translated(layer, part[:, layer]) for layer in range(part.shape[1])], dim=1)
        found |= zip(some, _read(opened, part, given, max(at_once // len(some), 1)), strict=True)
    for p, key in enumerate(keys):
        # What was read without targets is what will be asked for with those that were found.
        for known in (key, (key[0], found[p][0])):
            kept[known] = found[p]
            kept.move_to_end(known)
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)
    return [found[p] for p in range(count)]


def _read(opened: OpenSession, stream: Tensor, targets: Tensor | None, at_once: int) -> list[Column]:
    """stream [pos, row, d_model]; targets [pos, 2], those of the last row without; at_once: rows of one product."""

    def logits(begin: int, end: int) -> Tensor:
        """[row, pos, d_vocab] float32"""
        opened.check_cancelled()
        return opened.readout.logits_of_many(stream[:, begin:end].transpose(0, 1)).float()

    last = stream.shape[1] - 1
    final = logits(last, last + 1)
    if targets is None:
        targets = final[0].topk(2).indices
    shares = final[0].softmax(-1)
    parts = [_numbers(logits(row, min(row + at_once, last)), shares, targets) for row in range(0, last, at_once)]
    numbers = torch.cat([*parts, _numbers(final, shares, targets)], dim=1)  # [number, row, pos]
    # -sum p ln q so far: less the final entropy it is KL.
    numbers[KL] = (numbers[KL] - numbers[ENTROPY, -1]).clamp_min(0)
    tables = numbers.cpu().numpy()
    return [((int(a), int(b)), tables[:, :, p]) for p, (a, b) in enumerate(targets.tolist())]


def _numbers(logits: Tensor, shares: Tensor, targets: Tensor) -> Tensor:
    """[number, row, pos] float32 of logits [row, pos, d_vocab]; shares [pos, d_vocab]: the final distribution. In KL's
    place stands -sum p ln q, the cross entropy with it."""

    def dot(weights: Iterable[Tensor], rows: Tensor) -> Tensor:
        """A row at a time, so that no product of all of them is held."""
        return torch.stack([torch.einsum("pv,pv->p", *pair) for pair in zip(weights, rows, strict=True)])

    best = logits.max(-1)
    wanted = logits.gather(-1, targets.clamp_min(0).expand(len(logits), -1, -1))
    rank = (logits > wanted[..., :1]).sum(-1, dtype=torch.int32)
    below = logits - best.values[..., None]
    weights = below.exp()
    total = weights.sum(-1)
    entropy = (total.log() - dot(weights, below) / total).clamp_min(0)
    cross = total.log() - dot([shares] * len(below), below)
    probs = (wanted - best.values[..., None]).exp() / total[..., None]
    answer, foil = ((wanted[..., i], probs[..., i]) for i in (0, 1))
    return torch.stack([best.indices.float(), 1 / total, entropy, cross, *answer, rank.float(), *foil])
