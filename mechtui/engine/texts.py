"""A session's texts as a model reads them: tokens, the source's partners, the target tokens."""

from __future__ import annotations

from mechtui.engine.errors import SessionError, TextError
from mechtui.engine.model import Model
from mechtui.link.messages import EditProblem
from mechtui.session.alignment import align
from mechtui.session.document import Session, surrogate
from mechtui.session.grammar.words import LineError
from mechtui.session.hook_edits import Ids

SAME_TARGET = "is the answer's own token, so that their difference is always 0: name another token"


class Texts:
    """bos: whether texts begin with BOS. ids: the prompt's. source_ids: the source's, empty without one. references:
    those of each reference text. alignment: of each position of the prompt its partner in the source, -1 without one;
    empty without a source. targets: ids of answer and foil, as far as the session names them. problems: what could not
    be read and is left out.

    Raises SessionError where the prompt cannot be read.
    """

    def __init__(self, model: Model, session: Session, needed: bool = True) -> None:
        """needed: whether the prompt is; without, one that cannot be read has no ids."""
        self.model = model
        self.session = session
        self.problems: list[EditProblem] = []
        self.bos = model.prepends(session.bos)
        self.ids = self._prompt(needed)
        self.source_ids = self._optional(session.source, "source")
        self.references = tuple(ids for text in session.references if (ids := self._optional(text, "references")))
        self.alignment = self._aligned()
        self.targets = self._targets()

    def _prompt(self, needed: bool) -> Ids:
        try:
            return self._encoded(self.session.prompt, "the prompt")
        except SessionError:
            if needed:
                raise
            return ()

    def _encoded(self, text: str, what: str) -> Ids:
        at = surrogate(text)
        if at is not None:
            raise SessionError(f"{what} holds a lone surrogate (U+{ord(text[at]):04X}) at character {at}: remove it")
        try:
            ids = tuple(self.model.encode(text, self.session.bos))
        except TextError as error:
            raise SessionError(f"{what} {error}") from error
        if not ids:
            begin = self.model.ready.bos_token or "a token"
            raise SessionError(f"{what} is empty: type some text (i), or prepend {begin} (b)")
        most = self.model.shape.n_ctx
        if len(ids) > most:
            more = len(ids) - most
            name = self.model.ready.name
            raise SessionError(f"{what} has {len(ids):,} tokens and {name} reads {most:,}: remove {more:,} of them")
        return ids

    def _optional(self, text: str, where: str) -> Ids:
        if not text:
            return ()
        try:
            return self._encoded(text, f"the {where}")
        except SessionError as error:
            self.problems.append(EditProblem(-1, where, str(error)))
            return ()

    def _aligned(self) -> tuple[int, ...]:
        if not self.source_ids:
            return ()
        try:
            return align(self.ids, self.source_ids, self.session.align)
        except LineError as error:
            self.problems.append(EditProblem(-1, "align", f"align: {error}"))
            return align(self.ids, self.source_ids, "auto")

    def _targets(self) -> tuple[int | None, int | None]:
        ids: list[int | None] = []
        for where, text in (("answer", self.session.answer), ("foil", self.session.foil)):
            id = None
            if text:
                try:
                    id = self.model.single(text)
                except ValueError as error:
                    self.problems.append(EditProblem(-1, where, f"{where} {error}"))
            ids.append(id)
        answer, foil = ids
        if answer is not None and answer == foil:
            self.problems.append(EditProblem(-1, "foil", f"the foil {SAME_TARGET}"))
            foil = None
        return answer, foil
