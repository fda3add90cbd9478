"""What an edit of features is given: their dictionary, and values from another run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mechtui.engine.dictionaries.dictionary import Dictionary, Gate
from mechtui.session.hook_edits import Features


@dataclass(frozen=True, eq=False)
class Acting:
    """Some of a dictionary's features, which an edit changes. values [place, feature]: what it takes from another run,
    for its places; None where it takes nothing."""

    dictionary: Dictionary
    features: Features
    values: Tensor | None = None

    def acts(self, activation: Tensor) -> Tensor:
        """[pos, ...], what passes where the dictionary reads -> activations [pos, feature] float32. Raises
        DictionaryError."""
        first, last = self.features.first, self.features.last
        some = self.dictionary.some(first, last)
        acts = some.encode(some.rows(activation))
        return acts if some is not self.dictionary else acts[:, first : last + 1]

    def added(self, change: Tensor, activation: Tensor) -> Tensor:
        """[pos, d_out] float32: what is written more where these are more by `change` [pos, feature]. activation
        [pos, ...]: what passes where the dictionary reads."""
        return self.dictionary.added(change, self.features.first, self.dictionary.rows(activation))

    def normal(self) -> Acting:
        """The same with tensors that gradients may go through."""
        values = None if self.values is None else normal(self.values)
        of = self.dictionary
        made: dict[str, Any] = {
            name: normal(each) for name in of.__dataclass_fields__ if isinstance(each := getattr(of, name), Tensor)
        }
        gate = None if of.gate is None else Gate(*map(normal, of.gate))
        return replace(self, dictionary=replace(of, **made, gate=gate), values=values)


# What an edit takes: the values for its places [place, head, width], a vector [d_model], or a dictionary's features.
Given = Tensor | Acting


def normal(tensor: Tensor) -> Tensor:
    """The same as a tensor that gradients may go through: what is made in inference mode is none."""
    return tensor.clone() if tensor.is_inference() else tensor


def normal_given(given: Given) -> Given:
    return given.normal() if isinstance(given, Acting) else normal(given)


def of_places(values: Given | None) -> Tensor | None:
    """Of an edit that is of no features."""
    assert not isinstance(values, Acting)
    return values
