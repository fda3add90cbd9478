"""`lens [mid|file "F"] [token|prob|logit|rank|entropy|kl] [clean|difference]`: what the model would say if it stopped
there.

The logit lens: the final norm and the unembedding applied to the residual stream after every layer (nostalgebraist
2020); with a file the stream is translated to that of the last layer before.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Token
from mechtui.session.grammar.words import LineError, cut, quote, short, unquote
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Cost, Numbers, View

Shows = Literal["token", "prob", "logit", "rank", "entropy", "kl"]
SHOWS: tuple[Shows, ...] = get_args(Shows)


class Lens(Question, frozen=True, tag="lens"):
    """The final norm and the unembedding applied to every L*.post; with mid to every L*.mid, too.

    file: of the lens that translates L*.post before, of safetensors; empty without one. shows: what the cells say. run:
    which run, or edited minus clean.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"shows", "run"})

    mid: bool = False
    file: str = ""
    shows: Shows = "token"
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found: dict[str, Any] = {}
        words = cut(line)[1:]
        while words:
            word, at = words.pop(0)
            if word == "file":
                if "file" in found or not words:
                    raise LineError(line, at, "file should stand once, and a file behind it: file lens.safetensors")
                name, begin = words.pop(0)
                found["file"] = unquote(name, line, begin) if name.startswith('"') else name
                continue
            name = "mid" if word == "mid" else "shows" if word in SHOWS else "run" if word in RUNS else ""
            if not name:
                raise LineError(line, at, f"{short(word)} should be mid, file, {', '.join(SHOWS)}, clean or difference")
            value = word == "mid" or word
            if found.setdefault(name, value) != value:
                raise LineError(line, at, f"{short(word)} and {found[name]} cannot be shown together: take one of them")
        if "mid" in found and "file" in found:
            raise LineError(line, line.index("mid"), "a file translates what leaves a layer (L*.post): leave out mid")
        return cls(**found)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.file,) if self.file else ()

    def line(self) -> str:
        words = ["mid"] if self.mid else []
        words += ["file", quote(self.file)] if self.file else []
        words += [word for word in (self.shows, self.run) if word not in ("token", "edited")]
        return " ".join(("lens", *words))

    def next(self) -> Self:
        return replace(self, shows=after(self.shows, SHOWS))


class LensAnswer(Answer, frozen=True, tag="lens", eq=False):
    """layers: names of the rows, L0.mid, L0.post, ... All tables are [row, pos].

    top: id of the most probable token, prob: its probability. entropy: of the distribution, in nats. kl: its distance
    from the final one, KL(final || here), in nats. answers, foils [pos]: ids of answer and foil; those that the
    session names, or (auto) the two most probable after that position in the clean run. answer_rank: how many tokens
    are more probable. What is of an answer or a foil is None without one. vocabulary: all tokens that are named.
    translator: the name of the lens that a file holds; empty for the logit lens.
    """

    layers: tuple[str, ...]
    top: np.ndarray
    prob: np.ndarray
    entropy: np.ndarray
    kl: np.ndarray
    vocabulary: tuple[Token, ...]
    auto: bool
    answers: np.ndarray | None = None
    answer_logit: np.ndarray | None = None
    answer_prob: np.ndarray | None = None
    answer_rank: np.ndarray | None = None
    foils: np.ndarray | None = None
    foil_logit: np.ndarray | None = None
    foil_prob: np.ndarray | None = None
    translator: str = ""

    @property
    def deciding(self) -> np.ndarray:
        """[pos]: id of the token whose way to the top is looked at: the answer, or what is on top in the end."""
        return self.top[-1] if self.answers is None or self.auto else self.answers

    @property
    def decides(self) -> np.ndarray:
        """[pos]: the first row from which on that token is the most probable one to the end; -1 where there is none."""
        on_top = self.top == self.deciding
        stays = np.logical_and.accumulate(on_top[::-1]).sum(axis=0)
        return np.where(stays > 0, len(self.layers) - stays, -1)

    def json(self) -> dict[str, Any]:
        text = {token.id: token.text for token in self.vocabulary}
        decides = [None if row < 0 else self.layers[row] for row in self.decides]

        def texts(ids: np.ndarray | None) -> list[str] | None:
            return None if ids is None else [text[int(id)] for id in ids]

        return {
            "layers": list(self.layers),
            "translator": self.translator,
            "top": [
                [{"token": text[int(id)], "prob": plain(float(prob))} for id, prob in zip(ids, probs, strict=True)]
                for ids, probs in zip(self.top, self.prob, strict=True)
            ],
            "entropy": plain(self.entropy),
            "kl": plain(self.kl),
            "auto": self.auto,
            "answer": texts(self.answers),
            "answer_logit": plain(self.answer_logit),
            "answer_prob": plain(self.answer_prob),
            "answer_rank": plain(self.answer_rank),
            "foil": texts(self.foils),
            "foil_logit": plain(self.foil_logit),
            "foil_prob": plain(self.foil_prob),
            "decides": decides,
        }


SPEC = View(
    question=Lens,
    answer=LensAnswer,
    title="Lens",
    go="l",
    shows=(
        "For every layer (the first at the bottom) and position what the model would say if it stopped there, "
        "softmax(W_U norm(post)): the likeliest token coloured by its probability; or the answer's probability, logit "
        "or rank; the distribution's entropy; KL(final || here), how far it is from the final one; or each of these "
        "edited minus clean. With mid, the same between attention and MLP. The curve has it for the selected token. "
        "With a file, as in lens file demo.safetensors, what leaves a layer is translated to the last layer's terms "
        "before: of a Jacobian lens by the mean effect of a small change there on the end, J h; of a tuned lens by an "
        "affine map h + W h + b that was trained to come near the final distribution. mechtui lens fit makes one."
    ),
    read=(
        "The marked row is the layer that decides: from it on the answer, or without one the final top token, is "
        "the likeliest to the end."
    ),
    trap=(
        "Early layers do not write in the unembedding's terms: nonsense there is the lens's, not the model's. A token "
        "that is not on top may be known long before. A tuned lens predicts what the model will say, also where the "
        "layer's own output plays no part in it; of another model, or of text unlike its own, it says little."
    ),
    paper=(
        "nostalgebraist 2020, interpreting GPT: the logit lens; Belrose et al. 2023, Eliciting latent predictions with "
        "the tuned lens; Gurnee et al. 2026, Verbalizable representations form a global workspace"
    ),
    words=("residual stream", "unembedding", "translator", "rank", "entropy", "clean, edited"),
    cost=Cost.OWN_RUNS,
    footer=("target", "token_back", "token_next", "summary", "next_run", "mid", "maximise"),
    line_words=(("mid", "the stream between attention and MLP, too"),),
    actions=(Action("mid", ("r",), "mid", "Show the residual stream between attention and MLP, too."),),
    numbers=(
        Numbers("kl", "KL to the final", "nats", ("layers", "position")),
        Numbers("answer_logit", "logit of the answer", "logits", ("layers", "position")),
    ),
)
