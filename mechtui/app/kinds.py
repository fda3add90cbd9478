"""What the command line is used for: edits, vectors, targets, searches, the palette, files."""

from __future__ import annotations

import os
from collections.abc import Callable
from heapq import nsmallest
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from mechtui.app import cases_line, palette, sae_line, writing
from mechtui.app.actions import Registry, shown, why_not
from mechtui.app.desk import Desk
from mechtui.app.doing import find
from mechtui.app.edits_line import Completion, Known, complete, complete_edit, complete_question, complete_vector
from mechtui.app.line import Kind, Mistake, Suggestion
from mechtui.app.workspaces import panes
from mechtui.embedded.named import saes
from mechtui.link.messages import SaveVectors
from mechtui.paint.tokens import visible_text
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.document import Edit, Session, Vector
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.saes import unknown
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError, cut
from mechtui.session.hook_edits import EditError
from mechtui.session.paths import PathError, expanded, reason, to_read, to_write, write_private
from mechtui.session.resolve import check_sites
from mechtui.views import Question, check_questions, spec_of

# Names of a folder that are looked through at every letter of a line.
MOST_LISTED = 10_000
EDIT_HINT = "OP SITE [@POSITIONS] [ARGUMENT]   tab completes · enter adds · ↑ earlier lines"
VECTOR_HINT = 'NAME = diff L6.pre "Love" "Hate"   tab completes · enter keeps · esc leaves'
PALETTE_HINT = "an action or a line: zero L9H9 · attention L9H9   ↓ chooses · ↑ earlier lines"


def _rows(text: str, found: list[Completion]) -> list[Suggestion]:
    return [Suggestion(each.word, each.note, line=complete(text, each)) for each in found]


def _line_mistake(error: LineError) -> Mistake:
    return Mistake(error.problem, error.column)


def edit(desk: Desk, known: Callable[[], Known], index: int) -> Kind:
    """index -1: a new edit; else the one that the line takes the place of."""

    def take(text: str, _: str) -> Mistake | None:
        if not text.strip():
            return None
        try:
            parsed = parse_edit(text)
        except LineError as error:
            return _line_mistake(error)
        if (mistake := _impossible(desk, text, parsed)) is not None:
            return mistake
        if index >= 0:
            desk.change(changes.put(desk.session, index, parsed))
            say_where_read(desk, parsed)
        else:
            add_edit(desk, parsed)
        return None

    label = "edit" if index < 0 else f"edit {index + 1}"
    return Kind(label, EDIT_HINT, lambda text: _rows(text, complete_edit(text, known())), take, history="edit")


def _impossible(desk: Desk, text: str, parsed: Edit) -> Mistake | None:
    """Why an edit can be no edit of this session and this model, as far as that is known here."""
    if parsed.vector and desk.session.vector(parsed.vector) is None:
        return Mistake(_no_vector(parsed.vector, desk.session), max(text.find(parsed.vector), 0))
    known = saes(desk.session, "" if desk.ready is None else desk.ready.name)
    if (name := parsed.site.sae) and name not in [sae.name for sae in known]:
        return Mistake(f"{unknown(name, known)}.", max(text.find(name), 0))
    if desk.ready is not None:
        try:
            check_sites(parsed, desk.ready)
        except EditError as error:
            words = [at for word, at in cut(text) if word not in ("#", parsed.op)]
            return Mistake(f"{error}.", words[0] if words else None)
    return None


def add_edit(desk: Desk, parsed: Edit) -> None:
    """Append it, and put the list's cursor on it."""
    desk.change(changes.add(desk.session, parsed))
    desk.look(replace(desk.focus, edit=len(desk.session.edits) - 1))
    say_where_read(desk, parsed)


def say_where_read(desk: Desk, made: Edit) -> None:
    """A vector may act at another place than it was read at, but not without a word."""
    if note := changes.read_elsewhere(desk.session, made):
        desk.say(note)


def _no_vector(name: str, session: Session) -> str:
    names = ", ".join(vector.name for vector in session.vectors)
    return f"There is no vector {name}; " + (f"there are {names}." if names else "v makes one.")


def vector(desk: Desk, known: Callable[[], Known]) -> Kind:
    def take(text: str, _: str) -> Mistake | None:
        if not text.strip():
            return None
        try:
            keep_vector(desk, parse_vector(text))
        except LineError as error:
            return _line_mistake(error)
        return None

    return Kind("vector", VECTOR_HINT, lambda text: _rows(text, complete_vector(text, known())), take, history="vector")


def keep_vector(desk: Desk, parsed: Vector) -> None:
    desk.change(changes.put_vector(desk.session, parsed))
    names = [each.name for each in desk.session.vectors]
    desk.look(replace(desk.focus, vector=names.index(parsed.name)))


def target(desk: Desk) -> Kind:
    """Two fields: answer and foil, as text, in which a leading space counts."""

    def suggest(text: str) -> list[Suggestion]:
        return [Suggestion(visible_text(text), "as the model reads it; · is a space")] if text else []

    def take(answer: str, foil: str) -> Mistake | None:
        if answer and answer == foil:
            return Mistake("The foil is the answer itself, so that their difference is always 0: name another token.")
        desk.aim(answer, foil)
        return None

    hint = "two tokens; most begin with a space: ·Mary   tab to the foil · enter keeps · empty: the two likeliest"
    return Kind("answer", hint, suggest, take, second="foil")


def search(desk: Desk) -> Kind:
    def take(text: str, _: str) -> Mistake | None:
        desk.last_search = text
        find(desk, text, forward=True)
        return None

    hint = "text in this pane; then n the next, N the one before   ↑ earlier searches"
    return Kind("/", hint, lambda text: [], take, history="search")


def narrow(desk: Desk, label: str, hint: str) -> Kind:
    """A text that the pane takes into its line."""

    def take(text: str, _: str) -> Mistake | None:
        desk.put(desk.pane().narrowed(text.strip()))
        return None

    return Kind(label, hint, lambda text: [], take)


def mark(desk: Desk, number: int) -> Kind:
    """index of `of`: the state's number."""

    def take(text: str, _: str) -> Mistake | None:
        desk.mark(text.strip(), number)
        return None

    return Kind("mark", "a name for this state of the history; an empty line takes it away", lambda text: [], take)


def command(desk: Desk, known: Callable[[], Known], registry: Registry, do: Callable[[str], None]) -> Kind:
    """The palette."""

    target = _Target(desk)

    def suggest(text: str) -> list[Suggestion]:
        if writing.is_write(text):
            return writing.suggest(text, desk.here, desk.open_views())
        if sae_line.is_one(text):
            return sae_line.suggest(text, desk.session)
        if palette.is_question(text):
            return [*cases_line.suggest(text), *_rows(text, complete_question(text, known()))]
        if palette.is_line(text):
            return _rows(text, (complete_vector if " = " in text else complete_edit)(text, known()))
        actions = [
            Suggestion(
                match.action.title,
                match.action.explanation,
                key=" ".join(shown(key) for key in match.action.keys),
                run=match.action.name,
                why_not=why_not(match.action, desk),
                sure=not match.action.weighty or palette.named(text, match.action),
            )
            for match in palette.matches(text, registry.actions)
        ]
        if not text.strip():
            return actions
        # The beginning of a line's first word stands behind the actions of that name, before words that only fit.
        named = sum(palette.named(text, registry.by_name[each.run]) for each in actions)
        lines = _rows(text, [*complete_question(text, known()), *complete_edit(text, known())])
        return [*actions[:named], *lines, *actions[named:]]

    def take(text: str, _: str) -> Mistake | None:
        if not text.strip():
            return None
        if writing.is_write(text):
            write(desk, target, text)
            return None
        if sae_line.is_one(text):
            return sae_line.take(desk, text)
        if cases_line.names_cases(text):
            return cases_line.take(desk, text)
        if not palette.is_line(text) and (rows := suggest(text)):
            then = (
                f"↓ chooses {rows[0].text}, and enter then does it" if rows[0].run else f"tab makes it {rows[0].text}"
            )
            return Mistake(f"{text.strip()} names no action: {then}.")
        try:
            parsed = palette.read(text)
        except LineError as error:
            if text.strip() not in panes():
                return _line_mistake(error)
            desk.go(text.strip())  # a name alone calls its view, also where it is no whole question
            return None
        match parsed:
            case Edit():
                if (mistake := _impossible(desk, text, parsed)) is not None:
                    return mistake
                add_edit(desk, parsed)
            case Vector():
                keep_vector(desk, parsed)
            case _:
                if "@-1" in text.split():
                    desk.look(replace(desk.focus, position=-1))
                look_at(desk, parsed)
        return None

    return Kind(":", PALETTE_HINT, suggest, take, do=do, history="command")


def write(desk: Desk, target: _Target, text: str) -> None:
    """A `write` line. Raises CannotError."""
    wanted = writing.parse(text, desk.here)
    target.path(wanted.file)
    if wanted.what == writing.SCREEN:
        desk.photograph(lambda: _write(desk, target, wanted))
    elif wanted.what == writing.REPORT:
        desk.once_all_is_known(lambda: _write(desk, target, wanted))
    else:
        _write(desk, target, wanted)


def _write(desk: Desk, target: _Target, wanted: writing.Wanted) -> None:
    content = desk.contents(wanted)
    path = target.path(wanted.file)

    def written(_: None) -> None:
        desk.own.add(path)
        desk.say(writing.said(wanted))

    desk.make(lambda: write_to(path, wanted.file, content()), written)


def write_to(path: Path, name: str, content: str | bytes) -> None:
    """name: what the user calls the file. Raises CannotError."""
    try:
        write_private(path, content)
    except OSError as error:
        raise CannotError(f"{name} cannot be written: {reason(error)}") from error


def look_at(desk: Desk, question: Question) -> None:
    """Go to the pane that answers a question, and look there at what it asks about. A position of -1 says only that
    none is named: the token that is looked at stays. Raises CannotError."""
    pane = str(question.__struct_config__.tag)
    if pane not in panes():
        raise CannotError(f"There is no pane for {pane}; mechtui run --view {question.line()!r} answers it.")
    layer, head = getattr(question, "layer", None), getattr(question, "head", None)
    if isinstance(layer, int) and isinstance(head, int):
        ready = desk.ready
        if ready and not (layer < ready.shape.n_layers and head < ready.shape.n_heads):
            there = f"its layers are 0 to {ready.shape.n_layers - 1}, its heads 0 to {ready.shape.n_heads - 1}"
            raise CannotError(f"{ready.name} has no L{layer}H{head}: {there}.")
        desk.look(replace(desk.focus, layer=layer, head=head))
    position = getattr(question, "position", None)
    if isinstance(position, int) and position != -1:
        if desk.count() and not -desk.count() <= position < desk.count():
            raise CannotError(f"There is no position {position}: the prompt has {desk.count()} tokens.")
        desk.look(replace(desk.focus, position=position))
    desk.go(pane)
    desk.put(question)
    if question.costly and spec_of(question).renews:
        # One that takes long says first what it takes, and begins with its own key.
        desk.start(pane)


class _Target:
    """Where a line writes to. A file that is there, and is not this session's own, is written over after a second
    enter."""

    def __init__(self, desk: Desk, endings: tuple[str, ...] = ("",)) -> None:
        self._desk = desk
        self._endings = endings
        self._asked = ""

    def path(self, name: str) -> Path:
        """Raises CannotError."""
        if not name.endswith(self._endings):
            raise CannotError(f"{name or 'nothing'} should end in {' or '.join(self._endings)}")
        try:
            path = to_write(name)
        except PathError as error:
            raise CannotError(str(error)) from error
        if path.exists() and path not in self._desk.own and self._asked != name:
            self._asked = name
            raise CannotError(f"{name} is there already; enter writes over it, esc does not")
        return path

    def write(self, name: str, content: str | bytes) -> Path:
        """Where it was written. Raises CannotError."""
        path = self.path(name)
        write_to(path, name, content)
        self._desk.own.add(path)
        return path


def save(desk: Desk) -> Kind:
    target = _Target(desk)

    def take(text: str, _: str) -> Mistake | None:
        from mechtui.session.rewriting import text_for
        from mechtui.session.storage import StorageError

        name = text.strip()
        if name and not name.endswith(".toml") and not os.path.lexists(name):
            name += ".toml"  # under this ending it is offered where one is opened
        try:
            # Where it lies the file itself says best: no path of this machine that nobody wrote goes into it.
            content = text_for(replace(desk.document(), file=""), target.path(name))
        except StorageError as error:
            return Mistake(str(error))
        desk.saved(target.write(name, content))
        desk.say(f"Saved to {name}.")
        return None

    return Kind("save as", "a TOML file; mechtui --session FILE opens it, mechtui run FILE runs it", _files, take)


def program(desk: Desk) -> Kind:
    target = _Target(desk, (".py", ".ipynb"))

    def take(text: str, _: str) -> Mistake | None:
        from mechtui.export.file import written
        from mechtui.export.program import ExportError

        name = text.strip()
        target.path(name)
        try:
            content = written(desk.program(), name)
        except ExportError as error:
            raise CannotError(f"{error}.") from error
        target.write(name, content)
        desk.say(f"Wrote {name}; it runs where transformer-lens is installed, and fails where a number is another.")
        return None

    what = "a .py or .ipynb file: what the screen shows, computed again in TransformerLens and compared"
    return Kind("program", what, lambda text: [], take)


def load(desk: Desk) -> Kind:
    def take(text: str, _: str) -> Mistake | None:
        from mechtui.session.storage import StorageError
        from mechtui.session.storage import load as read

        name = text.strip()
        try:
            session = read(name)
            check_questions(session.views)
        except LineError as error:
            return Mistake(f"{error.problem}: {error.line}")
        except StorageError as error:
            return Mistake(str(error))
        desk.open(session, to_write(name))
        desk.say(f"Opened {name}; R goes back to the session before.")
        return None

    return Kind("open", "a session file (TOML)", _files, take)


def rename(desk: Desk) -> Kind:
    def take(text: str, _: str) -> Mistake | None:
        desk.rename(text)
        return None

    hint = "letters, digits, - _ and .   R and mechtui sessions list it under this name"
    return Kind("name", hint, lambda text: [], take)


def text_file(desk: Desk) -> Kind:
    def take(text: str, _: str) -> Mistake | None:
        try:
            to_read(text.strip())
        except PathError as error:
            return Mistake(f"{error}.")
        desk.put(desk.pane().named(text.strip()))
        return None

    return Kind("text file", "a text, UTF-8; . then reads it", lambda text: _files(text, "", "file"), take)


def _files(text: str, ending: str = ".toml", what: str = "session file") -> list[Suggestion]:
    """Files, and where any ending will do folders too, whose paths begin so; of a folder with more than MOST_LISTED
    names, among that many of them, and a row that says so."""
    try:
        path = expanded(text or ".")
        folder, begins = (path, "") if text.endswith("/") else (path.parent, path.name)
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_LISTED)]
            more = next(entries, None) is not None
            fitting = nsmallest(8, (name for name in names if name.endswith(ending) and name.startswith(begins)))
    except (OSError, PathError):
        return []
    found = [str(folder / name) for name in fitting]
    rows = [Suggestion(name, what, line=name) for name in found if name != text]
    said = f"this folder holds more than the {MOST_LISTED:,} names that are looked through; any can be written out"
    return [*rows, Suggestion("…", said)] if more else rows


def vectors_file(desk: Desk) -> Kind:
    target = _Target(desk, (".safetensors",))

    def take(text: str, _: str) -> Mistake | None:
        path = target.path(text.strip())
        desk.send(SaveVectors(desk.session, str(path)))
        return None

    hint = "a safetensors file; NAME = file FILE.safetensors#NAME reads it"
    return Kind("save vectors as", hint, lambda text: [], take)


def start_text(kind: str, desk: Desk, text: str) -> tuple[str, str]:
    """What stands in the line's two fields when it opens."""
    match kind:
        case "target":
            return desk.session.answer, desk.session.foil
        case "rename":
            return desk.session_name, ""
        case "save" if desk.file is not None:
            here = desk.file.parent == Path.cwd()
            return desk.file.name if here else str(desk.file), ""
        case _:
            return text, ""


def of(
    kind: str, desk: Desk, known: Callable[[], Known], registry: Registry, do: Callable[[str], None], index: int
) -> Kind:
    """The use of the line by its name in `Desk.open_line`; index: the edit that is being changed, or -1; the
    state that gets a mark."""
    match kind:
        case "edit":
            return edit(desk, known, index)
        case "vector":
            return vector(desk, known)
        case "target":
            return target(desk)
        case "search":
            return search(desk)
        case "mark":
            return mark(desk, index)
        case "text_file":
            return text_file(desk)
        case "narrow":
            return narrow(desk, "only", "words that a row must have; an empty line lists all")
        case "word":
            return narrow(desk, "word", "a token to ask about, its blank included; an empty line: the prompt's")
        case "save":
            return save(desk)
        case "program":
            return program(desk)
        case "open":
            return load(desk)
        case "rename":
            return rename(desk)
        case "save_vectors":
            return vectors_file(desk)
        case _:
            return command(desk, known, registry, do)
