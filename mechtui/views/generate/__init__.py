"""`generate 40 [temperature0.8] [top_p0.95] [seed1] [prompt]`: continue the prompt."""

from __future__ import annotations

import re
from typing import Self

from mechtui.session.document import Token
from mechtui.session.lines import LineError, format_number
from mechtui.views.question import Answer, Question


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
        for word in rest.split():
            at = line.index(word)
            if re.fullmatch(r"[1-9]\d{0,4}", word):
                count = int(word)
            elif match := re.fullmatch(r"temperature(\d+(?:\.\d+)?)", word):
                temperature = float(match[1])
            elif match := re.fullmatch(r"top_p(\d+(?:\.\d+)?)", word):
                top_p = float(match[1])
                if not 0 < top_p <= 1:
                    raise LineError(line, at, f"{word} should lie above 0 and at most at 1")
            elif match := re.fullmatch(r"seed(\d+)", word):
                seed = int(match[1])
            elif word == "prompt":
                everywhere = False
            else:
                problem = f"{word} should be a count, temperature0.8, top_p0.95, seed1 or prompt"
                raise LineError(line, at, problem)
        return cls(count, temperature, top_p, seed, everywhere)

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


class GenerateAnswer(Answer, frozen=True, tag="generate", eq=False):
    """tokens: what came after the prompt so far. done: no more will come (count, end of text, n_ctx)."""

    tokens: tuple[Token, ...]
    done: bool
    why: str = ""


QUESTION = Generate
ANSWER = GenerateAnswer
