"""The status line and the footer: one row each, painted only when their words change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from mechtui.app.actions import ALWAYS
from mechtui.app.actions import shown as shown_key
from mechtui.app.conversation import Conversation
from mechtui.app.workspaces import Workspace
from mechtui.link.messages import Ready, Stage
from mechtui.paint.palette import Palette
from mechtui.paint.tokens import cut
from mechtui.panes.boundary import Guarded
from mechtui.panes.kept import Kept
from mechtui.panes.picture import Picture
from mechtui.panes.signs import shown
from mechtui.session.document import Session
from mechtui.views.spec import Action
from mechtui.visible import seen, signs

BAR = 16
# Cells of a session's name from which on it says something.
LEAST_NAME = 6
PARTS = " ▏▎▍▌▋▊▉█"


class OneLine(Guarded, Kept, Widget):
    """A row of text: `put` repaints it only when the text is another."""

    DEFAULT_CSS = "OneLine { height: 1; width: 1fr; }"

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.left = Text()
        self.right = Text()

    def put(self, left: Text, right: Text | None = None) -> None:
        left, right = shown(left), shown(right or Text())
        if (left, right) != (self.left, self.right) or left.spans != self.left.spans or right.spans != self.right.spans:
            self.left, self.right = left, right
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left = self.left.copy()
        room = max(width - cell_len(self.right.plain), 0)
        left.truncate(room, overflow="ellipsis", pad=True)
        left.append_text(self.right)
        left.no_wrap = True
        left.end = ""
        return Strip(list(left.render(self.app.console))).adjust_cell_length(width).apply_style(self.rich_style)


class Sentence(OneLine):
    """A sentence on as many rows as it takes, of which MOST are shown."""

    DEFAULT_CSS = "Sentence { height: auto; }"
    MOST = 3

    def put(self, left: Text, right: Text | None = None) -> None:
        before = len(self._rows(self.size.width))
        super().put(left, right)
        if len(self._rows(self.size.width)) != before:
            self.refresh(layout=True)

    def _rows(self, width: int) -> list[Text]:
        rows = list(self.left.wrap(self.app.console, max(width, 1)))
        if len(rows) > self.MOST:
            rows[self.MOST - 1 :] = [Text(" ").join(rows[self.MOST - 1 :])]
        return rows

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return max(len(self._rows(width)), 1)

    def render_line(self, y: int) -> Strip:
        width, rows = self.size.width, self._rows(self.size.width)
        if y >= len(rows):
            return Strip.blank(width, self.rich_style)
        rows[y].truncate(width, overflow="ellipsis")
        rows[y].end = ""
        return Strip(list(rows[y].render(self.app.console))).adjust_cell_length(width).apply_style(self.rich_style)


def bar(fraction: float | None, seconds: float, cells: int = BAR) -> str:
    """A progress bar; where nobody knows how far it is, a block that wanders with the seconds."""
    if fraction is None:
        at = int(seconds * 4) % (2 * (cells - 3))
        at = min(at, 2 * (cells - 3) - at)
        return "░" * at + "▓▓▓" + "░" * (cells - 3 - at)
    full, rest = divmod(int(max(0.0, min(fraction, 1.0)) * cells * 8), 8)
    return ("█" * full + (PARTS[rest] if full < cells else "")).ljust(cells, "░")[:cells].replace(" ", "░")


def loading(stage: Stage | None, model: str, seconds: float, look: Palette) -> Text:
    """What loading is doing: model, stage, bar, elapsed seconds."""
    text = Text("loading ", look.dim)
    text.append(signs(model) or "the default model", "bold")
    text.append(f"  {signs(stage.stage) if stage else 'starting the model process'} ")
    text.append(bar(stage.fraction if stage else None, seconds), look.accent)
    if stage and stage.fraction is not None:
        text.append(f" {stage.fraction:4.0%}")
    text.append(f"  {seconds:.1f} s", "bold")
    if stage and stage.detail:
        text.append(f"  {signs(stage.detail)}", look.dim)
    return text


def last_part(ready: Ready) -> str:
    """A model's name without the folders before it."""
    return ready.name.rstrip("/").rpartition("/")[2] or ready.name


def about(ready: Ready, tokens: int, bos: str, look: Palette, short: bool = False, linear: bool = False) -> Text:
    """Linear mode, model, device, dtype, weights, BOS, tokens."""
    shape = ready.shape
    text = Text()
    if linear:
        # Other numbers than the model's own are labelled as such.
        text.append("linear ", look.edited + look.bold)
    text.append(signs(last_part(ready)), look.accent + look.bold)
    text.append(f" {shape.n_layers}L×{shape.n_heads}H")
    dtype = ready.dtype.removeprefix("torch.")
    text.append(f"  {signs(ready.device)} ")
    # Half precision gives other numbers and is labelled as such.
    text.append(signs(dtype), look.dim if dtype == "float32" else look.bad)
    text.append(f"  {ready.weights}{'' if short else ' weights'}", look.dim)
    on = bos == "yes" or (bos == "auto" and ready.bos_auto)
    has = bool(ready.bos_token)
    word = f"BOS {signs(ready.bos_token)}" if on and has else "no BOS"
    text.append(f"  {word}{'' if bos == 'auto' else ' (set)'}", "" if on and has else look.dim)
    text.append(f"  {tokens}{'t' if short else ' tokens'}", look.bad if tokens > shape.n_ctx else "")
    return text


def left(talk: Conversation, tokens: int, session: Session, look: Palette, short: bool) -> Text:
    """What runs, or how far loading is."""
    text = Text(" ")
    if talk.loading is not None:
        # The model before it is not the session's any more.
        text.append_text(loading(talk.stage, Path(talk.load_name).name, talk.loading, look))
    elif talk.pause is not None:
        text.append(f"no model process  the next one starts in {ceil(talk.pause)} s", look.bad)
    elif talk.ended:
        text.append(f"no model process  {talk.key('restart')} starts one", look.bad)
    elif talk.ready is None:
        text.append("no model  M chooses one", look.bad)
    elif talk.unsound:
        # Nothing of what is otherwise said here matters as much.
        text.append(last_part(talk.ready), look.accent + look.bold)
        text.append(f"  {talk.unsound}", look.bad)
    else:
        text.append_text(about(talk.ready, tokens, session.bos, look, short, session.linear))
    return text


def right(talk: Conversation, older: bool, typing: bool, look: Palette) -> Text:
    """Live, running, older, failed or not answering; milliseconds of the last run; whether the model is not yet
    compared with Hugging Face's own; the mode."""
    text = Text()
    if talk.silent:
        text.append("✗ no answer ", look.bad)
    elif talk.loading is not None:
        text.append("◌ loading ", look.dim)
    elif talk.pause is not None or talk.ended:
        text.append("✗ down ", look.bad)
    elif talk.ready is None:
        text.append("✗ no model ", look.dim)
    elif talk.running and (talk.overdue or talk.ms is None):
        # What is done before that goes on as live: two words in turn at every key would only flicker.
        text.append("◌ older " if older else "● running ", look.edited if older else look.good)
    elif talk.trouble:
        text.append("✗ failed ", look.bad)
    else:
        text.append("● live ", look.good)
        if talk.ms is not None:
            text.append(f"{talk.ms:.0f} ms ", look.dim)
    if talk.ready is not None and talk.loading is None and talk.pause is None and talk.checked is None:
        text.append("checking ", look.dim)
    text.append(" INSERT " if typing else " NORMAL ", "reverse bold" if typing else "bold")
    return text


def workspaces(all_of_them: Sequence[Workspace], current: int, look: Palette) -> Text:
    """The workspaces by their keys, the current one marked. A click goes there."""
    text = Text(" ")
    for number, workspace in enumerate(all_of_them):
        style = look.accent + look.bold + Style(reverse=number == current)
        click = Style(meta={"@click": f"app.press('{number + 1}')"})
        text.append(f" {number + 1} {seen(workspace.name)} ", (style if number == current else look.dim) + click)
    return text


def focus(
    picture: Picture, job: tuple[str, float | None] | None, called: tuple[str, bool], look: Palette, room: int
) -> Text:
    """The running job with its share, the head and the token that the screen looks at, and the session's name, or that
    of its file, with a dot while it is not saved there. room: cells for all of it; the name takes what is left."""
    text = Text()
    if job is not None:
        name, share = job
        text.append(f"{name} {'' if share is None else f'{share:.0%} '}", look.accent + look.bold)
        text.append("esc ", look.dim)
    if picture.ready is not None:
        layer, head = picture.head()
        text.append(f" L{layer}H{head}", look.bold)
    if picture.tokens is not None and picture.tokens.tokens:
        here = picture.position()
        text.append(f" @{here}", look.dim)
        text.append(f" {cut(picture.token(here), 12)}", look.bold)
    name, saved = called
    dot = "" if saved or not name else " •"
    left = room - cell_len(f"{text.plain}   {dot}")
    shown_name = cut(signs(name), left) if left >= LEAST_NAME else ""
    text.append(f"  {shown_name}{dot} " if shown_name else f"{dot} ", look.dim)
    return text


def footer(actions: Iterable[Action], width: int, look: Palette, off: frozenset[str] = frozenset()) -> Text:
    """As many `key title` pairs as fit; ALWAYS in any case. Those in `off` cannot run now and are dim. A click on
    one does it."""
    actions = list(actions)
    always = [action for action in actions if action.name in ALWAYS]
    text = Text()
    room = width - sum(cell_len(shown_key(a.keys[0])) + len(a.title) + 3 for a in always)
    for action in _fit(actions, always, room):
        click = Style(meta={"@click": f"app.do('{action.name}')"})
        key = look.dim if action.name in off else look.accent + look.bold
        text.append(f" {shown_key(action.keys[0])}", key + click)
        text.append(f" {action.title} ", look.dim + click)
    return text


# What one does in an editor, which no action is for.
TYPING = (("esc", "done"), ("enter", "done"), ("ctrl+j", "new line"))


def typing(command: str, look: Palette) -> Text:
    """The footer while one types: letters are text then. command: the key that opens the command line."""
    text = Text()
    for key, title in (*TYPING, (command, "command")):
        text.append(f" {key}", look.accent + look.bold)
        text.append(f" {title} ", look.dim)
    return text


def _fit(actions: list[Action], always: list[Action], room: int) -> list[Action]:
    chosen: list[Action] = []
    for action in actions:
        cells = cell_len(shown_key(action.keys[0])) + len(action.title) + 3
        if action in always or len(chosen) >= 6 or cells > room:
            continue
        room -= cells
        chosen.append(action)
    return chosen + always
