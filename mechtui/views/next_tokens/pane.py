"""What the model expects next: clean beside edited, answer and foil."""

from __future__ import annotations

import math

from msgspec.structs import replace
from textual import events

from mechtui.none import NONE
from mechtui.paint.bars import bar
from mechtui.paint.heat import Piece
from mechtui.paint.nans import nan_text
from mechtui.paint.numbers import fit, share, signed
from mechtui.paint.tokens import fitting, pad, visible
from mechtui.paint.tokens import width as cells
from mechtui.panes.over import over_cases, rows_of
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, lines_page, wrap
from mechtui.views import Question
from mechtui.views.next_tokens import SPEC, TOPS, Candidate, NextTokens, NextTokensAnswer
from mechtui.visible import seen

# Smaller changes than this are not marked: three places show them anyhow.
CHANGE = 0.005
# Cells of a candidate's logit, and of the narrowest bar beside one.
LOGIT, LEAST_BAR = 7, 8
# Rows of what stands below the candidates: entropy, answer, foil, logit difference.
FACTS = 5
# Cells before the names of answer and foil, and the most that both together take.
WHICH, WIDEST = 7, 20

Pair = tuple[Candidate | None, Candidate | None]


def pairs(clean: NextTokensAnswer, edited: NextTokensAnswer | None) -> list[Pair]:
    """Clean and edited candidate of every token that is on top of either run, the likeliest of both first."""
    before = {candidate.token.id: candidate for candidate in (*clean.top, *clean.also)}
    if edited is None:
        return [(candidate, None) for candidate in clean.top]
    after = {candidate.token.id: candidate for candidate in (*edited.top, *edited.also)}
    ids = dict.fromkeys(candidate.token.id for candidate in (*clean.top, *edited.top))
    found = [(before.get(i), after.get(i)) for i in ids]
    return sorted(found, key=lambda pair: -max(each.prob for each in pair if each is not None))


class NextTokensPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.at = 0

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """As many candidates as there is room for, where the line asks for no number of its own."""
        question = picture.question(NextTokens)
        if question.top == NextTokens().top:
            room = self._room().height - 1 - FACTS - rows_of(picture)
            question = replace(question, top=next((top for top in TOPS if top >= room), TOPS[-1]))
        return (question.asked(),)

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        picture = self.picture
        answered = None if picture is None else picture.answer(NextTokens)
        if picture is not None and answered is not None and answered.question not in self.questions(picture):
            self.post_message(self.Look(picture.focus))  # there is room for more candidates, or for fewer

    def _answers(self, picture: Picture | None) -> tuple[NextTokensAnswer, NextTokensAnswer | None] | None:
        answered = picture.answer(NextTokens) if picture else None
        if answered is None or not isinstance(answered.clean, NextTokensAnswer):
            return None
        return answered.clean, answered.edited if isinstance(answered.edited, NextTokensAnswer) else None

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found = self._answers(picture)
        if found is None:
            return self.blank(self.WAITING, width, f"@{picture.position()}")
        clean, edited = found
        if height == 1:
            return self._in_a_line(clean, edited, width)
        both = pairs(clean, edited)
        at = max(0, min(self.at, len(both) - 1))
        columns = 2 if edited is not None else 1
        # Token, then per run a space, `.923`, a space and the bar, then a mark.
        bars = max((width - 8) // columns - 6, 0)
        bars = min(bars, 24, max((width - 14) // columns - 6, 4))
        # Of one run the logit stands behind the bar, where there is room to spare.
        logits = LOGIT if columns == 1 and bars - LOGIT >= LEAST_BAR else 0
        bars -= logits
        label = max(width - columns * (6 + bars + logits) - 2, 3)
        label = min(label, 18)

        def row(index: int, left: int) -> Line:
            return self._row(both[index], label, bars, logits, edited is not None, index == at)

        facts = self._facts(clean, edited, width) + over_cases(picture, width, self.palette)
        facts += self._remarks(picture, width)
        head = [
            line(
                (" " * label, self.palette.dim),
                (" clean".ljust(6 + bars), self.palette.clean),
                ("logit".rjust(logits)[:logits], self.palette.dim),
                (" edited" if edited is not None else "", self.palette.edited),
            )
        ]
        rows = len(both)
        here = min(clean.position, 10**9)
        title = f"@{here} {picture.token(here)}"
        diff = _arrow(clean.logit_diff, edited.logit_diff if edited else None, edited is not None)
        legend = ((f"logit diff{' (auto)' if clean.auto else ''} {diff}", self.palette.bold),) if diff else ()
        if height >= len(facts) + 5:
            return Page(rows, row, head=lambda left: head, head_rows=1, foot=facts, cursor=at, title=title)

        def all_rows(index: int, left: int) -> Line:
            return row(index, left) if index < rows else facts[index - rows]

        return Page(rows + len(facts), all_rows, cursor=at, title=title, legend=legend)

    def _row(self, pair: Pair, label: int, bars: int, logits: int, two: bool, here: bool) -> Line:
        palette = self.palette
        clean, edited = pair
        token = next(each.token for each in pair if each is not None)
        pieces = [(pad(visible(token), label), palette.selected if here else palette.bold)]
        for candidate, look in ((clean, palette.clean), (edited, palette.edited))[: 2 if two else 1]:
            prob = candidate.prob if candidate is not None else NONE
            pieces += [
                (f" {share(prob, 3):<4} ", palette.dim if prob < CHANGE else palette.bold),
                (bar(prob, bars), look),
                (fit(NONE if candidate is None else candidate.logit, logits - 1).rjust(logits), palette.dim),
            ]
        if two and clean is not None and edited is not None:
            change = edited.prob - clean.prob
            mark = " ▲" if change >= CHANGE else " ▼" if change <= -CHANGE else "  "
            pieces.append((mark, palette.mark))
        return line(*pieces)

    def _in_a_line(self, clean: NextTokensAnswer, edited: NextTokensAnswer | None, width: int) -> Page:
        """The likeliest token of each run and the logit difference; where there is no room, the difference alone."""
        palette = self.palette
        pieces: list[Piece] = []
        for answer, look in ((clean, palette.clean), (edited, palette.edited)):
            if answer is not None and answer.top:
                best = answer.top[0]
                pieces += [(" → " if pieces else "", palette.dim), (visible(best.token), look + palette.bold)]
                pieces.append((f" {share(best.prob, 3).strip()}", palette.bold))
        diff = _arrow(clean.logit_diff, edited.logit_diff if edited else None, edited is not None)
        if diff:
            names = [visible(each.token) for each in (clean.answer, clean.foil) if each is not None]
            target = (f"  {' − '.join(names)}{' (auto)' if clean.auto else ''} ", palette.dim)
            more: list[Piece] = [target, (diff, palette.bold)]
            if sum(cells(text) for text, _ in (*pieces, *more)) > width:
                more = [("  diff ", palette.dim), more[1]]
            pieces += more
            if sum(cells(text) for text, _ in pieces) > width:
                pieces = more
        return lines_page([line(*pieces)])

    def _remarks(self, picture: Picture, width: int) -> list[Line]:
        """Why there is no answer or foil, and whether they were chosen for another prompt."""
        refused = [f"✗ {seen(each.sentence)}" for each in picture.problems if each.index < 0]
        lines = [line((text, self.palette.bad)) for sentence in refused for text in wrap(sentence, width)]
        if "target" in picture.earlier:
            earlier = "answer and foil are of an earlier prompt: a names others"
            lines += [line((text, self.palette.mark)) for text in wrap(earlier, width)]
        return lines

    def _facts(self, clean: NextTokensAnswer, edited: NextTokensAnswer | None, width: int) -> list[Line]:
        """Entropy, answer, foil, logit difference, each clean → edited."""
        palette, two = self.palette, edited is not None
        auto = " (auto)" if clean.auto else ""
        entropy = _arrow(clean.entropy, edited.entropy if edited else None, two, plus=False)
        lines = [line(("entropy ", palette.dim), (f"{entropy} nats", palette.bold))]
        rows: list[tuple[str, str, dict[str, str]]] = []
        for name, before, after in (
            ("answer", clean.answer, edited.answer if edited else None),
            ("foil", clean.foil, edited.foil if edited else None),
        ):
            if before is not None:
                logit, last = f"{before.logit:.2f}", f"→{after.logit:.2f}" if after else ""
                prob = share(before.prob, 3) + (f"→{share(after.prob, 3)}" if after else "")
                rank = str(before.rank) + (f"→{after.rank}" if after else "")
                numbers = {"logit": logit + last, "prob": prob, "rank": rank, "last": last or logit}
                rows.append((name, visible(before.token), numbers))
        names = {"logit": "logit", "prob": "prob", "rank": "rank", "last": "logit"}
        sizes = {
            title: max([len(name), *(len(numbers[title]) for _, _, numbers in rows)]) for title, name in names.items()
        }
        # A token's whole name comes before all numbers but one: the rows above mostly have the others.
        wanted = min(WHICH + max((cells(token) for _, token, _ in rows), default=0), WIDEST)
        choices = (("logit", "prob", "rank"), ("logit", "rank"), ("logit",), ("last",))
        room = {titles: width - sum(sizes[title] + 1 for title in titles) for titles in choices}
        titles = next((titles for titles in choices if room[titles] >= wanted), choices[-1])
        label = max(min(room[titles], WIDEST), 4)

        def columns(texts: dict[str, str]) -> str:
            return "".join(f" {texts[title]:>{sizes[title]}}" for title in titles)

        if rows:
            lines.append(line((pad("", label) + columns(names), palette.dim)))
        for name, token, numbers in rows:
            which = pad(f"{name:<{WHICH}}", min(WHICH, label))
            lines.append(line((which, palette.dim), (pad(token, label - len(which)), palette.bold), columns(numbers)))
        diff = _arrow(clean.logit_diff, edited.logit_diff if edited else None, two)
        if diff:
            moved = two and edited is not None and edited.logit_diff != clean.logit_diff
            look = palette.edited if moved else palette.bold
            # The number stays whole; what says whose it is gets shorter.
            calls = (f"logit diff{auto} ", "logit diff ", "diff ")
            name = next((name for name in calls if cells(name) + cells(diff) <= width), "")
            lines.append(line((name, palette.dim), (diff, look)))
        else:
            both = (("answer", clean.answer), ("foil", clean.foil))
            lacks = " and ".join(name for name, there in both if there is None)
            calls = (f"no {lacks}: no logit difference", f"no {lacks}: no logit diff", "no logit diff")
            lines.append(line((fitting(width, *calls), palette.dim)))
        return lines

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        found = self._answers(picture)
        if found is not None and 0 <= index < len(pairs(*found)):
            self.at = index
            self.renew()
        return None

    def move(self, dx: int, dy: int) -> None:
        """Down and up the candidates, right and left the positions."""
        found = self._answers(self.picture)
        if found is not None and dy:
            self.at = max(0, min(self.at + dy, len(pairs(*found)) - 1))
            self.renew()
        if dx and self.picture is not None and self.picture.tokens is not None:
            last = len(self.picture.tokens.tokens) - 1
            self.look(position=max(0, min(self.picture.position() + dx, last)))

    def _here(self) -> Pair | None:
        found = self._answers(self.picture)
        both = pairs(*found) if found else []
        return both[max(0, min(self.at, len(both) - 1))] if both else None

    def value(self) -> str:
        here = self._here()
        return next((each.token.text for each in here if each is not None), "") if here else ""

    def row(self) -> str:
        here = self._here()
        if here is None:
            return ""
        token = next(each.token for each in here if each is not None)
        probs = [f"{each.prob:.6g}" for each in here if each is not None]
        return "\t".join([visible(token), str(token.id), *probs])

    def search(self, text: str, forward: bool = True) -> bool:
        found = self._answers(self.picture)
        both = pairs(*found) if found else []
        for distance in range(1, len(both) + 1):
            at = (self.at + (distance if forward else -distance)) % len(both)
            token = next(each.token for each in both[at] if each is not None)
            if text and (text.lower() in token.text.lower() or text.lower() in visible(token).lower()):
                self.at = at
                self.renew()
                return True
        return False


PANE = NextTokensPane


def _arrow(clean: float | None, edited: float | None, two: bool, plus: bool = True) -> str:
    """`+6.12`, or `+6.12 → +1.04` with two runs; empty without a clean value."""
    if clean is None:
        return ""

    def text(value: float | None) -> str:
        if value is None or math.isnan(value):
            return "?" if value is None else nan_text(value) or "?"
        return signed(value).strip() if plus else f"{value:.2f}"

    return f"{text(clean)} → {text(edited)}" if two else text(clean)
