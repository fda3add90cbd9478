"""What is kept of many units while a text is read: their strongest places, how often they are on, their histograms.

All of it is tensors with a row for each unit, whatever the length of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mechtui.views.contexts import BINS, KEPT

# What else is kept of units at each of their places: their rows -> by name, numbers [unit, token].
More = Callable[[Tensor], Mapping[str, Tensor]]
# The reach of a histogram that has nothing in it.
NOWHERE = -1000
# No float32 reaches 2 to a higher power.
LARGEST = 128


def _no_more(units: Tensor) -> Mapping[str, Tensor]:
    return {}


@dataclass(frozen=True, eq=False)
class Strongest:
    """values [end, unit, place] float32: the largest first, and where there is a second end the lowest; places: where
    they are in the text's tokens, -1 for none (yet). on [unit]: at how many tokens it is on.

    counts [end, unit, bin]: at how many tokens the value lies in a bin, of those above 0, at the second end of those
    below. reach [end, unit]: the bins part 0..2**reach evenly, the least power of two above all values: so the counts
    are the same in whatever order the text is read. more: of each place other numbers, by their names.
    """

    values: Tensor
    places: Tensor
    on: Tensor
    counts: Tensor
    reach: Tensor
    more: Mapping[str, Tensor]

    @classmethod
    def empty(cls, units: int, ends: int = 1, floor: float = -torch.inf, more: tuple[str, ...] = ()) -> Strongest:
        """floor: what is no more than that has no place. more: names."""
        values = torch.full((ends, units, KEPT), floor)
        values[1:] = -floor
        return cls(
            values,
            torch.full(values.shape, -1, dtype=torch.int32),
            torch.zeros(units, dtype=torch.int32),
            torch.zeros(ends, units, BINS, dtype=torch.int32),
            torch.full((ends, units), NOWHERE, dtype=torch.int32),
            {name: torch.zeros(values.shape) for name in more},
        )

    def tables(self) -> dict[str, Tensor]:
        own = {name: getattr(self, name) for name in ("values", "places", "on", "counts", "reach")}
        return own | dict(self.more)

    @classmethod
    def of_tables(cls, tables: Mapping[str, Tensor]) -> Strongest:
        own = {name: tables[name] for name in ("values", "places", "on", "counts", "reach")}
        return cls(**own, more={name: table for name, table in tables.items() if name not in own})

    def added(self, values: Tensor, on: Tensor, places: Tensor, more: More = _no_more) -> Strongest:
        """With more tokens: values [token, unit], on [unit]: at how many of them it is on, places [token]."""
        ends = [self._end(end, values if end == 0 else -values, places, more) for end in range(len(self.values))]
        bins = [self._binned(end, values if end == 0 else -values) for end in range(len(self.values))]
        return Strongest(
            torch.stack([found[0] for found in ends]),
            torch.stack([found[1] for found in ends]),
            self.on + on.to(torch.int32).cpu(),
            torch.stack([counts for counts, _ in bins]),
            torch.stack([reach for _, reach in bins]),
            {name: torch.stack([found[2][name] for found in ends]) for name in self.more},
        )

    def _end(
        self, end: int, strength: Tensor, places: Tensor, more: More
    ) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        """values, places and more [unit, place] of one end. strength [token, unit]: the largest are kept."""
        sign = -1.0 if end else 1.0
        values, at, others = self.values[end], self.places[end], {name: each[end] for name, each in self.more.items()}
        changed = (strength.amax(0).cpu() > values[:, -1] * sign).nonzero()[:, 0]
        if not len(changed):
            return values, at, others
        best, place = strength[:, changed.to(strength.device)].topk(min(KEPT, len(places)), dim=0)
        best, place = best.T.cpu() * sign, place.T.cpu()
        # Of equal ones the earlier stays first.
        both = torch.cat([values[changed], best], 1)
        order = (both * sign).sort(dim=1, descending=True, stable=True).indices[:, :KEPT]
        merged = partial(_merged, changed, order)
        found = {name: merged(others[name], each.cpu().gather(1, place)) for name, each in more(changed).items()}
        return merged(values, best), merged(at, places[place]), found

    def _binned(self, end: int, strength: Tensor) -> tuple[Tensor, Tensor]:
        """counts and reach of one end, with the values above 0 among these."""
        counts, reach = self.counts[end], self.reach[end]
        most = strength.amax(0).cpu()
        reach_now = torch.where(most > 0, torch.frexp(most).exponent, torch.full_like(reach, NOWHERE))
        wider = torch.maximum(reach, reach_now)
        grown = (wider > reach).nonzero()[:, 0]
        if len(grown):
            # Where the values reach further, 2, 4, 8 … bins become one.
            steps = (wider[grown] - reach[grown]).clamp(max=31)
            goes = torch.arange(BINS)[None] >> steps[:, None]
            counts = counts.clone()
            counts[grown] = torch.zeros_like(counts[grown]).scatter_add(1, goes, counts[grown])
        token, unit = (strength > 0).nonzero(as_tuple=True)
        ends = wider.to(strength.device)[unit]
        bins = (torch.ldexp(strength[token, unit], -ends) * BINS).clamp(0, BINS - 1).long()
        more = torch.bincount(unit * BINS + bins, minlength=counts.numel()).view(counts.shape)
        return counts + more.to(torch.int32).cpu(), wider


def _merged(changed: Tensor, order: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """old [unit, place], with what `new` has of the units that changed, in this order."""
    made = old.clone()
    made[changed] = torch.cat([old[changed], new.to(old.dtype)], 1).gather(1, order)
    return made
