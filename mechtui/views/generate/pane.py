"""The prompt continued, clean and edited, token by token."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.paint.tokens import fitting, width
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Line, Page, Pane, Picture, line, lines_page
from mechtui.session import changes
from mechtui.session.document import Token
from mechtui.session.grammar.words import MOST
from mechtui.views import state
from mechtui.views.generate import SPEC, TEMPERATURES, Generate, GenerateAnswer
from mechtui.visible import seen

SIDE_BY_SIDE = 50


def flow(tokens: tuple[Token, ...], room: int) -> list[list[tuple[int, str]]]:
    """Tokens as running text: lines of (index, text) of at most `room` cells, broken before a token where
    possible. Spaces are spaces; a newline shows as ⏎ and ends its line."""
    lines: list[list[tuple[int, str]]] = [[]]
    used = 0
    room = max(room, 1)
    for index, token in enumerate(tokens):
        text = f"<{token.hex}>" if token.hex else token.text
        for part in text.splitlines(keepends=True) or [""]:
            shown = seen(part)
            if used and used + width(shown) > room:
                lines.append([])
                used = 0
                shown = shown.removeprefix(" ")
            while width(shown) > room:
                head = _first(shown, room)
                lines[-1].append((index, head))
                lines.append([])
                shown = shown[len(head) :]
            lines[-1].append((index, shown))
            used = used + width(shown) if lines[-1][:-1] else width(shown)
            if part.endswith("\n"):
                lines.append([])
                used = 0
    return lines


def _first(text: str, room: int) -> str:
    """The longest beginning of at most `room` cells, one character at least."""
    end = 1
    while end < len(text) and width(text[: end + 1]) <= room:
        end += 1
    return text[:end]


class GeneratePane(Pane):
    VIEW = SPEC
    OF_SESSION = True
    WAITING = "nothing generated yet: . continues the prompt, clean and edited"

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        answered = picture.answer(Generate)
        asked = picture.question(Generate)
        palette = self.palette
        if answered is None or not isinstance(answered.question, Generate):
            return self.blank(self.WAITING, width, self.titled(picture, width, *_hows(asked)))
        clean, edited = answered.clean, answered.edited
        runs = [(n, r, s) for n, r, s in (("clean", clean, palette.clean), ("edited", edited, palette.edited)) if r]
        columns = 2 if len(runs) == 2 and width >= SIDE_BY_SIDE else 1
        room = (width - 3 * (columns - 1)) // columns
        differs = _first_difference(answered)
        blocks = []
        for name, run, style in runs:
            if not isinstance(run, GenerateAnswer):
                continue
            lines = [line((fitting(room, *(f"{name}: {state}" for state in _states(run))), style))]
            for parts in flow(run.tokens, room):
                lines.append(
                    line(*((t, palette.mark if name == "edited" and i >= differs else palette.bold) for i, t in parts))
                )
            blocks.append(lines)
        title = self.titled(picture, width, *_titles(answered.question, edited is not None))
        if not blocks:
            return self.blank(self.WAITING, width, title)
        growing = any(not run.done for _, run, _ in runs if isinstance(run, GenerateAnswer))
        if columns == 1:
            lines = [each for block in blocks for each in block]
            return lines_page(lines, title=title, cursor=len(lines) - 1 if growing else None)
        count = max(len(block) for block in blocks)
        both: list[Line] = []
        for i in range(count):
            left, right = (block[i] if i < len(block) else [] for block in blocks)
            gap = room - sum(segment.cell_length for segment in left)
            both.append([*left, *line((" " * gap + " │ ", palette.dim)), *right])
        # While text comes, its end stays in sight.
        return lines_page(both, title=title, cursor=count - 1 if growing else None)

    def move(self, dx: int, dy: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + dy, animate=False)

    def start(self, desk: Desk) -> None:
        """Begin the generation and show it; when it is shown already, another one."""
        asked = state(desk.session.views, Generate)
        if desk.job != self.VIEW.name:
            super().start(desk)
        elif desk.here == self.VIEW.name:
            if not asked.temperature:
                raise changes.CannotError("At temperature 0 there is one continuation; ^ raises the temperature.")
            desk.put(replace(asked, seed=(asked.seed + 1) % MOST))
        else:
            desk.go(self.VIEW.name)

    def do_warmer(self, desk: Desk) -> None:
        _warm(desk, 0.1)

    def do_cooler(self, desk: Desk) -> None:
        _warm(desk, -0.1)

    def _text(self, edited: bool) -> str:
        answered = self.picture.answer(Generate) if self.picture else None
        run = None if answered is None else answered.edited if edited else answered.clean
        return "".join(token.text for token in run.tokens) if isinstance(run, GenerateAnswer) else ""

    def value(self) -> str:
        """What the edited run wrote, or the clean one where there is no other."""
        return self._text(True) or self._text(False)

    def row(self) -> str:
        """Both continuations, their line ends and tabs written out, so that they stay one row."""
        return "\t".join(seen(text) for text in (self._text(False), self._text(True)) if text)

    def search(self, text: str, forward: bool = True) -> bool:
        both = self._text(False) + "\n" + self._text(True)
        return bool(text) and text.lower() in both.lower()


PANE = GeneratePane


def _warm(desk: Desk, by: float) -> None:
    asked = state(desk.session.views, Generate)
    desk.put(replace(asked, temperature=round(min(max(asked.temperature + by, 0.0), TEMPERATURES[1]), 2)))


def _first_difference(answered: Answered) -> int:
    clean, edited = answered.clean, answered.edited
    if not isinstance(clean, GenerateAnswer) or not isinstance(edited, GenerateAnswer):
        return 0
    pairs = zip(clean.tokens, edited.tokens, strict=False)
    same = next((i for i, (a, b) in enumerate(pairs) if a.id != b.id), None)
    return min(len(clean.tokens), len(edited.tokens)) if same is None else same


def _states(run: GenerateAnswer) -> tuple[str, ...]:
    """How far it is, ever shorter."""
    count = f"{len(run.tokens)} token{'' if len(run.tokens) == 1 else 's'}"
    return (f"{count}, {seen(run.why) or 'done'}", f"{count}, done", count) if run.done else (f"{count} …",)


def _hows(asked: Generate) -> tuple[str, ...]:
    """How many tokens and how they are chosen, ever shorter; the numbers stay."""
    if asked.temperature == 0:
        return (f"{asked.count}, greedy",)
    heat, nucleus = f"{asked.temperature:g} seed {asked.seed}", f" top-p {asked.top_p:g}" if asked.top_p < 1 else ""
    short = f"{asked.count} t{asked.temperature:g} s{asked.seed}" + (f" p{asked.top_p:g}" if nucleus else "")
    return f"{asked.count}, temperature {heat}{nucleus}", f"{asked.count}, temp {heat}{nucleus}", short


def _titles(asked: Generate, edited: bool) -> tuple[str, ...]:
    """The same and where edits act, ever shorter; where they act goes before the numbers do."""
    wheres = ("no edit is on", "no edit on")
    if edited and asked.everywhere:
        wheres = ("edits act on new tokens too", "edits on new tokens")
    elif edited:
        wheres = ("edits act on the prompt only", "edits on prompt only")
    hows = _hows(asked)
    both = [f"{how}, {where}" for how in hows for where in wheres]
    return (*both, *hows)
