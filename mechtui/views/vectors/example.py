"""Two steering vectors; the second cannot be made."""

from __future__ import annotations

from mechtui.session.document import Token
from mechtui.views.example import Example
from mechtui.views.vectors import VectorMeaning, Vectors, VectorsAnswer


def example() -> Example:
    raises = ((Token(1, " love"), 0.31), (Token(2, " joy"), 0.22), (Token(3, " dear"), 0.18))
    lowers = ((Token(4, " hate"), -0.27), (Token(5, " war"), -0.14))
    love = VectorMeaning("love", 12.0, 60.0, raises, lowers, pairs=120, right=0.925, auc=0.961, layer=6)
    return Example(
        Vectors(), VectorsAnswer((love, VectorMeaning("neuron", problem="there is no neuron 11 in layer 5")))
    )
