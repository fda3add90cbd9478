"""The senders of one receiver, those that do most first; one path's positions in the prompt's order."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.paint.numbers import duration, signed
from mechtui.paint.tokens import visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Page, Pane, Picture, line, lines_page, wrap
from mechtui.panes.rows import Numbers, Rows, Texts, ordered, read_cursor, write_cursor
from mechtui.session import changes
from mechtui.session.document import Site
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.places import format_site, parse_site
from mechtui.views import Question
from mechtui.views.attention import Attention
from mechtui.views.path import SPEC, Path, PathAnswer

ALL = "all paths"
# A bar that is as long as it can be stands for this at least, in logits.
LEAST = 0.01
DONE = {"cut": "cut", "patch": "from the source"}


class PathPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._on = ""  # the row under the cursor, by its name; the first one where there is no such row
        self._column: int | None = None
        self._rows: Rows | None = None
        self._names: tuple[str, ...] = ()

    # What is shown

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._rows, self._names = None, ()
        question = picture.question(Path)
        found = self._found(picture)
        if found is None:
            if picture.job or picture.ready is None or not question.costly:
                return self.blank(self.WAITING, width, self._title(picture, width, question, ""))
            return self._planned(picture, question, width)
        answer, which = found
        self._rows = rows = self._listed(picture, answer, question)
        self._names = answer.senders
        page = rows.page(self.palette, width, height, self._at(), self._column)
        foot = [line((each, self.palette.dim)) for each in wrap(self._looked(picture, answer, question), width)]
        legend = ((f"logit difference {signed(answer.baseline)}", self.palette.dim),)
        title = self._title(picture, width, question, f"{which} {self._state(picture, answer)}".strip(), answer.how)
        return changed(page, title=title, legend=legend, foot=[*page.foot, *(foot if height >= 8 else [])])

    def _found(self, picture: Picture) -> tuple[PathAnswer, str] | None:
        """The answer that the line asks for, and which run's it is where there are two."""
        asked = picture.question(Path)
        answered = next((each for each in picture.answered if each.question == asked.asked()), None)
        if answered is None or not isinstance(answered.clean, PathAnswer):
            return None
        clean, edited = answered.clean, answered.edited
        if not isinstance(edited, PathAnswer):
            return clean, ""
        if asked.run == "clean":
            return clean, "clean"
        if asked.run == "difference" and edited.senders == clean.senders:
            both = None if None in (edited.together, clean.together) else (edited.together or 0) - (clean.together or 0)
            effect, moves = edited.effect - clean.effect, edited.moves - clean.moves
            return replace(edited, effect=effect, moves=moves, together=both), "edited-clean"
        return edited, "edited"

    def _planned(self, picture: Picture, question: Path, width: int) -> Page:
        """What it will do, before it does it."""
        session = picture.session
        runs = "one run each"
        if picture.ready is not None and question.sender is None:
            runs = f"{len(question.senders(picture.ready.shape))} senders, one run each"
        what = (
            "in place of each write the one of the source's run"
            if session.source and not question.cut
            else "each write taken away" + ("" if session.source else " (with a source it is patched: I writes one)")
        )
        name = question.receiver_name()
        if question.sender is not None:
            name, runs = f"{format_site(question.sender)}>{name}", "one run for each position"
        where = "at all positions" if question.at is None else f"at {question.at} {picture.token(question.at)}".rstrip()
        texts = (
            f"Who put this there? {name} {where}: {runs}, {what}.",
            ". starts it; s takes another receiver, H this token alone, t whole layers.",
        )
        lines = [line((each, self.palette.plain)) for text in texts for each in wrap(text, width)]
        return lines_page(lines, title=self._title(picture, width, question, "not run yet"))

    def _title(self, picture: Picture, width: int, question: Path, state: str, how: str = "") -> str:
        name = question.receiver_name()
        name = f"{format_site(question.sender)}>{name}" if question.sender is not None else f"→ {name}"
        where = "" if question.at is None else f" @{question.at}"
        done = f": {DONE[how]}" if how else ""
        only = f' "{visible_text(question.only)}"' if question.only else ""
        state = f" {state}" if state else ""
        return self.titled(
            picture, width, f"{name}{where}{done}{only}{state}", f"{name}{where}{state}", f"{name}{state}", name
        )

    def _state(self, picture: Picture, answer: PathAnswer) -> str:
        left = answer.left
        if left is None:
            return ""
        time = f", {duration(left.seconds)} left" if left.seconds is not None and picture.job else ""
        return f"{left.done} of {left.runs}{time}"

    def _looked(self, picture: Picture, answer: PathAnswer, question: Path) -> str:
        """What of the receiver's own is in the last column."""

        def token(position: int | None) -> str:
            return "" if position is None else f"{position} {picture.token(position)}".rstrip()

        if question.part in ("q", "k"):
            score = "" if answer.score is None else f", now {signed(answer.score)}"
            return f"score: of the attention from {token(answer.query)} to {token(answer.key)}{score}"
        if question.part == "logits":
            return "through the final norm of what is left; no run is needed"
        what, at = ("value", answer.key) if question.part == "v" else ("MLP's output", answer.query)
        return f"share: of the {what} at {token(at)}, along itself"

    def _listed(self, picture: Picture, answer: PathAnswer, question: Path) -> Rows:
        single = question.sender is not None
        names = [f"{name[1:]} {picture.token(int(name[1:]))}" if name[0] == "@" else name for name in answer.senders]
        together = NONE if answer.together is None else answer.together
        effect = np.append(answer.effect, together).astype(np.float64)
        finite = np.abs(answer.effect[np.isfinite(answer.effect)])
        # Effects that are rounding alone fill no bar.
        most = max(float(finite.max(initial=0.0)), LEAST)
        columns: list[Texts | Numbers] = [
            Texts("token" if single else "sender", [*names, ALL]),
            Numbers("effect", effect, signs=True, look="bar", high=most),
        ]
        if question.part != "logits":
            name = "score" if question.part in ("q", "k") else "share"
            moves = np.append(answer.moves, NONE).astype(np.float64)
            high = float(np.nanmax(np.abs(moves), initial=0.0)) or 1.0
            columns.append(Numbers(name, moves, signs=True, look="shade", high=high))
        last = columns[-1].name
        sorts = "" if single else last if question.by == "moves" else "effect"
        order = tuple(row for row in ordered(columns, sorts, only=question.only) if row < len(names))
        edited = frozenset(row for row in range(len(names)) if self._is_edit(picture, question, answer, row))
        below = () if answer.together is None else (len(names),)
        return Rows(tuple(columns), order, by=sorts, only=question.only, edited=edited, below=below)

    def _is_edit(self, picture: Picture, question: Path, answer: PathAnswer, row: int) -> bool:
        """Whether the row's path is cut or patched by the session."""
        if picture.ready is None or question.part == "logits":
            return False
        sender = question.sender or _site(answer.senders[row])
        receiver = question.receiver(picture.ready.shape)
        return any((each.sender, each.site) == (sender, receiver) for each in picture.session.active_edits())

    # Moving

    def _at(self) -> int:
        """The number of the row under the cursor."""
        if self._on in self._names:
            return self._names.index(self._on)
        return self._rows.order[0] if self._rows is not None and self._rows.order else -1

    def _chosen(self) -> str:
        at = self._at()
        return self._names[at] if 0 <= at < len(self._names) else ""

    def move(self, dx: int, dy: int) -> None:
        if self._rows is None:
            return
        if dx:
            self._column = self._rows.beside(self._column, dx)
        if dy:
            at = self._rows.moved(self._at(), dy)
            self._on = self._names[at] if at < len(self._names) else ""
        self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if self._rows is not None and 0 <= index < len(self._rows.order):
            self._on = self._names[self._rows.order[index]]
            self.renew()
        return None

    def search(self, text: str, forward: bool = True) -> bool:
        """The next sender whose name holds the text, else what every pane finds."""
        if self._rows is not None and text and self._rows.order:
            names = [self._names[row] for row in self._rows.order]
            at = names.index(self._chosen())
            for distance in range(1, len(names) + 1):
                name = names[(at + (distance if forward else -distance)) % len(names)]
                if text.lower() in name.lower():
                    self._on = name
                    self.renew()
                    return True
        return super().search(text, forward)

    def cursor(self) -> str:
        return write_cursor(self._on, self._column)

    def put_cursor(self, cursor: str) -> None:
        self._on, self._column = read_cursor(cursor)

    def value(self) -> str:
        return "" if self._rows is None else self._rows.value(self._at(), self._column)

    def row(self) -> str:
        return "" if self._rows is None else self._rows.row_text(self._at())

    # Where it leads, and what is done to it

    def _sender(self) -> Site | None:
        """The sender of the row."""
        if self.picture is None:
            return None
        question, name = self.picture.question(Path), self._chosen()
        return question.sender or (_site(name) if name else None)

    def into(self, picture: Picture) -> Question | None:
        """The sender's attention, where it is a head; else the path, position by position."""
        sender, question = self._sender(), picture.question(Path)
        if sender is None:
            return None
        if sender.kind == "head":
            return replace(picture.question(Attention), layer=sender.layers.first, head=sender.index.first)
        if question.sender is None and question.part != "logits":
            return replace(question, sender=sender, at=None, other=None)
        return None

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """The sender."""
        sender = self._sender()
        return () if sender is None else (sender,)

    def narrowed(self, only: str) -> Question:
        question = self._question()
        assert isinstance(question, Path)
        return replace(question, only=only)

    def do_only_senders(self, desk: Desk) -> None:
        question = self._question()
        desk.open_line("narrow", question.only if isinstance(question, Path) else "")

    def _toggle(self, desk: Desk, how: str) -> None:
        question, sender = self._question(), self._sender()
        assert isinstance(question, Path)
        if sender is None or desk.ready is None:
            raise changes.CannotError("There is no path yet: . starts the list.")
        if question.part == "logits":
            raise changes.CannotError("A path to the logits is no edit: z takes the sender away altogether.")
        name, shape = self._chosen(), desk.ready.shape
        where = changes.at(int(name[1:])) if name.startswith("@") else None
        edit = question.edit(f"{how}-path", sender, shape, where)
        desk.change(changes.toggle_edit(desk.session, edit), format_edit(edit))

    def do_path_edit(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Path)
        self._toggle(desk, "patch" if desk.session.source and not question.cut else "cut")

    def do_cut_path(self, desk: Desk) -> None:
        self._toggle(desk, "cut")

    def do_path_here(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Path)
        if question.part == "logits":
            raise changes.CannotError("Logits are those after the last token, whatever is selected.")
        desk.put(replace(question, at=desk.position() if question.at is None else None, other=None))

    def do_path_sort(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Path)
        if question.part == "logits":
            raise changes.CannotError("Paths to the logits have one number, the effect: it sorts them.")
        desk.put(replace(question, by="effect" if question.by == "moves" else "moves"))

    def do_path_layers(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Path)
        desk.put(replace(question, layers=not question.layers, sender=None))

    def do_path_positions(self, desk: Desk) -> None:
        question, sender = self._question(), self._sender()
        assert isinstance(question, Path)
        if question.sender is not None:
            desk.put(replace(question, sender=None))
            return
        if sender is None or question.part == "logits":
            raise changes.CannotError("There is no path whose positions could be listed: . starts the list of senders.")
        desk.put(replace(question, sender=sender, at=None, other=None))


PANE = PathPane


def _site(name: str) -> Site | None:
    """The sender of this name; None for a position's."""
    return None if name.startswith("@") else parse_site(name)
