"""What every pane is: it says which questions it wants answered, and paints what it is shown.

A pane keeps no model state of its own. It gets a `Picture`, turns it into a `Page` (rows, painted when they are
looked at), compares that with what it painted before, and refreshes only the rows that differ. It changes
nothing itself: it posts messages that the app's actions turn into a new focus or a new session.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from msgspec.structs import replace
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mechtui.link.messages import Answered
from mechtui.paint.heat import Piece, merge
from mechtui.paint.palette import Palette, of_terminal
from mechtui.paint.tokens import column_name, cut, fitting, visible
from mechtui.paint.tokens import width as cell_len
from mechtui.panes import theme
from mechtui.panes.boundary import Guarded, tell
from mechtui.panes.desk import Desk
from mechtui.panes.kept import Kept
from mechtui.panes.picture import Picture
from mechtui.panes.signs import painted as with_signs
from mechtui.panes.signs import shown
from mechtui.session.changes import CannotError, head_site
from mechtui.session.document import Focus, Scrolled, Session, Site
from mechtui.views import Question, View, specs
from mechtui.visible import seen

Line = list[Segment]
__all__ = ["Focus", "Line", "Page", "Pane", "Picture", "line", "lines_page", "window", "wrap"]

OLDER = " ○ older"
# Rows of a pane that shows everything.
TALL = 100_000
# Rows too many for which a cell more or less may decide.
NEARLY = 4
# What stands before the letters of the views that share a place: the key that comes before them.
LEADS = " │ g"
NO_MODEL = "no model is loaded: M chooses one"
_HEAD = re.compile(r"(?:L(?=\d+H)|(?=\d+\.))(\d+)[H.](\d+)", re.IGNORECASE)


def _no_lines(left: int) -> list[Line]:
    return []


@dataclass(frozen=True)
class Page:
    """What a pane shows at one size: `head` above and `foot` below stay, the rows between them scroll.

    row(index, left), head(left): one painted line, scrolled `left` cells to the right. wide: cells of the
    longest line, 0 when nothing is cut off. full: cells that a list takes with all of its columns. cursor, cursor_x:
    the row, and first and last cell of the column, that must be in sight; `stick` cells at the left never scroll, the
    others by whole columns of `step` cells, of which none is cut. title follows the pane's name, legend goes to the
    lower border.
    """

    rows: int
    row: Callable[[int, int], Line]
    head: Callable[[int], list[Line]] = _no_lines
    head_rows: int = 0
    foot: list[Line] = field(default_factory=list)
    wide: int = 0
    full: int = 0
    cursor: int | None = None
    cursor_x: tuple[int, int] | None = None
    stick: int = 0
    step: int = 1
    title: str = ""
    legend: tuple[Piece, ...] = ()


def lines_page(
    lines: list[Line],
    *,
    foot: list[Line] | None = None,
    full: int = 0,
    cursor: int | None = None,
    title: str = "",
    legend: tuple[Piece, ...] = (),
) -> Page:
    """A page of lines that are few enough to be painted at once."""
    return Page(
        len(lines),
        lambda index, left: lines[index],
        foot=foot or [],
        full=full,
        cursor=cursor,
        title=title,
        legend=legend,
    )


def line(*pieces: Piece | str) -> Line:
    """Pieces (text, or text and style) to one painted line."""
    return merge((piece, Style.null()) if isinstance(piece, str) else piece for piece in pieces)


def wrap(text: str, width: int, most: int | None = None) -> list[str]:
    """Words on lines of at most `width` cells; a longer word is cut into pieces. most: lines, of which the last ends in
    an ellipsis where there would be more."""
    lines = textwrap.wrap(seen(text), max(width, 1)) or [""]
    if most is not None and len(lines) > most:
        lines[most - 1 :] = [cut(" ".join(lines[most - 1 :]), width)]
    return lines


class Pane(Guarded, Kept, ScrollView, can_focus=True, inherit_bindings=False):
    """Base of all panes. `VIEW` is the view that it shows.

    No keys are bound here, ScrollView's neither: the app's registry of actions is the one place for them. A pane
    implements `draw`, and `do_<name>(desk)` for each of its view's own actions; the program's actions call move, home,
    end, page, next, next_run, value, row and search. It has no modes: what it shows is the question line of its view,
    `picture.question(kind)`.
    """

    VIEW: ClassVar[View]
    # Whether it shows the session itself, whatever the model says of it: then it does not wait for numbers.
    OF_SESSION: ClassVar[bool] = False
    # Whether its numbers are matched with the session by their place in a list: then older ones are never shown as new.
    BY_PLACE: ClassVar[bool] = False
    WAITING: ClassVar[str] = "waiting for the model"
    BROKEN: ClassVar[str] = "this cannot be drawn, by a mistake in mechtui; the log says more"

    DEFAULT_CSS = """
    Pane {
        border: round $foreground 30%;
        border-title-align: left;
        border-title-color: $foreground;
        border-subtitle-align: right;
        border-subtitle-color: $foreground 75%;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 0;
        min-height: 1;
    }
    Pane:focus { border: round $accent; border-title-color: $accent; border-title-style: bold; }
    Pane.bare, Pane.bare:focus { border: none; }
    """

    class Look(Message):
        """The user moved the shared focus."""

        def __init__(self, focus: Focus) -> None:
            super().__init__()
            self.focus = focus

    class Act(Message):
        """The user clicked on what stands for an action."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    class Moved(Message):
        """The cursor stands on another unit, which other panes may follow."""

    class Called(Message):
        """The user called a view by its name."""

        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    picture: Picture | None = None
    # Called instead of posting Look, where the one who looks after the focus wants to know at once.
    on_look: Callable[[Focus], None] | None = None

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.tabs: tuple[str, ...] = ()  # the views that share its place
        self._tab_cells: dict[str, tuple[int, int]] = {}
        self.palette: Palette = of_terminal()
        self._page: Page | None = None
        self._anchor: tuple[object, ...] = ()
        self._rest = self._pushed = 0
        # What is on the screen, row by row: as it was painted, and as the screen takes it, once it has asked.
        self._painted: dict[int, tuple[Line, Strip | None]] = {}
        self._place: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._labels: tuple[object, ...] = ()
        self._left_at: Scrolled | None = None  # where it stood when it was left, until it stands there again

    # What a pane says of itself

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """What this pane wants answered while it is on the screen; of those that are costly, only once its job was
        started."""
        return (picture.question(self.VIEW.question).asked(),)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        """The picture at this size."""
        raise NotImplementedError

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        """What a click on row `index` (-1: the head) at cell `x` looks at; None: nothing."""
        return None

    def acts(self, picture: Picture, index: int, x: int) -> str:
        """The action that a click on row `index` at cell `x` asks for, besides looking there; empty: none."""
        return ""

    def rows_at(self, width: int, session: Session) -> int:
        """How many rows it would fill if it were `width` cells wide inside, where the plan asks for it."""
        return 1

    def into(self, picture: Picture) -> Question | None:
        """What the cursor stands on, looked at closer: the line that it leads to; None where it leads nowhere."""
        return None

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """What zero, mean and patch act on: the head that the screen looks at, where nothing else is chosen here."""
        layer, head = picture.head()
        return (head_site(layer, head),)

    def lacks(self, picture: Picture) -> str:
        """What its job cannot do without and is not there, one sentence; empty where it can start."""
        return ""

    def unit(self) -> Site | None:
        """The one that the cursor of a list of units stands on, which other panes follow; None of other panes."""
        return None

    def start(self, desk: Desk) -> None:
        """Begin the view's job. Raises CannotError."""
        desk.go(self.VIEW.name)
        if why := self.lacks(self.picture or desk.picture):
            raise CannotError(why)
        desk.start(self.VIEW.name)

    def cursor(self) -> str:
        """Where its cursor is beside the shared focus, as a word of printable ASCII; empty where that says it all."""
        return ""

    def put_cursor(self, cursor: str) -> None:
        """Take up what `cursor` said. What means nothing, as another version may have said it, is passed over."""

    def place(self) -> Scrolled | None:
        """How far it is scrolled, and its cursor; None where it is as it begins."""
        if self._left_at is not None:
            return self._left_at
        place = Scrolled(self.VIEW.name, int(self.scroll_offset.x), int(self.scroll_offset.y), self.cursor())
        return None if place == Scrolled(self.VIEW.name) else place

    def put_place(self, place: Scrolled) -> None:
        """Stand there, once there is something to show."""
        self._left_at = place
        self._anchor = ()
        self.put_cursor(place.cursor)

    # What the app's actions call

    def show(self, picture: Picture) -> None:
        """Take a new picture and repaint what changed."""
        self.picture = picture
        self.renew()

    def move(self, dx: int, dy: int) -> None:
        """Move this pane's cursor: dx to the right, dy down."""

    def home(self) -> None:
        """To the first."""
        self.move(0, -(10**6))

    def end(self) -> None:
        """To the last."""
        self.move(0, 10**6)

    def page(self, pages: int) -> None:
        """Move by whole pages (-1 up, 1 down)."""
        page = self._page
        fixed = page.head_rows + len(page.foot) if page else 0
        self.move(0, pages * max(self._room().height - fixed - 1, 1))

    def next(self) -> Question:
        """The line of the next thing that it can show: another summary, scale or order."""
        return self._question().next()

    def next_run(self) -> Question:
        """The line that shows the clean run instead of the edited one, their difference, or the edited one again."""
        return self._question().next_run()

    def narrowed(self, only: str) -> Question:
        """The line of the list with those rows only that have these words; of all rows without words."""
        return self._question()

    def named(self, file: str) -> Question:
        """The line that reads this file, of a view that reads one."""
        return self._question()

    def _question(self) -> Question:
        kind = self.VIEW.question
        return kind() if self.picture is None else self.picture.question(kind)

    def value(self) -> str:
        """The value under the cursor, for the clipboard."""
        return ""

    def row(self) -> str:
        """The row under the cursor, for the clipboard: its cells with tabs between them."""
        page = self._page
        if page is None or page.cursor is None or not 0 <= page.cursor < page.rows:
            return ""
        painted = "".join(segment.text for segment in page.row(page.cursor, 0)).strip()
        return re.sub(r"\s{2,}", "\t", painted)

    # What is written of it

    def answers(self, picture: Picture) -> tuple[Answered, ...]:
        """The answers that its numbers come from."""
        return picture.answered

    def whole(self, width: int, palette: Palette) -> list[Line]:
        """All that it shows as lines, none of them out of sight: its title, its rows, its legend. width: cells, more
        where that is not enough."""
        if self.picture is None:
            return []
        before, self.palette = self.palette, palette
        try:
            page = self.draw(self.picture, width, TALL)
            for _ in range(3):  # what has more room may show more
                if (needs := max(page.wide, page.full)) > width:
                    page = self.draw(self.picture, width := needs, TALL)
        finally:
            self.palette = before
        rows = [page.row(index, 0) for index in range(page.rows)]
        head = page.head(0) if page.head_rows else []
        title = line((f"{self._called()} {page.title}".rstrip(), palette.bold))
        lines = [title, *head, *rows, *page.foot, *([line(*page.legend)] if page.legend else [])]
        # Drawing remembers what it drew: back to what is on the screen.
        self.renew()
        return [with_signs(each) for each in lines]

    def search(self, text: str, forward: bool = True) -> bool:
        """Look at the head that `text` names (L9H9, 9.9), else at the next token that contains it (without regard
        to case); False when there is neither."""
        picture = self.picture
        if picture is None or not text:
            return False
        if picture.ready is not None and (named := _HEAD.fullmatch(text.strip())):
            layer, head = int(named[1]), int(named[2])
            if layer < picture.ready.shape.n_layers and head < picture.ready.shape.n_heads:
                self.look(layer=layer, head=head)
                return True
        if picture.tokens is None:
            return False
        tokens, here = picture.tokens.tokens, picture.position()
        step = 1 if forward else -1
        for distance in range(1, len(tokens) + 1):
            at = (here + step * distance) % len(tokens)
            if text.lower() in tokens[at].text.lower() or text.lower() in visible(tokens[at]).lower():
                self.look(position=at)
                return True
        return False

    def look(self, **changes: int) -> None:
        """Ask for a new focus."""
        self._left_at = None
        if self.picture is not None:
            focus = replace(self.picture.focus, **changes)
            if focus == self.picture.focus:
                return
            # The next key counts from here, however late the message arrives.
            self.picture = replace(self.picture, focus=focus)
            if self.on_look is not None:
                self.on_look(focus)
            else:
                self.post_message(self.Look(focus))

    # Painting

    def waiting(self, picture: Picture) -> str:
        """What it says as long as there are no numbers."""
        return NO_MODEL if picture.idle else self.WAITING

    def blank(self, sentence: str, width: int, title: str = "") -> Page:
        """A page that says why there is nothing."""
        return lines_page([line((text, self.palette.dim)) for text in wrap(sentence, width)], title=title)

    def refusal(self, sentence: str, width: int) -> Page:
        """A page that says why its question cannot be answered."""
        return lines_page([line((text, self.palette.bad)) for text in wrap(f"✗ {sentence}", width)])

    def titled(self, picture: Picture, width: int, *texts: str) -> str:
        """The first of the titles that the border has room for beside the pane's name; else the last one."""
        older = cell_len(OLDER) if picture.stale else 0
        # The frame keeps two cells of it at either end; a scroll bar is no part of the border.
        bar = self.scrollbar_size_vertical if self.show_vertical_scrollbar else 0
        return fitting(width + bar - 4 - cell_len(f"{self._called()} ") - older, *texts)

    def _called(self) -> str:
        return self.VIEW.title

    @property
    def first_in_sight(self) -> int:
        """The page's row that stands below its head."""
        return self._place[3]

    def _room(self) -> Size:
        return self.scrollable_content_region.size

    def renew(self) -> None:
        """Make the page anew, keep the cursor in sight, refresh the rows that changed."""
        room = self._room()
        if room.width <= 0 or room.height <= 0:
            return
        page = self._fitted(room)
        self._page = page
        self._label(page)
        # A page that is as large as its room to the cell would keep a scroll bar that it no longer needs.
        spare = (room.width - page.stick) % page.step if page.wide else 0
        wide, rows = page.wide + spare or 1, page.rows + page.head_rows + len(page.foot)
        bar = self.scrollbar_size_vertical if self.show_vertical_scrollbar else 0
        if bar and rows <= room.height and page.wide <= room.width + bar:
            wide = min(wide, room.width)  # the bar goes, and leaves its cells
        size = Size(wide, rows)
        if size != self.virtual_size:
            self.virtual_size = size
        self._follow(page, room)
        place = self._now()
        if place != self._place:
            self._place = place
            self._painted.clear()
            self.refresh()
            return
        for y, (painted, _) in list(self._painted.items()):
            now = self._line_at(y)
            if now != painted:
                self._painted[y] = now, None
                self.refresh(Region(0, y, room.width, 1))

    def _fitted(self, room: Size) -> Page:
        """The page for this room. Where it nearly fits, it is the same whether a scroll bar still stands there or not:
        as wide as there is room for, if that needs none, else as wide as beside one."""

        def over(page: Page) -> int:
            return page.rows + page.head_rows + len(page.foot) - room.height

        bar = self.styles.scrollbar_size_vertical
        full = room.width + (bar if self.show_vertical_scrollbar else 0)
        page = self._page_at(room.width, room.height)
        if over(page) > NEARLY or (room.width == full and over(page) <= 0):
            return page
        page = self._page_at(full, room.height)
        return page if over(page) <= 0 else self._page_at(full - bar, room.height)

    def _page_at(self, width: int, height: int) -> Page:
        """The page at a size. What it was made for last is what clicks and keys act on."""
        if self.picture is None:
            return self.blank(self.WAITING, width)
        if self.picture.idle and not self.picture.answered and not self.OF_SESSION:
            return self.blank(self.waiting(self.picture), width)
        if self.picture.refused and not self.OF_SESSION:
            return self.refusal(self.picture.refused, width)
        try:
            return self.draw(self.picture, width, height)
        except Exception as error:  # noqa: BLE001 - the other panes can still be drawn
            tell(self, error)
            return self.blank(self.BROKEN, width)

    def _now(self) -> tuple[int, int, int, int]:
        room, offset = self._room(), self.scroll_offset
        step = self._page.step if self._page is not None else 1
        return room.width, room.height, offset.x // step * step, offset.y

    def _label(self, page: Page) -> None:
        stale = self.picture is not None and self.picture.stale
        labels = (page.title, page.legend, stale, self.tabs, self.size.width)
        if labels == self._labels:
            return
        self._labels = labels
        title = Text(self._called())
        if page.title:
            title.append(f" {page.title}")
        if stale:
            title.append(OLDER)
            title.stylize(self.palette.dim)
        self._add_tabs(title)
        self.border_title = shown(title)
        legend = Text()
        for text, style in page.legend:
            legend.append(text, style)
        self.border_subtitle = shown(legend) if page.legend else ""

    def _add_tabs(self, title: Text) -> None:
        """The views that share the place, behind the title: by their names; where these have no room all of them by
        their letters, with as much of the names as fits, the title cut at its end where even these have no room."""
        self._tab_cells = {}
        others = [view for view in self.tabs if view != self.VIEW.name]
        if not others:
            return
        # The frame begins with its corner, a line and a blank, and ends as it begins.
        first, end = 3, self.outer_size.width - 3
        names = [specs()[view].title for view in others]
        letters = [specs()[view].go for view in others]
        whole = [f" │ {name}" for name in names]
        cut_ = [
            [
                _called_by(letter, column_name(name, most, right=False).rstrip())
                for letter, name in zip(letters, names, strict=True)
            ]
            for most in range(max(map(cell_len, names), default=0), 2, -1)
        ]
        ways = [whole, *cut_, [f" {letter}" for letter in letters]]
        room = end - first - title.cell_len
        fits = next((way for way in ways if sum(map(cell_len, way)) + len(LEADS) <= room), ways[-1])
        # What has no room beside the letters is cut at its end, but for the pane's name.
        most = max(end - first - len(LEADS) - sum(map(cell_len, fits)), cell_len(self._called()))
        if title.cell_len > most:
            title.truncate(most, overflow="ellipsis")
        if fits is not whole:
            title.append(LEADS, self.palette.dim)
        at = first + title.cell_len
        for view, text, letter in zip(others, fits, letters, strict=True):
            if at + cell_len(text) > end:
                break
            lead = 3 if fits is whole else 1
            title.append(text[:lead], self.palette.dim)
            rest = text[lead:]
            if fits is not whole:
                title.append(rest[: len(letter)], self.palette.accent)
                rest = rest[len(letter) :]
            title.append(rest, self.palette.dim)
            self._tab_cells[view] = at + lead, at + cell_len(text)
            at += cell_len(text)

    def _follow(self, page: Page, room: Size) -> None:
        at = (page.cursor, page.cursor_x, room, page.step)
        anchor = (at, page.head_rows, len(page.foot), page.rows)
        if anchor == self._anchor:
            return
        x, y = self.scroll_offset
        moved = self._anchor[:1] != (at,)
        if self._left_at is not None and page.cursor is not None:
            x, y = self._left_at.left, self._left_at.top
            self._rest, moved = y, False
            # Its scroll bars come a moment later than the page and take a row: until then it cannot stand there.
            if self.max_scroll_x >= x and self.max_scroll_y >= y:
                self._left_at = None
        elif not moved and y == self._pushed:
            y = self._rest  # where it stood before a longer foot pushed it
        self._anchor = anchor
        if page.cursor is not None:
            seen = max(room.height - page.head_rows - len(page.foot), 1)
            y = max(min(y, page.cursor), page.cursor - seen + 1)
        self._pushed = y
        if moved:
            self._rest = y
        if page.cursor_x is not None:
            first, last = page.cursor_x
            cells = (room.width - page.stick) // page.step * page.step
            x = max(min(x // page.step * page.step, first - page.stick), last - page.stick - cells + 1, 0)
        if (x, y) != tuple(self.scroll_offset):
            self.scroll_to(x, y, animate=False, force=True)

    def _line_at(self, y: int) -> Line:
        """What stands in row y of the room, at the place that was painted last."""
        try:
            return self._row_at(y)
        except Exception as error:  # noqa: BLE001 - the other rows can still be painted
            tell(self, error)
            return []

    def _row_at(self, y: int) -> Line:
        page = self._page
        if page is None:
            return []
        _, height, left, top = self._place
        if y < page.head_rows:
            return page.head(left)[y]
        if y >= height - len(page.foot):
            return page.foot[y - height + len(page.foot)]
        index = y - page.head_rows + top
        return page.row(index, left) if index < page.rows else []

    def render_line(self, y: int) -> Strip:
        place = self._now()
        if place != self._place:
            self._place = place
            self._painted.clear()
        painted, strip = self._painted[y] if y in self._painted else (self._line_at(y), None)
        if strip is None:
            strip = Strip(with_signs(painted)).adjust_cell_length(place[0]).simplify()
            self._painted[y] = painted, strip
        return strip.apply_style(self.look_now)

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._dress)

    def _dress(self) -> None:
        """The styles for the theme that is chosen now."""
        self.palette = theme.palette(self.app)
        self._labels = ()
        self._painted.clear()
        self.renew()
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.renew()

    def watch_show_vertical_scrollbar(self) -> None:
        # The scroll bar takes a column without any resize event.
        self.renew()
        if self.show_vertical_scrollbar:
            # A bar that was not there has not followed.
            self.vertical_scrollbar.position = self.scroll_offset.y

    def on_show(self, event: events.Show) -> None:
        # A hidden pane has no size and paints nothing, so it has missed the pictures since.
        self.renew()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        for view, (first, end) in self._tab_cells.items():
            if event.y == 0 and first <= event.x < end:
                self.post_message(self.Called(view))
        if offset is None or self.picture is None or self._page is None:
            return
        page, scrolled = self._page, self.scroll_offset
        index = -1
        if offset.y >= page.head_rows:
            if offset.y >= self._room().height - len(page.foot):
                return
            index = offset.y - page.head_rows + scrolled.y
            if index >= page.rows:
                return
        focus = self.hit(self.picture, index, offset.x, scrolled.x)
        if focus is not None and focus != self.picture.focus:
            self.post_message(self.Look(focus))
        if action := self.acts(self.picture, index, offset.x):
            self.post_message(self.Act(action))


def _called_by(letter: str, name: str) -> str:
    """A name that begins with the letter that leads to it, or that letter and the name."""
    return f" {name}" if name.lower().startswith(letter) else f" {letter}:{name}"


def window(fixed: Iterable[Piece], pieces: Iterable[Piece], left: int) -> Line:
    """A line whose `pieces` are scrolled `left` cells under the `fixed` ones."""
    scrolled = list(Strip(merge(pieces)).crop(left)) if left else merge(pieces)
    return merge(fixed) + scrolled
