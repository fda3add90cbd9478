"""What a `write` line's file holds: a pane's numbers, text or picture, the screen, a report of all that is open."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from textual.screen import Screen
from textual.theme import Theme

from mechtui.app.board import Board
from mechtui.app.conversation import Conversation
from mechtui.app.errands import Errands
from mechtui.app.line import CommandLine
from mechtui.app.writing import REPORT, SCREEN, Wanted
from mechtui.config import Settings
from mechtui.link.messages import Ready
from mechtui.paint.plain import elsewhere
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.panes.theme import ground, hues
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.views import Question

if TYPE_CHECKING:
    from mechtui.export.report import Report, Shown

# A pane's text and picture are as wide as the pane, and no narrower than this.
WIDTH = 80


class Window(Protocol):
    """What is written of, as far as it matters here: the app."""

    board: Board
    talk: Conversation
    settings: Settings
    line: CommandLine
    errands: Errands

    @property
    def focus(self) -> Focus: ...
    @property
    def session(self) -> Session: ...
    @property
    def ready(self) -> Ready | None: ...
    @property
    def picture(self) -> Picture: ...
    @property
    def up_to_date(self) -> bool: ...
    @property
    def current_theme(self) -> Theme: ...
    @property
    def screen(self) -> Screen[object]: ...
    def export_screenshot(self) -> str: ...
    def call_after_refresh(self, callback: Callable[[], None]) -> bool: ...


def contents(app: Window, wanted: Wanted) -> Callable[[], str | bytes]:
    """What makes the file's content, in whichever thread. A file has all signs, whatever the terminal shows; but the
    screen is as it is. Raises CannotError."""
    if wanted.what == SCREEN:
        return _screen(app, wanted.ending)
    with elsewhere():
        make = _report(app, wanted.ending) if wanted.what == REPORT else _pane(app, wanted.what, wanted.ending)

    def made() -> str | bytes:
        with elsewhere():
            return make()

    return made


def once_all_is_known(app: Window, do: Callable[[], None]) -> None:
    """A report says what each edit does, also where no pane does. Raises CannotError where it can be done at once."""
    if app.session.edits:
        app.errands.once_known(_effects(app), do)
    else:
        do()


def _effects(app: Window) -> Question:
    from mechtui.export.report import EFFECTS

    return app.picture.question(EFFECTS).asked()


def _pane(app: Window, view: str, ending: str) -> Callable[[], str | bytes]:
    pane = app.board.panes.get(view)
    if pane is None:
        raise CannotError(f"There is no pane for {view}")
    if view not in app.board.seen():
        raise CannotError(f"{pane.VIEW.title} is not on the screen: {pane.VIEW.keys} brings it up")
    if ending in (".txt", ".svg"):
        from mechtui.export.picture import as_svg, as_text
        from mechtui.paint.palette import Depth, palette

        place = ground(app.current_theme)
        lines = pane.whole(max(pane.size.width, WIDTH), palette(Depth.TRUE, place, hues(app.current_theme)))
        return partial(as_text, lines) if ending == ".txt" else partial(as_svg, lines, pane.VIEW.title, place)
    report = report_of(app, [pane])
    if not report.shown:
        raise CannotError(f"{pane.VIEW.title} has no numbers yet")
    if ending == ".html":
        from mechtui.export.report_html import view_page

        return partial(view_page, report)
    from mechtui.export.numbers import as_csv, as_run

    return partial(as_csv, report) if ending == ".csv" else partial(as_run, report, ending.removeprefix("."))


def _screen(app: Window, ending: str) -> Callable[[], str]:
    from mechtui.export.picture import without_fonts

    if ending == ".svg":
        return partial(without_fonts, app.export_screenshot())
    strips = app.screen._compositor.render_strips()
    text = "".join("".join(segment.text for segment in strip).rstrip() + "\n" for strip in strips)
    return lambda: text


def _report(app: Window, ending: str) -> Callable[[], str]:
    from mechtui.export import report_html, report_markdown

    report = report_of(app, [app.board.panes[name] for name in app.board.seen()])
    return partial(report_html.page if ending == ".html" else report_markdown.page, report)


def report_of(app: Window, panes: list[Pane]) -> Report:
    """What these panes say. Raises CannotError where that is not of the session as it is."""
    from mechtui.export.report import Report
    from mechtui.export.run_command import run_command

    tokens = app.picture.tokens
    if app.ready is None or tokens is None:
        raise CannotError("There are no numbers yet: the model has not answered")
    if not app.up_to_date:
        raise CannotError("The numbers are of an earlier state of the session: wait until they are live")
    shown = shown_by(panes)
    lines = [each.question.line() for each in shown]
    command = run_command(app.session, lines, app.settings)
    known = app.talk.answers.known(_effects(app))
    effects = known.clean if known is not None else None
    return Report(app.session, app.ready, tokens, tuple(shown), command, app.focus.position, app.talk.checked, effects)


def shown_by(panes: list[Pane]) -> list[Shown]:
    """The questions that panes have answers to, each once, with the words that say how it is shown."""
    from mechtui.export.report import Shown

    found: dict[str, Shown] = {}
    for pane in panes:
        if pane.picture is None:
            continue
        for answered in pane.answers(pane.picture):
            question = answered.question
            own = pane.picture.question(type(question))
            if own.asked() == question:
                question = own
            found.setdefault(answered.question.line(), Shown(question, answered.clean, answered.edited))
    return list(found.values())


def command(app: Window) -> str:
    """The `mechtui run` command for the session as it is, and the views that are open."""
    from mechtui.export.run_command import run_command

    panes = [app.board.panes[name] for name in app.board.seen()]
    return run_command(app.session, [each.question.line() for each in shown_by(panes)], app.settings)


def after_line(app: Window, do: Callable[[], None]) -> None:
    """Close the command line, which would stand in the picture, and do this once the screen is painted without it."""
    app.line.close()
    app.call_after_refresh(do)
