"""`vectors`: what the session's steering vectors are."""

from __future__ import annotations

from mechtui.session.document import Struct, Token
from mechtui.views.question import Answer, Question


class Vectors(Question, frozen=True, tag="vectors"):
    """Length and meaning of every steering vector of the session."""


class VectorMeaning(Struct, frozen=True):
    """norm: L2. residual_norm: mean L2 norm over positions of the clean residual stream where the vector was
    read (for neurons L.post, for tokens and files the last layer's). raises, lowers: the tokens whose logits a
    step along the vector changes most, through the final norm's weight and the unembedding, with that change
    per unit of length. problem: why there is no such vector, else empty."""

    name: str
    norm: float = 0.0
    residual_norm: float = 0.0
    raises: tuple[tuple[Token, float], ...] = ()
    lowers: tuple[tuple[Token, float], ...] = ()
    problem: str = ""


class VectorsAnswer(Answer, frozen=True, tag="vectors", eq=False):
    vectors: tuple[VectorMeaning, ...]


QUESTION = Vectors
ANSWER = VectorsAnswer
