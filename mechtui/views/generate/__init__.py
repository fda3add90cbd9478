"""`generate 40 [temperature0.8] [top_p0.95] [seed1] [prompt]`: continue the prompt."""

from __future__ import annotations

import re
from typing import Self

from msgspec.structs import replace

from mechtui.session.document import Token
from mechtui.session.grammar.words import LineError, cut, decimal, format_number, short, whole
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Action, Cost, View

# Colder than this, logits over temperature are no numbers any more; hotter, all tokens are alike.
TEMPERATURES = (0.001, 1000.0)
TOP_P = (0.001, 1.0)


class Generate(Question, frozen=True, tag="generate"):
    """`count` more tokens. temperature 0 is greedy. With `everywhere` the edits whose positions are @all act
    on generated positions too; without it, only on the prompt's."""

    count: int = 40
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    everywhere: bool = True

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        count, temperature, top_p, seed, everywhere = 40, 0.0, 1.0, 0, True
        for word, at in cut(line)[1:]:
            if re.fullmatch(r"[1-9][0-9]{0,4}", word):
                count = int(word)
            elif word.startswith("temperature"):
                temperature = _between(word, "temperature", TEMPERATURES, line, at)
            elif word.startswith("top_p"):
                top_p = _between(word, "top_p", TOP_P, line, at)
            elif match := re.fullmatch(r"seed([0-9]+)", word):
                seed = whole(match[1], line, at + len("seed"))
            elif word == "prompt":
                everywhere = False
            else:
                problem = (
                    f"{short(word)} should be a count from 1 to 99,999, temperature0.8, top_p0.95, seed1 or prompt"
                )
                raise LineError(line, at, problem)
        return cls(count, temperature, top_p, seed, everywhere)

    @property
    def costly(self) -> bool:
        return True

    def next(self) -> Self:
        """Edits on generated positions too, or on the prompt's only."""
        return replace(self, everywhere=not self.everywhere)

    def line(self) -> str:
        words = [f"generate {self.count}"]
        if self.temperature:
            words.append(f"temperature{format_number(self.temperature)}")
        if self.top_p != 1:
            words.append(f"top_p{format_number(self.top_p)}")
        if self.seed:
            words.append(f"seed{self.seed}")
        if not self.everywhere:
            words.append("prompt")
        return " ".join(words)


def _between(word: str, prefix: str, limits: tuple[float, float], line: str, column: int) -> float:
    """The number behind `prefix`; a temperature may be 0 too."""
    value = decimal(word.removeprefix(prefix))
    least, most = limits
    if value is not None and (least <= value <= most or (value == 0 and prefix == "temperature")):
        return value
    zero = "0, or " if prefix == "temperature" else ""
    problem = f"{short(word)} should be {prefix} and a number: {zero}from {least:g} to {most:g}"
    raise LineError(line, column, problem)


class GenerateAnswer(Answer, frozen=True, tag="generate", eq=False):
    """tokens: what came after the prompt so far. done: no more will come (count, end of text, n_ctx)."""

    tokens: tuple[Token, ...]
    done: bool
    why: str = ""


SPEC = View(
    question=Generate,
    answer=GenerateAnswer,
    title="Generate",
    go="c",
    shows=(
        "The prompt continued by the clean and by the edited model; from the first token that differs on, the edited "
        "text is marked."
    ),
    read="Edits act on generated positions too, or on the prompt's only: the title says which.",
    trap=(
        "A mean's and noise's statistics count the generated tokens too. One continuation is one draw: at a "
        "temperature look at several."
    ),
    words=("temperature", "clean, edited", "steering vector"),
    cost=Cost.JOB,
    line_words=(
        ("40", "tokens"),
        ("temperature0.8", "draws each token; 0 takes the likeliest"),
        ("top_p0.95", "draws from the likeliest that make up this share"),
        ("seed1", "which draws"),
        ("prompt", "edits act on the prompt's positions only"),
    ),
    footer=("start", "more", "less", "warmer", "cooler", "summary", "maximise"),
    actions=(
        Action("warmer", ("circumflex_accent",), "warmer", "Raise the temperature by 0.1."),
        Action("cooler", ("underscore",), "cooler", "Lower the temperature by 0.1; 0 takes the most probable token."),
    ),
)
