"""What follows `g`: a view's letters, or the end of an action's key that begins with it."""

from __future__ import annotations

from textual.timer import Timer

from mechtui.app.actions import shown
from mechtui.app.window import Window
from mechtui.app.workspaces import panes, title
from mechtui.session.changes import CannotError
from mechtui.views import specs

# Seconds after `g` until the letters that may follow are shown.
UNTIL_CHOICES = 0.5


class Letters:
    """The keys after `g`, until they name something."""

    def __init__(self, app: Window) -> None:
        self._app = app
        self._timer: Timer | None = None
        self._typed = ""

    @property
    def awaited(self) -> bool:
        """Whether the next key is one of them."""
        return self._timer is not None

    def ask(self) -> None:
        """The next key is one. Who knows the letter types on; who does not waits and reads."""
        self._typed = ""
        self._timer = self._app.set_timer(UNTIL_CHOICES, self._say)

    def take(self, key: str) -> None:
        """A key after `g`: go where it leads, wait for more of a view's letters, or say that it leads nowhere."""
        assert self._timer is not None
        self._timer.stop()
        typed = self._typed + key
        if any(letters.startswith(typed) and letters != typed for letters in _views()):
            self._typed = typed
            self._say()
            return
        self._timer = None
        self._app.say("")
        view, action = _views().get(typed), self._app.registry.at(f"g {typed}", self._app.here)
        if typed == "g":
            self._app.do("home")
        elif action is not None:
            self._app.do(action.name)
        elif view is not None:
            try:
                self._app.go(view)
            except CannotError as error:
                self._app.say(str(error), bad=True)
        elif key != "escape":
            named = f"{self._typed}{shown(key)}"
            self._app.say(f"No view has the letter {named}: press g and wait to see the letters.", bad=True)

    def _say(self) -> None:
        """The letters that may follow."""
        actions = self._app.registry.actions
        known = {"g": "first"} | {letters: title(view) for letters, view in _views().items()}
        known |= {key[2:]: each.title for each in actions for key in each.keys if key.startswith("g ")}
        self._app.say("g " + "  ".join(f"{key} {to}" for key, to in known.items() if key.startswith(self._typed)))


def _views() -> dict[str, str]:
    """Letters -> the view that has a pane."""
    return {specs()[view].go: view for view in panes()}
