"""The MLP neurons that matter at a token: picked over all layers, then looked at one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession, Run, SessionError
from mechtui.engine.ledger import Direction, Ledger, direction, mlp_need, neuron_need
from mechtui.session.document import Site, Span
from mechtui.views.circuit import Scored
from mechtui.views.neurons import WORDS, Neurons, NeuronsAnswer

# (layer, neuron)
Pick = tuple[int, int]


def _layers(question: Neurons, opened: OpenSession) -> Iterable[int]:
    return range(opened.shape.n_layers) if question.of < 0 else (question.of,)


def needs(question: Neurons, opened: OpenSession) -> list[Need]:
    shape = opened.shape
    if not (shape.d_mlp and shape.has_neurons) or question.of >= shape.n_layers:
        return []
    position = opened.position(question.position)
    wanted = (neuron_need, mlp_need) if question.by == "attribution" else (neuron_need,)
    return [need(layer, position) for layer in _layers(question, opened) for need in wanted]


def answers(question: Neurons, opened: OpenSession) -> Answers:
    position = opened.position(question.position)
    layer = Span(max(question.of, 0), max(question.of, 0))
    opened.check_site(Site("neuron", layer, Span(0, 0)))
    runs = [run for run in (opened.clean, opened.edited) if run is not None]
    along, why = _direction(opened, position)
    if along is None and question.by == "attribution":
        raise SessionError(f"{why}; neurons activation needs none")
    every = [_every(question, opened, run, position, along) for run in runs]
    active = torch.stack([each for each, _ in every])
    added = None if along is None else torch.stack([each for _, each in every if each is not None])
    strength = active if question.by == "activation" or added is None else added
    strength = torch.cat([strength, strength.diff(dim=0)]).abs().amax(0)
    best = strength.topk(min(question.top, len(strength))).indices.tolist()
    first, width = next(iter(_layers(question, opened))), opened.shape.d_mlp
    picks = [(first + at // width, at % width) for at in best]
    words = _words(opened, picks)

    def answer(number: int) -> NeuronsAnswer:
        post, pre, into = _over_the_prompt(opened, runs[number], picks)
        return NeuronsAnswer(
            position,
            np.array([layer for layer, _ in picks], dtype=np.int32),
            np.array([neuron for _, neuron in picks], dtype=np.int32),
            post,
            pre,
            words.norm,
            words.reads,
            words.raises,
            words.lowers,
            into=into,
            attribution=None if added is None else added[number][best].numpy(),
            answer=None if along is None else opened.token(along.answer),
            foil=None if along is None or along.foil is None else opened.token(along.foil),
            auto=opened.auto,
            why=why,
        )

    yield answer(0), answer(1) if len(runs) > 1 else None, False


@dataclass(frozen=True, eq=False)
class _Words:
    """What each neuron reads and writes, the same in every run."""

    norm: np.ndarray
    reads: tuple[tuple[Scored, ...], ...]
    raises: tuple[tuple[Scored, ...], ...]
    lowers: tuple[tuple[Scored, ...], ...]


def _direction(opened: OpenSession, position: int) -> tuple[Direction | None, str]:
    """What is attributed; or why there is nothing to attribute."""
    try:
        return direction(opened, position), ""
    except SessionError as error:
        return None, str(error)


def _every(
    question: Neurons, opened: OpenSession, run: Run, position: int, along: Direction | None
) -> tuple[Tensor, Tensor | None]:
    """[layer * neuron]: all activations at the position, and what each neuron adds to the direction's logits."""
    layers = _layers(question, opened)
    if along is None:
        return torch.cat([run.take(neuron_need(layer, position)).float().cpu() for layer in layers]), None
    ledger, active, added = Ledger(run, opened, position, along), [], []
    for layer in layers:
        opened.check_cancelled()
        by_neuron, activation, _, _ = ledger.neurons(layer)
        active.append(activation.cpu())
        added.append(by_neuron.cpu())
    return torch.cat(active), torch.cat(added)


def _by_layer(picks: Sequence[Pick]) -> list[tuple[int, list[int], list[int]]]:
    """Of each layer its picks' places in the list, and their numbers."""
    order = sorted(range(len(picks)), key=lambda at: picks[at][0])
    groups = groupby(order, key=lambda at: picks[at][0])
    found = ((layer, list(places)) for layer, places in groups)
    return [(layer, places, [picks[at][1] for at in places]) for layer, places in found]


@torch.inference_mode()
def _over_the_prompt(
    opened: OpenSession, run: Run, picks: Sequence[Pick]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """[neuron, pos]: post, pre (in gated MLPs the gate), and what the gate is multiplied with."""
    post = {pick: Need(f"blocks.{pick[0]}.mlp.hook_post", "head", pick[1]) for pick in picks}
    read = {layer: Need(f"blocks.{layer}.mlp.hook_in") for layer, _ in picks}
    # Together: of each layer the block runs once.
    run = opened.run(run.ids, run.edits, [*post.values(), *read.values()])
    shape = (len(picks), len(run.ids))
    pre, into, gated = np.empty(shape, np.float32), np.empty(shape, np.float32), False
    for layer, places, neurons in _by_layer(picks):
        opened.check_cancelled()
        mlp, normed = opened.mlp(layer), run.take(read[layer])
        gated = mlp.gated
        pre[places] = mlp.pre(normed, neurons, mlp.opens).cpu().numpy()
        into[places] = mlp.pre(normed, neurons, "in").cpu().numpy()
    after = np.stack([run.take(post[pick]).float().cpu().numpy() for pick in picks])
    return after, pre, into if gated else None


@torch.inference_mode()
def _words(opened: OpenSession, picks: Sequence[Pick]) -> _Words:
    readout = opened.readout
    try:
        final = readout.norm()
    except ValueError as error:
        name = opened.ready.name
        raise SessionError(f"the final norm of {name} is of a kind that neurons cannot be read by") from error
    order, openings, written, norms = [], [], [], []
    for layer, places, neurons in _by_layer(picks):
        opened.check_cancelled()
        mlp = opened.mlp(layer)
        order += places
        openings.append(mlp.opening(neurons))
        written.append(mlp.writes(neurons))
        norms.append(opened.W_out(layer)[neurons].float().norm(dim=-1))
    back = np.argsort(order)
    opens = opened.of_embeddings(openings)[back]
    logits = readout.reads(final.linear(torch.cat([each.to(written[0]) for each in written])))[back]
    logits = logits - logits.mean(-1, keepdim=True)
    return _Words(
        torch.cat([each.cpu() for each in norms]).numpy()[back],
        tuple(_best(opened, row) for row in opens),
        tuple(_best(opened, row) for row in logits),
        tuple(_best(opened, row, -1) for row in logits),
    )


def _best(opened: OpenSession, values: Tensor, sign: int = 1) -> tuple[Scored, ...]:
    ids = (values * sign).topk(min(WORDS, len(values))).indices.tolist()
    return tuple(Scored(opened.token(id), float(values[id])) for id in ids)
