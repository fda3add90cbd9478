"""What an example of a view is: a question with answers made by hand, for tests and pictures.

All of them are of one prompt on one model of GPT-2 small's shape, so that panes fit together in one picture. The
numbers are drawn from a seed: they look like a model's and are none.

`views/<v>/example.py` has `example()`, and besides what the tests of all views ask of a real model, where the view's
name alone is not all there is to it:

LINES      lines of the view, those first that answer something else than the ones before. The model has two layers of
           four heads or more; the session has PROMPT and SOURCE, answer and foil, the steering vectors `n` and `t`,
           cases, a finished sweep over the heads, and a dictionary `feats` of features.
REFUSED    those of LINES that no exported program answers
FILES      name -> text of the files that LINES name
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mechtui.session.document import ModelShape, Session, Token
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views.question import Answer, Question

PROMPT = "When Mary and John went to the store, John gave a drink to"
WORDS = re.findall(r" ?\w+|,", PROMPT)
COUNT = len(WORDS)
TOKENS = tuple(Token(100 + 7 * place, word) for place, word in enumerate(WORDS))
SOURCE = tuple(Token(170, " Mary") if place == 9 else token for place, token in enumerate(TOKENS))

# What may come after the prompt; answer and foil are among them.
NAMES = (" Mary", " John", " the", " his", " her", " a", " them", " him", " Jane", " an", " each", " some")
NEXT = tuple(Token(1000 + place, word) for place, word in enumerate(NAMES))

SHAPE = ModelShape(
    n_layers=12, n_heads=12, n_kv_heads=12, d_model=768, d_head=64, d_mlp=3072, d_vocab=50257, n_ctx=1024
)
SESSION = Session(
    model="gpt2",
    prompt=PROMPT,
    source="".join(token.text for token in SOURCE),
    answer=" Mary",
    foil=" John",
    vectors=(parse_vector('love = diff L6.pre "Love" "Hate"'), parse_vector("neuron = neuron L5N11")),
    edits=tuple(map(parse_edit, ("zero L9H9 @-1", "# scale L10H7 x0", "add L6.pre @-1 love x5"))),
)


@dataclass(frozen=True)
class Example:
    """A question and its answers. edited: None for a view that has no edited run."""

    question: Question
    clean: Answer
    edited: Answer | None = None
    session: Session = SESSION
    shape: ModelShape = SHAPE
    tokens: Sequence[Token] = TOKENS


def numbers(seed: int, *size: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """An array of this size, evenly between low and high, float32: the same for the same seed."""
    return np.random.default_rng(seed).uniform(low, high, size).astype(np.float32)
