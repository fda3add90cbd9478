"""`vectors`: what the session's steering vectors are."""

from __future__ import annotations

from mechtui.session.document import Struct, Token
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Action, Cost, Needs, View

# How many tokens are named that a vector raises, and how many that it lowers.
MOST_TOKENS = 8


class Vectors(Question, frozen=True, tag="vectors"):
    """Length and meaning of every steering vector of the session."""


class VectorMeaning(Struct, frozen=True):
    """norm: L2. residual_norm: median over the positions of the L2 norm of the clean residual stream where it was read
    (for neurons L.post, for features where they are written, for tokens and files the last layer's); layer: that
    stream's. raises, lowers: the tokens whose logits a step along the vector changes most, through the final norm's
    weight and the unembedding, with that change per unit of length. problem: why there is no such vector, else empty.

    pairs: how many a contrast is made of; 0 where they are too few to hold some out, and for other vectors. right, auc:
    of pairs that are held out, which share has the first text further along the vector that the others make, and how
    probable it is that a first text lies further along than any second one."""

    name: str
    norm: float = 0.0
    residual_norm: float = 0.0
    raises: tuple[tuple[Token, float], ...] = ()
    lowers: tuple[tuple[Token, float], ...] = ()
    problem: str = ""
    pairs: int = 0
    right: float | None = None
    auc: float | None = None
    layer: int = 0


class VectorsAnswer(Answer, frozen=True, tag="vectors", eq=False):
    vectors: tuple[VectorMeaning, ...]


SPEC = View(
    question=Vectors,
    answer=VectorsAnswer,
    title="Vectors",
    go="v",
    shows=(
        "Each steering vector: how it is made, its L2 norm and that as a share of the residual stream's median norm "
        "where it was read, and the tokens whose logits a step along it raises and lowers most, through the final "
        "norm's weight and the unembedding: by so many logits per unit of the vector's length, where the final norm "
        "divides by 1. Of a contrast of five pairs or more also how well it tells pairs that it is not made of: they "
        "are dealt into five parts, and each part is projected on the mean difference of the other four. right: the "
        "share of pairs whose first text lies further along; AUC: how probable it is that any first text lies further "
        "along than any second one."
    ),
    read=(
        "* marks a vector that an edit adds or projects out. An AUC of .5 is chance: then the contrast says nothing of "
        "texts that it has not seen, and its direction is noise."
    ),
    trap=(
        "What a vector does at its layer goes through all layers after it: the tokens are its direct way only. A "
        "contrast that separates well may separate by what nobody meant, as the length of the texts or a word that all "
        "of one side share."
    ),
    paper="Turner et al. 2023, Activation addition; Rimsky et al. 2024, Contrastive activation addition",
    words=("steering vector", "unembedding", "neuron", "residual stream", "AUC"),
    cost=Cost.TEXTS,
    footer=("vector_line", "change_vector", "add_vector", "delete_vector", "undo", "save_vectors", "start"),
    actions=(
        Action("change_vector", ("enter",), "change", "Change the vector under the cursor.", needs=Needs.VECTORS),
        Action("add_vector", ("space",), "add", "Add the vector under the cursor as an edit.", needs=Needs.VECTORS),
        Action(
            "delete_vector",
            ("d", "delete"),
            "delete",
            "Delete the vector under the cursor.",
            needs=Needs.VECTORS,
            weighty=True,
        ),
    ),
)
