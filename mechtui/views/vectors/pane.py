"""The session's steering vectors and what they mean."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.paint.heat import Piece
from mechtui.paint.numbers import amount, share, signed
from mechtui.paint.tokens import pad, visible
from mechtui.paint.tokens import width as cells
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, wrap
from mechtui.session import changes
from mechtui.session.document import Session, Token, Vector
from mechtui.session.grammar.vectors import format_vector
from mechtui.views import Question
from mechtui.views.vectors import SPEC, VectorMeaning, Vectors, VectorsAnswer
from mechtui.visible import seen

EMPTY = 'no vector yet: v takes a line, as in love-hate = diff L6.pre "Love" "Hate"'
ROWS = 3


class VectorsPane(Pane):
    VIEW = SPEC
    OF_SESSION = True

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        return (Vectors(),) if picture.session.vectors else ()

    def _meanings(self, picture: Picture) -> dict[str, VectorMeaning]:
        answered = picture.answer(Vectors)
        answer = (answered.clean or answered.edited) if answered else None
        return {each.name: each for each in answer.vectors} if isinstance(answer, VectorsAnswer) else {}

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        vectors = picture.session.vectors
        if not vectors:
            return self.blank(EMPTY, width)
        meanings = self._meanings(picture)
        here = max(0, min(picture.focus.vector, len(vectors) - 1))
        used = {edit.vector for edit in picture.applied() if edit.vector}
        palette = self.palette

        def row(index: int, left: int) -> Line:
            which, part = divmod(index, ROWS)
            vector = vectors[which]
            meaning = meanings.get(vector.name)
            if part == 0:
                name, _, made = format_vector(vector).partition(" = ")
                size = "" if meaning is None or meaning.problem else f" length {amount(meaning.norm)}"
                mark = "*" if name in used else " "
                head = f"{mark}{name}"
                look = palette.selected if which == here else palette.mark if name in used else palette.bold
                room = max(width - cells(head) - cells(size) - 1, 0)
                return line((head, look), " ", (pad(seen(made), room), palette.dim), (size, palette.bold))
            if meaning is None:
                waits = self.waiting(picture)
                if picture.progress is not None and which == len(meanings):
                    waits = f"reading texts {picture.progress:.0%}"
                return line((f"  {waits}" if part == 1 else "", palette.dim))
            if meaning.problem:
                return line((f"  ✗ {seen(meaning.problem)}" if part == 1 else "", palette.bad))
            found, sign = (meaning.raises, "▲ raises") if part == 1 else (meaning.lowers, "▼ lowers")
            return line((f"  {sign} ", palette.dim), *self._tokens(found, width - 11))

        foot = self._foot(picture, vectors[here], meanings.get(vectors[here].name), width)
        foot = foot[: max(height - ROWS, 0)]
        return Page(
            len(vectors) * ROWS,
            row,
            foot=foot,
            cursor=here * ROWS + min(ROWS, height - len(foot)) - 1,
            title=f"{len(vectors)}",
            legend=(("length: L2 norm", palette.dim),),
        )

    def _foot(self, picture: Picture, vector: Vector, meaning: VectorMeaning | None, width: int) -> list[Line]:
        """Of the vector under the cursor: why it is refused, or how long it is beside the stream; where it acts
        elsewhere than it was read."""
        said: list[Piece] = []
        if meaning is not None and meaning.problem:
            said.append((f"✗ {seen(meaning.problem)}", self.palette.bad))
        elif meaning is not None and meaning.residual_norm > 0:
            ratio = meaning.norm / meaning.residual_norm
            where = "its end" if vector.source in ("token", "file") else f"L{meaning.layer}"
            part = share(ratio) if ratio < 1 else amount(ratio)
            said.append((f"length {amount(meaning.norm)}, {part} of the stream's at {where}", self.palette.dim))
        if meaning is not None and meaning.right is not None and meaning.auc is not None:
            tells = f"held out of {meaning.pairs}: {meaning.right:.0%} right, AUC {share(meaning.auc)}"
            said.append((tells, self.palette.dim))
        notes = (changes.read_elsewhere(picture.session, edit) for edit in picture.applied())
        said += [(note, self.palette.mark) for note in notes if note.startswith(f"{vector.name} ")][:1]
        return [line((text, look)) for sentence, look in said for text in wrap(sentence, width)]

    def _tokens(self, found: tuple[tuple[Token, float], ...], room: int) -> list[Piece]:
        pieces: list[Piece] = []
        for token, change in found:
            text, number = visible(token), f" {signed(change).strip()}  "
            room -= cells(text) + len(number)
            if room < 0:
                break
            pieces += [(text, self.palette.bold), (number, self.palette.dim)]
        return pieces

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        return replace(picture.focus, vector=index // ROWS) if index >= 0 else None

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or not (count := len(self.picture.session.vectors)):
            return
        here = max(0, min(self.picture.focus.vector, count - 1))
        self.look(vector=max(0, min(here + dy, count - 1)))

    def rows_at(self, width: int, session: Session) -> int:
        return len(session.vectors) * ROWS

    def do_change_vector(self, desk: Desk) -> None:
        at = desk.focus.vector
        desk.open_line("vector", format_vector(changes.chosen_vector(desk.session, at)), at)

    def do_add_vector(self, desk: Desk) -> None:
        desk.change(changes.add_vector_edit(desk.session, desk.focus.vector))
        desk.look(replace(desk.focus, edit=len(desk.session.edits) - 1))

    def do_delete_vector(self, desk: Desk) -> None:
        desk.change(changes.delete_vector(desk.session, desk.focus.vector))

    def value(self) -> str:
        vectors = self.picture.session.vectors if self.picture else ()
        if self.picture is None or not vectors:
            return ""
        meaning = self._meanings(self.picture).get(
            vectors[max(0, min(self.picture.focus.vector, len(vectors) - 1))].name
        )
        return "" if meaning is None or meaning.problem else f"{meaning.norm:.6g}"

    def row(self) -> str:
        vectors = self.picture.session.vectors if self.picture else ()
        if self.picture is None or not vectors:
            return ""
        name, _, made = format_vector(vectors[max(0, min(self.picture.focus.vector, len(vectors) - 1))]).partition(
            " = "
        )
        return "\t".join((name, made, self.value()))

    def search(self, text: str, forward: bool = True) -> bool:
        if self.picture is None or not text:
            return False
        vectors = self.picture.session.vectors
        for distance in range(1, len(vectors) + 1):
            at = (self.picture.focus.vector + (distance if forward else -distance)) % len(vectors)
            if text.lower() in format_vector(vectors[at]).lower():
                self.look(vector=at)
                return True
        return False


PANE = VectorsPane
