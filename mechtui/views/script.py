"""How a view answers in the program that a session is exported as.

`views/<v>/script.py` has `lines(question, around) -> list[str]`: the body of a Python function that computes the view's
numbers from one run, in TransformerLens's own terms, as one would write it in a notebook. Its last line is
`return {...}`, with keys and numbers that `mechtui run` prints for the view; tensors may stay tensors. It is called for
the clean run and, where an edit is on, for the edited one; `EACH_RUN = False` beside it says that it is called for the
clean run only. A question that no program answers raises `ScriptError`: one sentence, which the program has in its
place.

In scope are `torch`, `np`, `bridge` (a TransformerBridge), `tokenizer`, `encode(text)` (ids, with BOS where the session
has it), `tokens` [pos], `clean_logits` [1, pos, d_vocab] and `clean` (a cache), and three of the run at hand:

logits [pos, d_vocab]
cache: an ActivationCache, each activation as the run's edits left it, with a batch axis of 1
fwd_hooks: the run's edits as hooks, for views that run the model again: `bridge.run_with_hooks(ids, fwd_hooks=...)`

The hooks of each edit alone are `around + hooks_1`, `around + hooks_2`, ... by its place in the session, and steering
vectors are `vector_0`, `vector_1`, ...; what the lines name is there, whether the edited run uses it or not.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mechtui.session.document import ModelShape, Session, Token
from mechtui.session.grammar.words import LineError
from mechtui.session.script import ScriptError, ViewLines
from mechtui.views import parse_question, spec_of


@dataclass(frozen=True)
class Around:
    """What lines may be written from, besides the question: the session, the model's shape, and the prompt's tokens,
    with BOS where the run has it; those of the source, and each position's partner there, -1 for none."""

    session: Session
    shape: ModelShape
    tokens: Sequence[Token]
    source: Sequence[Token] = ()
    alignment: Sequence[int] = ()

    def position(self, position: int) -> int:
        """A position from either end as an index from 0."""
        return position + len(self.tokens) if position < 0 else position

    def target(self, position: int) -> list[str]:
        """Lines after which `answer` and `foil` are the target's ids at this position, None for one that is not named.
        Without a target the clean run's two best tokens stand in."""
        texts = (self.session.answer, self.session.foil)
        if not any(texts):
            return [f"answer, foil = clean_logits[0, {position}].topk(2).indices.tolist()"]
        named = zip(("answer", "foil"), texts, strict=True)
        return [
            f"[{name}] = tokenizer.encode({quoted(text)}, add_special_tokens=False)" if text else f"{name} = None"
            for name, text in named
        ]


def quoted(text: str) -> str:
    """A text as a Python string in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def scripts(views: Iterable[str], around: Around) -> dict[str, ViewLines]:
    """Question line -> how the program answers it, or why it does not."""
    found = {}
    for line in views:
        try:
            question = parse_question(line).asked()
            module = importlib.import_module(f"mechtui.views.{spec_of(question).name}.script")
            found[line] = ViewLines(module.lines(question, around), getattr(module, "EACH_RUN", True))
        except (LineError, ScriptError) as error:
            found[line] = ViewLines((), problem=str(error))
    return found
