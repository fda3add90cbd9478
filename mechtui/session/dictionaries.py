"""What is told of a dictionary of features besides what a session's line says: how its files are read."""

from __future__ import annotations

from mechtui.session.document import Struct


class About(Struct, frozen=True):
    """A dictionary: what a program needs to read it. name: the session's. format: whose; kind: standard, gated, topk or
    jumprelu; file: its weights. reads, writes: TransformerLens's hooks. features, d_in: how many features it has, of
    how many numbers. k: of topk. subtracts: whether its b_dec is taken away before it encodes. normalises: none,
    layer_norm or constant_norm_rescale; restores: whether that is given back. centred: whether it has the stream
    without its mean. rescaled: whether activations are as large as their directions are long; scaled: whether they are
    multiplied by scaling_factor before they are decoded. made_on: the model that its files name."""

    name: str
    format: str
    kind: str
    file: str
    reads: str
    writes: str
    features: int
    d_in: int
    k: int | None = None
    subtracts: bool = False
    normalises: str = "none"
    restores: bool = True
    centred: bool = False
    rescaled: bool = False
    scaled: bool = False
    skips: bool = False
    made_on: str = ""

    @property
    def layer(self) -> int:
        """Of where it writes."""
        return int(self.writes.split(".")[1])
