"""What a dictionary of features is worth: how few are on, what they keep of the model, whether labels hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mechtui.embedded import labels
from mechtui.embedded.labels import Firings, Label
from mechtui.embedded.reading import CLASSES, Reading
from mechtui.engine.dictionaries import Dictionary
from mechtui.engine.dictionaries.kept import read
from mechtui.selftest import indirect_object
from mechtui.selftest.subject import Subject
from mechtui.session.document import Sae


def read_dictionary(name: str, folder: Path) -> Dictionary:
    """A dictionary that travels with the program, as the program reads it. Raises DictionaryError."""
    return read(Sae(name, str(folder)))


@dataclass(frozen=True)
class Measured:
    """Means over the tokens of a text, in nats where it is a loss.

    Attributes:
        l0: features on at a token.
        explained: share of the variance that the reconstruction has.
        clean, replaced, zeroed: the model's loss, with the reconstruction in place, with zeros in place.
        silent: share of the features that are on nowhere in the text.
        on: where which features are on, among the places with text.
    """

    l0: float
    explained: float
    clean: float
    replaced: float
    zeroed: float
    silent: float
    on: Firings

    @property
    def recovered(self) -> float:
        """Share of the loss between zeros and the model's own that the reconstruction recovers."""
        return (self.zeroed - self.replaced) / (self.zeroed - self.clean)


def measure(subject: Subject, dictionary: Dictionary, reading: Reading, *, losses_of: int = 32) -> Measured:
    """Read the text once, and the first `losses_of` rows again with the reconstruction at every token, and zeros."""
    hook, hook_out = dictionary.hooks
    losses = {"clean": 0.0, "replaced": 0.0, "zeroed": 0.0}
    parts = []
    error, targets = 0.0, []
    for begin in range(0, len(reading.tokens), 16):
        tokens = torch.from_numpy(reading.tokens[begin : begin + 16])
        counts = torch.from_numpy(reading.counts[begin : begin + 16])
        logits, kept = subject.run(tokens, [hook, hook_out])
        values = dictionary.encode(kept[hook])
        made = dictionary.decode(values, kept[hook])
        parts.append(values[counts] > 0)
        targets.append(kept[hook_out][counts])
        error += float((targets[-1] - made[counts]).square().sum(dtype=torch.float64))
        if begin < losses_of:
            losses["clean"] += _loss(logits, tokens, counts)
            for name, instead in (("replaced", made), ("zeroed", torch.zeros_like(made))):
                losses[name] += _loss(subject.logits(tokens, [(hook_out, _put(instead))]), tokens, counts)
    on = firings(torch.cat(parts))
    target = torch.cat(targets)
    variance = float((target - target.mean(0)).square().sum(dtype=torch.float64))
    predicted = int(reading.counts[: 16 * -(-losses_of // 16), 1:].sum())
    return Measured(
        l0=len(on.feature) / on.places,
        explained=1 - error / variance,
        silent=float((on.each() == 0).mean()),
        on=on,
        **{name: loss / predicted for name, loss in losses.items()},
    )


def firings(on: Tensor) -> Firings:
    """Where features are on, of a table [place, feature]."""
    place, feature = on.nonzero(as_tuple=True)
    return Firings(feature.numpy(), place.numpy(), on.shape[1], on.shape[0])


def _put(instead: Tensor) -> Callable[[Tensor, Any], Tensor]:
    return lambda activation, hook: instead


def _loss(logits: Tensor, tokens: Tensor, counts: Tensor) -> float:
    """Sum over the tokens that count, but for the first of a row."""
    losses = cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")
    return float(losses[counts[:, 1:]].double().sum())


def held_labels(subject: Subject, found: Iterable[Label], on: Firings, reading: Reading) -> list[Label]:
    """The labels as this text has them; only places in documents that are fresh count."""
    fresh = reading.fresh[reading.counts]
    kept = fresh[on.place]
    number = np.cumsum(fresh) - 1
    held = Firings(on.feature[kept], number[on.place[kept]], on.features, int(fresh.sum()))
    at = labels.places(reading, reading.fresh)
    return labels.held(found, at, held, vocabulary(subject))


def vocabulary(subject: Subject) -> list[str]:
    """Every token as text."""
    return [str(subject.tokenizer.decode([id])) for id in range(subject.n_vocab)]


@dataclass(frozen=True)
class Clamped:
    """What clamping features of names does to the names' logits, over all pairs of a feature and a prompt.

    Attributes:
        features: of how many names.
        rises: the share in which the feature's own name rises.
        most: the share in which it rises more than every other name.
        mean: by how much it rises, in logits.
    """

    features: int
    rises: float
    most: float
    mean: float


def clamp_names(subject: Subject, dictionary: Dictionary, found: Iterable[Label], *, prompts: int = 10) -> Clamped:
    """Clamp features whose label is a name where the indirect object stands, and read the answer's logits.

    The prompts are held-out ones. A feature is clamped to what it has where its own name stands in the indirect
    object's place; only the difference of decoded values is added, so what the dictionary misses stays.
    """
    hook, _ = dictionary.hooks
    given = indirect_object.prompts(subject, indirect_object.held_pairs, prompts, seed=2)
    names = {name: id for name in CLASSES["a name"] if (id := subject.token(f" {name}")) is not None}
    ids = torch.tensor(list(names.values()))
    chosen = [(label.feature, name) for label in found if (name := _name(label, names)) is not None]
    rows = torch.arange(prompts)
    clean, kept = subject.run(given.tokens, [hook])
    before = clean[rows, given.ends][:, ids]
    here = kept[hook][rows, given.io_at]
    now = dictionary.encode(here)
    rises, most, mean = [], [], []
    for feature, name in chosen:
        tokens = given.tokens.clone()
        tokens[tokens == given.io[:, None]] = names[name]
        tokens[rows, given.io_at] = names[name]  # at a text's beginning it is another token, without a space
        own = dictionary.encode(subject.run(tokens, [hook])[1][hook][rows, given.io_at])[:, feature]
        changed = now.clone()
        changed[:, feature] = own
        added = dictionary.decode(changed, here) - dictionary.decode(now, here)

        def add(activation: Tensor, hook: Any, added: Tensor = added) -> Tensor:
            activation = activation.clone()
            activation[rows, given.io_at] += added
            return activation

        rise = subject.logits(given.tokens, [(hook, add)])[rows, given.ends][:, ids] - before
        at = int((ids == names[name]).nonzero())
        counts = (given.io != names[name]) & (given.subject != names[name])
        rises += (rise[:, at] > 0)[counts].tolist()
        most += (rise.argmax(1) == at)[counts].tolist()
        mean += rise[:, at][counts].tolist()
    return Clamped(len(chosen), _mean(rises), _mean(most), _mean(mean))


def _name(label: Label, names: Iterable[str]) -> str | None:
    """The name that a label says stands there, if it says so."""
    return next((name for name in names if label.description.startswith(labels.shown(f" {name}"))), None)


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
