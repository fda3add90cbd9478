"""The rows around the panes: status and places above, what is said and the footer's keys below."""

from __future__ import annotations

from rich.text import Text

from mechtui.app import status
from mechtui.app.actions import why_not
from mechtui.app.prompt import Prompt
from mechtui.app.window import Window
from mechtui.panes.theme import palette
from mechtui.views import specs
from mechtui.visible import seen

# Columns from which on the head says things in full.
WIDE = 100


class Bars:
    """told: a sentence to begin with."""

    def __init__(self, app: Window, told: str) -> None:
        self._app = app
        self.status = status.OneLine("status")
        self.places = status.OneLine("places")
        self.message = status.Sentence("message")
        self.footer = status.OneLine("footer")
        # What is said now, and whether it is bad news.
        self.said: tuple[str, bool] = (seen(told), False)

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.said = (seen(sentence), bad)
        self.paint_footer()

    def say_too(self, sentence: str, *, bad: bool = False, instead: str = "") -> None:
        """News that nobody asked for takes no other's place but `instead`'s; bad news takes that of good."""
        before, was_bad = self.said
        if instead and seen(instead) in before:
            before = " ".join(before.replace(seen(instead), "").split())
            was_bad = was_bad and bool(before)
        if bad and not was_bad:
            before, was_bad = "", True
        if seen(sentence) not in before:
            self.say(f"{before} {sentence}".lstrip(), bad=was_bad)

    def paint_status(self) -> None:
        app, look = self._app, palette(self._app.app)
        width = app.size.width
        left = status.left(app.talk, app.count(), app.session, look, width < WIDE)
        self.status.put(left, status.right(app.talk, app.older, app.typing, look))
        job = (specs()[app.job].title, app.talk.share(app.job)) if app.job and app.talk.running else None
        places = status.workspaces(app.workspaces, app.arrangement.workspace, look)
        self.places.put(places, status.focus(app.picture, job, app.called(), look, width - places.cell_len))
        app.tick(app.talk.loading is not None or app.talk.pause is not None)

    def paint_footer(self) -> None:
        app, look = self._app, palette(self._app.app)
        sentence, bad = self.said
        self.message.display = bool(sentence)
        if sentence:
            self.message.put(Text(f" {sentence}", look.bad if bad else look.bold))
        if isinstance(app.focused, Prompt):
            self.footer.put(status.typing(app.registry.typing_key("palette"), look))
            return
        actions = app.registry.for_footer(app.here)
        off = frozenset(action.name for action in actions if why_not(action, app))
        self.footer.put(status.footer(actions, app.size.width, look, off))
