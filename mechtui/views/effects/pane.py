"""The session's edits, in the order in which they act or by what each does alone."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.paint.numbers import amount, column, signed
from mechtui.paint.tokens import cut, pad
from mechtui.paint.tokens import width as cells
from mechtui.panes.desk import Desk
from mechtui.panes.over import over_alone
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, lines_page, wrap
from mechtui.session import changes
from mechtui.session.document import Edit, Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.ops import ops
from mechtui.views import Question
from mechtui.views.effects import SPEC, Effects, EffectsAnswer
from mechtui.visible import seen

EMPTY = (
    "no edit yet: z zeroes the head under the cursor, p patches it from the source, x cuts an attention cell; e takes "
    "any edit as a line"
)


# Cells of the box before an edit.
BOX = 3
# What the sum of effects may miss in linear mode, in logits.
ADDS_UP = 1e-3
HELD = "in linear mode patterns are held, so that this edit does nothing"
# The shortest that is left of a name.
LEAST_NAME = 4


def shortened(edit: Edit, room: int) -> str:
    """The edit's line in `room` cells: first its vector's name is cut, then what stands before its number, which
    stays whole."""
    words = format_edit(edit).split(" ")
    text = seen(" ".join(words))
    if cells(text) <= room:
        return pad(text, room)
    if edit.vector:
        at = words.index(edit.vector, 2)
        words[at] = cut(words[at], max(room - cells(text) + cells(words[at]), LEAST_NAME))
        text = seen(" ".join(words))
    if not ops()[edit.op].number or cells(text) <= room:
        return pad(text, room)
    head, _, number = text.rpartition(" ")
    return pad(f"{cut(head, max(room - cells(number) - 1, 1))} {number}", room)


def _key(edit: Edit) -> Edit:
    """An edit without its switch: its effect alone is the same on or off."""
    return replace(edit, on=True)


def _base(session: Session) -> Session:
    """What an edit's effect depends on besides the edit itself."""
    return replace(session, edits=(), views=())


class EditsPane(Pane):
    VIEW = SPEC
    OF_SESSION = True
    BY_PLACE = True

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._known: dict[Edit, tuple[float | None, float | None]] = {}
        self._baseline: float | None = None
        self._together: float | None = None
        self._of: tuple[Session, int] | None = None
        self._at = 0
        self._above = 0

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        return super().questions(picture) if picture.session.edits else ()

    def show(self, picture: Picture) -> None:
        """An answer belongs to the list that it was asked for: remembered by edit, not by row, so that a list
        that has changed since never shows one edit's effect beside another."""
        answered = picture.answer(Effects)
        answer = (answered.clean or answered.edited) if answered else None
        if isinstance(answer, EffectsAnswer) and not picture.stale:
            self._baseline, self._of = answer.baseline, (_base(picture.session), picture.position())
            self._at, self._together = answer.position, answer.together
            shares = answer.share or (None,) * len(answer.effect)
            numbers = zip(answer.effect, shares, strict=False)
            self._known = {_key(e): n for e, n in zip(picture.session.edits, numbers, strict=False)}
        if self._of is not None and self._of != (_base(picture.session), picture.position()):
            # The numbers that are kept are of another prompt, token, target or model.
            picture = replace(picture, stale=bool(picture.session.edits))
        super().show(picture)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        palette, edits = self.palette, picture.session.edits
        problems = {problem.index: problem for problem in picture.problems}
        general = [problem for problem in picture.problems if problem.index < 0]
        refused = [text for each in general for text in wrap(f"✗ {seen(each.sentence)}", width)]
        lines: list[Line] = [line((text, palette.bad)) for text in refused]
        above = self._above = len(lines)
        on = len(picture.applied())
        order = self._order(picture)
        ranked = "ranked " if picture.question(Effects).ranked else ""
        title = f"Δ logit diff @{self._at}, {on}/{len(edits)} on" if edits else ""
        alone = title.replace("diff", "diff, each alone,", 1)
        title = self.titled(picture, width, f"{ranked}{alone}", alone, f"{ranked}{title}", title)
        if not edits:
            return lines_page([*lines, *(line((text, palette.dim)) for text in wrap(EMPTY, width))], title=title)
        here = max(0, min(picture.focus.edit, len(edits) - 1))
        effects = column([self._effect(edit) for edit in edits])
        ends = [
            f" ✗ {seen(problems[at].sentence)}" if at in problems else f" {effect}" for at, effect in enumerate(effects)
        ]
        for index in order:
            edit = edits[index]
            problem = problems.get(index)
            right = ends[index]
            box = f"[{'x' if edit.on else ' '}] "
            whole = cells(box) + cells(seen(format_edit(_key(edit))))
            # The effect keeps its place; a problem's sentence takes what room there is.
            room = max(width - cells(right), 8) if problem is None else min(whole, max(width // 2, 8))
            text = box + shortened(_key(edit), max(room - cells(box), 1))
            look = palette.selected if index == here else palette.bold if edit.on else palette.dim
            style = palette.bad if problem else palette.bold if edit.on else palette.dim
            lines.append(line((pad(text, room), look), (right, style)))
        foot: list[Line] = []
        if (chosen := problems.get(here)) is not None:
            sentences, look = [f"✗ {chosen.where}: {seen(chosen.sentence)}"], palette.bad
        else:
            over = over_alone(picture, edits[here])
            sentences, look = [*over, *self._notes(picture.session, edits[here])], palette.dim
        if height >= 5:
            wrapped = [text for sentence in sentences for text in wrap(sentence, width)]
            foot = [line((text, look)) for text in wrapped[: height - 3]]
        base = "" if self._baseline is None else f"clean {signed(self._baseline).strip()}"
        # The edits alone do not add up to it. What is on now may not be what was on when it was computed.
        if on > 1 and base and self._together is not None and not picture.stale:
            base += f", together {signed(self._together).strip()}{self._sum(picture)}"
        lengths = (len("[x] ") + cells(seen(format_edit(_key(edit)))) for edit in edits)
        return lines_page(
            lines,
            foot=foot,
            full=max(lengths) + max(map(cells, ends)),
            cursor=above + order.index(here),
            title=title,
            legend=((base, palette.dim),) if base else (),
        )

    def _sum(self, picture: Picture) -> str:
        """In linear mode, that the effects of the edits that are on add up to what they do together; empty else."""
        if not picture.session.linear or self._together is None:
            return ""
        effects = [self._known.get(_key(edit), (None, None))[0] for edit in picture.applied()]
        total = sum(each for each in effects if each is not None)
        return " = sum" if abs(total - self._together) <= ADDS_UP else f", sum {signed(total).strip()}"

    def _order(self, picture: Picture) -> list[int]:
        """The edits' numbers as they are listed; ranked, those without an effect come last."""
        edits = picture.session.edits
        if not picture.question(Effects).ranked:
            return list(range(len(edits)))
        effects = [self._known.get(_key(edit), (None, None))[0] for edit in edits]

        def place(index: int) -> tuple[bool, float]:
            effect = effects[index]
            return effect is None, 0.0 if effect is None else -abs(effect)

        return sorted(range(len(edits)), key=place)

    def _effect(self, edit: Edit) -> str:
        effect, _ = self._known.get(_key(edit), (None, None))
        return "" if effect is None else signed(effect)

    def _notes(self, session: Session, edit: Edit) -> list[str]:
        """What is to be known of an added vector."""
        _, share = self._known.get(_key(edit), (None, None))
        long = [] if share is None else [f"adds {amount(share)} of the activation's length"]
        held = [HELD] if session.linear and edit.site.part in ("q", "k", "scores") else []
        return held + long + [text for text in (changes.read_elsewhere(session, edit),) if text]

    def _count(self) -> int:
        return len(self.picture.session.edits) if self.picture else 0

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        above = self._above
        if not 0 <= index - above < len(picture.session.edits):
            return None
        return replace(picture.focus, edit=self._order(picture)[index - above])

    def acts(self, picture: Picture, index: int, x: int) -> str:
        return "toggle" if x < BOX and self.hit(picture, index, x, 0) is not None else ""

    def rows_at(self, width: int, session: Session) -> int:
        # The edits, and what is to be known of the one under the cursor.
        return len(session.edits) + (4 if session.cases else 2)

    def move(self, dx: int, dy: int) -> None:
        if self.picture is not None and (count := self._count()):
            order = self._order(self.picture)
            place = order.index(max(0, min(self.picture.focus.edit, count - 1)))
            self.look(edit=order[max(0, min(place + dy, count - 1))])

    def do_change_edit(self, desk: Desk) -> None:
        at = desk.focus.edit
        desk.open_line("edit", format_edit(changes.chosen(desk.session, at)), at)

    def value(self) -> str:
        edit = self._here()
        if edit is None:
            return ""
        effect = self._known.get(_key(edit), (None, None))[0]
        return "" if effect is None else f"{effect:.6g}"

    def row(self) -> str:
        edit = self._here()
        if edit is None:
            return ""
        return "\t".join(("on" if edit.on else "off", format_edit(_key(edit)), self.value()))

    def _here(self) -> Edit | None:
        if self.picture is None or not self._count():
            return None
        return self.picture.session.edits[max(0, min(self.picture.focus.edit, self._count() - 1))]

    def search(self, text: str, forward: bool = True) -> bool:
        count = self._count()
        if self.picture is None or not text:
            return False
        for distance in range(1, count + 1):
            at = (self.picture.focus.edit + (distance if forward else -distance)) % count
            if text.lower() in format_edit(self.picture.session.edits[at]).lower():
                self.look(edit=at)
                return True
        return False


PANE = EditsPane
