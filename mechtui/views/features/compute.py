"""The features of a dictionary that are on at a token, and how good the dictionary is on the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import (
    Active,
    Answers,
    Dictionary,
    EditError,
    Need,
    OpenSession,
    Run,
    SessionError,
)
from mechtui.engine.ledger import Direction, Ledger, direction, in_stream
from mechtui.none import NONE
from mechtui.session.document import Token
from mechtui.session.grammar.saes import unknown
from mechtui.views.circuit import Scored
from mechtui.views.features import WORDS, Features, FeaturesAnswer


@dataclass(frozen=True, eq=False)
class _Encoded:
    """What a dictionary makes of a run, all on its device: x [pos, d_in] that it reads, y [pos, d_out] that passes
    where it writes, the features that are on, and the error [pos, d_out]."""

    x: Tensor
    y: Tensor
    active: Active
    error: Tensor


@dataclass(frozen=True)
class _Losses:
    """Means over the tokens that have one, in nats."""

    own: float = NONE
    reconstructed: float = NONE
    zeroed: float = NONE

    @property
    def recovered(self) -> float:
        costs = self.zeroed - self.own
        return (self.zeroed - self.reconstructed) / costs if costs else NONE


NO_LOSSES = _Losses()


def _named(question: Features, opened: OpenSession) -> Dictionary:
    """Raises SessionError."""
    names = [sae.name for sae in opened.saes]
    if not question.of and not names:
        raise SessionError(unknown("of features", ()), "a dictionary")
    return opened.dictionary(question.of or names[0])


def needs(question: Features, opened: OpenSession) -> list[Need]:
    with suppress(SessionError):  # it is said where the question is answered
        return [Need(hook) for hook in dict.fromkeys(_named(question, opened).hooks)]
    return []


def answers(question: Features, opened: OpenSession) -> Answers:
    position = opened.position(question.position)
    dictionary = _named(question, opened)
    runs = [run for run in (opened.clean, opened.edited) if run is not None]
    along, why = _direction(opened, position, dictionary)
    here = [_Here(opened, run, dictionary, position, along) for run in runs]
    picks = _picked(question, here)
    about = _About(opened, dictionary, picks, along, why)
    known = [_known_losses(opened, run, dictionary) for run in runs]
    if any(each is None for each in known):
        # What costs runs of its own does not keep the features from the screen.
        first = [about.answer(each, NO_LOSSES) for each in here]
        yield first[0], first[1] if len(first) > 1 else None, True
    losses = [_losses(opened, run, dictionary, each.encoded) for run, each in zip(runs, here, strict=True)]
    last = [about.answer(each, lost) for each, lost in zip(here, losses, strict=True)]
    yield last[0], last[1] if len(last) > 1 else None, False


def _direction(opened: OpenSession, position: int, dictionary: Dictionary) -> tuple[Direction | None, str]:
    """What is attributed; or why there is nothing to attribute."""
    if dictionary.writes.part == "in":
        return None, "what the MLP reads is written by nobody: it adds to the logits through the MLP only"
    try:
        return direction(opened, position), ""
    except SessionError as error:
        return None, str(error)


# What a dictionary makes of a run


def _encoded(opened: OpenSession, run: Run, dictionary: Dictionary) -> _Encoded:
    """Kept with the run. Raises SessionError."""

    def encode() -> _Encoded:
        with torch.inference_mode():
            first, last = dictionary.hooks
            x = dictionary.rows(run.activation(first)).to(dictionary.W_dec.device)
            y = x if last == first else dictionary.rows(run.activation(last)).to(x)
            active = dictionary.active(x, opened.check_cancelled)
            return _Encoded(x, y, active, y - dictionary.decoded(active, x))

    return run.remembered(_Encoded, _key(dictionary), encode)


def _key(dictionary: Dictionary) -> object:
    return dictionary.name, dictionary.mark, dictionary.hooks


def _known_losses(opened: OpenSession, run: Run, dictionary: Dictionary) -> _Losses | None:
    """None where they are to be computed."""
    if opened.session.linear:
        return NO_LOSSES
    known = run.trace.answers.get(_Losses)
    found: _Losses | None = None if known is None or known[0] != _key(dictionary) else known[1]
    return found


def _losses(opened: OpenSession, run: Run, dictionary: Dictionary, encoded: _Encoded) -> _Losses:
    """Kept with the run. Raises Cancelled."""
    if opened.session.linear or len(run.ids) < 2:
        return NO_LOSSES

    def measure() -> _Losses:
        with torch.inference_mode():
            counted = _counted(opened, run)
            whole = run.activation(dictionary.hooks[1]).flatten(1).float()
            rebuilt = whole - encoded.error.to(whole)
            put = [rebuilt[counted], torch.zeros_like(rebuilt[counted])]
            own = run.surprise()
            both = run.surprise_with(dictionary.hooks[1], put, counted)
            return _Losses(*(float(each[1:].double().mean()) for each in (own, *both)))

    return run.remembered(_Losses, _key(dictionary), measure)


def _counted(opened: OpenSession, run: Run) -> list[int]:
    """All positions but BOS's, whose activations are like no other's; it alone where there is no other."""
    first = int(opened.bos and len(run.ids) > 1)
    return list(range(first, len(run.ids)))


# At one token


class _Here:
    """What is on at a position of a run: features [n], their activations, and what each adds along a direction."""

    def __init__(
        self, opened: OpenSession, run: Run, dictionary: Dictionary, position: int, along: Direction | None
    ) -> None:
        self.run, self.dictionary, self.position = run, dictionary, position
        self.encoded = encoded = _encoded(opened, run, dictionary)
        self.counted = _counted(opened, run)
        with torch.inference_mode():
            self.features, self.values = encoded.active.at(position)
            x, row = encoded.x[position : position + 1], encoded.y[position]
            directions = dictionary.directions(self.features.tolist())
            written = directions * (self.values[:, None] * dictionary.scale(x))
            self.share = written.norm(dim=-1) / row.norm()
            self.added: Tensor | None = None
            # bias, skip, error, total
            self.parts: tuple[float, ...] = (NONE,) * 4
            if along is not None:
                reads = Ledger(run, opened, position, along).reads_at(dictionary.writes)
                assert reads is not None
                reads = reads.to(row)
                self.added = written @ reads
                rest = (dictionary.constant(x)[0], dictionary.skipped(x)[0], encoded.error[position], row)
                self.parts = tuple(float(each @ reads) for each in rest)

    def strength(self, by: str) -> dict[int, float]:
        """Of each feature that is on, what sorts it."""
        found = {
            "attribution": self.values if self.added is None else self.added,
            "value": self.values,
            "share": self.share,
            "number": -self.features.float(),
        }[by]
        return dict(zip(self.features.tolist(), found.tolist(), strict=True))

    def of(self, picks: Sequence[int], numbers: Tensor) -> np.ndarray:
        """[pick]: these numbers [n] of the picks, 0 where they are not on."""
        found = dict(zip(self.features.tolist(), numbers.tolist(), strict=True))
        return np.array([found.get(pick, 0.0) for pick in picks], dtype=np.float32)

    def over(self, picks: Sequence[int]) -> np.ndarray:
        """[pick, pos]: activations along the prompt."""
        values = np.zeros((len(picks), len(self.run.ids)), dtype=np.float32)
        active = self.encoded.active
        wanted = torch.tensor(list(picks), dtype=active.features.dtype, device=active.features.device)
        where = torch.isin(active.features, wanted)
        at = {pick: row for row, pick in enumerate(picks)}
        rows = [at[feature] for feature in active.features[where].tolist()]
        values[rows, active.positions[where].cpu().numpy()] = active.values[where].cpu().numpy()
        return values


def _picked(question: Features, here: Sequence[_Here]) -> list[int]:
    """The features that are listed, in their order: those that are strongest in any run, or differ most."""
    by = [each.strength(question.by) for each in here]
    every = list(dict.fromkeys(feature for each in by for feature in each))
    if question.by == "number":
        return sorted(every)[: question.top]

    def size(feature: int) -> float:
        values = [each.get(feature, 0.0) for each in by]
        return max(*map(abs, values), abs(values[-1] - values[0]))

    return sorted(every, key=lambda feature: (-size(feature), feature))[: question.top]


class _About:
    """What the listed features are, the same in every run."""

    def __init__(
        self, opened: OpenSession, dictionary: Dictionary, picks: Sequence[int], along: Direction | None, why: str
    ) -> None:
        self.opened, self.dictionary, self.picks, self.along, self.why = opened, dictionary, picks, along, why
        labels = opened.labels(dictionary.name)
        self.labels = tuple(labels.get(pick, "") for pick in picks)
        self.vectors = tuple(vector.name for vector in opened.session.vectors)
        none: tuple[Scored, ...] = ()
        self.raises = (none,) * len(picks)
        self.lowers: tuple[tuple[Scored, ...], ...] = self.raises
        self.cosines = np.full((len(picks), len(self.vectors)), NONE, dtype=np.float32)
        with torch.inference_mode():
            written = in_stream(opened, dictionary.writes, dictionary.directions(picks))
            if written is not None and len(picks):
                self._say(written)

    def _say(self, written: Tensor) -> None:
        """Words and cosines of directions in the stream [pick, d_model]."""
        opened, readout = self.opened, self.opened.readout
        with suppress(ValueError):  # without words, where the final norm is of an unknown kind
            linear = readout.norm().linear(written.to(opened.W_U().device))
            logits = readout.reads(linear)
            logits = logits - logits.mean(-1, keepdim=True)
            self.raises = tuple(self._best(row, 1) for row in logits)
            self.lowers = tuple(self._best(row, -1) for row in logits)
        unit = written / written.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        for at, vector in enumerate(opened.session.vectors):
            with suppress(EditError):  # it is said in the list of vectors
                value = opened.vector(vector).to(unit)
                self.cosines[:, at] = (unit @ (value / value.norm())).cpu().numpy()

    def _best(self, logits: Tensor, sign: int) -> tuple[Scored, ...]:
        ids = (logits * sign).topk(min(WORDS, len(logits))).indices.tolist()
        return tuple(Scored(self.opened.token(id), float(logits[id])) for id in ids)

    def answer(self, here: _Here, losses: _Losses) -> FeaturesAnswer:
        opened, encoded, counted = self.opened, here.encoded, here.counted
        attribution = None if here.added is None else here.of(self.picks, here.added)
        bias, skip, error, total = here.parts
        rest = NONE if here.added is None else float(here.added.sum()) - float(attribution.sum())  # type: ignore[union-attr]
        count = len(here.run.ids)
        on = np.bincount(encoded.active.positions.cpu().numpy(), minlength=count).astype(np.float32)
        y, lost = encoded.y[counted].double(), encoded.error[counted].double()
        spread = float((y - y.mean(0)).square().sum())
        explained = 1 - float(lost.square().sum()) / spread if spread > 0 else NONE
        return FeaturesAnswer(
            self.dictionary.about,
            here.position,
            np.array(self.picks, dtype=np.int32),
            here.of(self.picks, here.values),
            here.over(self.picks),
            here.of(self.picks, here.share),
            self.labels,
            self.raises,
            self.lowers,
            self.vectors,
            self.cosines,
            on,
            encoded.y.norm(dim=-1).cpu().numpy(),
            encoded.error.norm(dim=-1).cpu().numpy(),
            len(counted),
            float(on[counted].mean()),
            explained,
            attribution=attribution,
            rest=rest,
            bias=bias,
            skip=skip,
            error=error,
            total=total,
            loss=losses.own,
            loss_reconstructed=losses.reconstructed,
            loss_zeroed=losses.zeroed,
            loss_recovered=losses.recovered,
            answer=self._token(None if self.along is None else self.along.answer),
            foil=self._token(None if self.along is None else self.along.foil),
            auto=opened.auto,
            why=self.why,
        )

    def _token(self, id: int | None) -> Token | None:
        return None if id is None else self.opened.token(id)
