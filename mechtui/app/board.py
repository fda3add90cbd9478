"""The board: all panes and the editors in one container, laid out by `mechtui.app.layout`, and their pictures."""

from __future__ import annotations

import importlib

from msgspec.structs import replace
from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Region, Size
from textual.layout import Layout
from textual.widgets import Static

from mechtui.app.conversation import Conversation
from mechtui.app.layout import AROUND, SMALL, SMALLEST, DeskLayout, Plan, Wish, compact, in_turn, plan
from mechtui.app.prompt import Prompt
from mechtui.app.state import Arrangement, difference
from mechtui.app.workspaces import RAIL, RESULT, TOP, Place, Workspace, built_in, panes
from mechtui.link.messages import Ready
from mechtui.panes.boundary import Guarded
from mechtui.panes.kept import Kept
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.panes.picture import BASE, OVER
from mechtui.session.document import Screen, Scrolled, Session, Site
from mechtui.session.history import Tree
from mechtui.views import Question, cost_of, specs
from mechtui.views.spec import Cost, Follows
from mechtui.views.tokens import TokensAnswer


def pane_class(view: str) -> type[Pane]:
    """The pane of a view, from its folder."""
    kind: type[Pane] = importlib.import_module(f"mechtui.views.{view}.pane").PANE
    return kind


class Label(Kept, Static):
    """What an editor is for."""


class Board(Guarded, Kept, Container):
    """`arrange_for` lays out; `questions` says what the visible panes want; `show` gives them pictures."""

    def __init__(self, session: Session) -> None:
        super().__init__(id="desk")
        self.panes = {name: pane_class(name)(id=name) for name in panes()}
        self.prompt = Prompt("prompt", session.prompt, "type a prompt")
        self.source = Prompt("source", session.source, "the second prompt, that patching takes its values from")
        self.editors = {"prompt": self.prompt, "source": self.source}  # by the session's fields
        self._set_for = dict.fromkeys(("target", "source"), session.prompt)
        self._wish = Wish(Arrangement(), built_in()[0])
        self._planned: tuple[object, Plan] = (None, Plan({}, {}, frozenset()))
        self._session = session
        self._ready: Ready | None = None
        self.writing = ""
        self._plan = DeskLayout(self.where)
        self._tokens: TokensAnswer | None = None
        self._shown: dict[str, Picture] = {}

    def compose(self) -> ComposeResult:
        yield Label(" prompt", id="prompt-label")
        yield self.prompt
        yield Label(" source", id="source-label")
        yield self.source
        columns, rows = SMALLEST
        yield Label(f"mechtui needs a window of at least {columns} columns and {rows} rows.", id=SMALL)
        yield from self.panes.values()

    # Layout

    @property
    def layout(self) -> Layout:
        return self._plan

    def where(self, size: Size) -> dict[str, Region]:
        return self._plan_for(size).regions

    def _plan_for(self, size: Size) -> Plan:
        # A window that was resized is laid out before its panes know their new width.
        wish = self._wish._replace(top_rows=self._top_rows(size.width))
        if self._planned[0] != (size, wish):
            made = plan(size.width, size.height, wish)
            self._planned = (size, wish), made
            for name, pane in self.panes.items():
                pane.set_class(name in made.bare, "bare")
                pane.tabs = tuple(made.tabs.get(name, ()))
        return self._planned[1]

    def _top_rows(self, width: int) -> int:
        return self.panes[TOP].rows_at(width - 2, self._session)

    def arrange_for(
        self, arrangement: Arrangement, workspace: Workspace, session: Session, ready: Ready | None
    ) -> None:
        """Lay out again when something that the plan depends on has changed."""
        self._session = session
        wish = Wish(
            arrangement,
            workspace,
            ready.shape if ready else None,
            self.writing,
            self.editors[self.writing].rows() if self.writing else 1,
            self._top_rows(self.size.width),
            tuple(self.panes[view].rows_at(self.size.width, session) for view in RAIL[1:]),
            len(self._tokens.tokens) if self._tokens is not None else self._wish.tokens,
        )
        if wish != self._wish:
            self._wish = wish
            # A child's wish for layout is what makes the board forget where everything was.
            self.prompt.refresh(layout=True)

    def shows(self, view: str, arrangement: Arrangement, workspace: Workspace) -> bool:
        """Whether a view would have a place if the panes were arranged so."""
        wish = self._wish._replace(arrangement=arrangement, workspace=workspace)
        return not self.size or view in plan(self.size.width, self.size.height, wish).regions

    @property
    def one_place(self) -> bool:
        """Whether there is room for one pane only beside the result."""
        return compact(self.size.width, self.size.height + AROUND)

    def seen(self) -> list[str]:
        """Names of the panes that have a place, in reading order: the ruler, the columns, the rail."""
        regions = self.where(self.size)
        return sorted((name for name in regions if name in self.panes), key=lambda name: _reading(regions[name]))

    def sharing(self, name: str) -> Place:
        """The views that share this pane's place, itself among them."""
        return self._plan_for(self.size).tabs.get(name, (name,))

    def in_turn(self) -> Place:
        """The views that one meets one after the other: those that are seen, where there is room for several."""
        return (TOP, *in_turn(self._wish)) if self.one_place else tuple(self.seen())

    def places(self) -> tuple[Scrolled, ...]:
        """Where the panes that are seen stand, of those that are not where they begin."""
        return tuple(filter(None, (self.panes[name].place() for name in self.seen())))

    def put_places(self, screen: Screen | None) -> None:
        """Have the panes stand there, once they have something to show."""
        for each in screen.places if screen else ():
            if each.view in self.panes:
                self.panes[each.view].put_place(each)

    # Pictures

    def refocus(self, focus: Focus) -> None:
        """Tell the panes where the user looks now; they paint when they are shown."""
        for pane in self.panes.values():
            if pane.picture is not None:
                pane.picture = replace(pane.picture, focus=focus)

    def picture(self, talk: Conversation, tree: Tree, focus: Focus) -> Picture:
        """What is true for all panes."""
        session = tree.step.session
        answered, _ = talk.answers.of("", (BASE,))
        tokens = answered[0].clean if answered else None
        known = tokens if isinstance(tokens, TokensAnswer) else None
        if known is None or self._tokens is None or not known.same(self._tokens):
            self._tokens = known
        over, over_stale = talk.answers.of(OVER.line(), (OVER,)) if session.cases else ((), False)
        return Picture(
            session,
            focus,
            talk.ready,
            self._tokens,
            (),
            talk.answers.problems,
            earlier=self._earlier(session),
            idle=talk.idle,
            sweeps=talk.sweeps,
            tree=tree,
            over=over[0] if over else None,
            over_stale=over_stale and talk.overdue,
            over_refused=talk.refusal(OVER) if session.cases else "",
            unit=self.unit(),
        )

    def unit(self) -> Site | None:
        """What the list of units on the screen stands on, the one that was called last."""
        seen = self.seen() if self.size else []
        in_turn = (*(name for name in self._wish.arrangement.recent if name in seen), *seen)
        return next((unit for name in in_turn if (unit := self.panes[name].unit()) is not None), None)

    def changed(self, before: Session, after: Session) -> None:
        """Remember for which prompt the target and the source were set."""
        another = before.model != after.model
        if another or (before.answer, before.foil) != (after.answer, after.foil):
            self._set_for["target"] = after.prompt
        if another or before.source != after.source:
            self._set_for["source"] = after.prompt

    def opened(self, session: Session) -> None:
        """The target and the source of a session that was opened are of its prompt."""
        self._set_for = dict.fromkeys(self._set_for, session.prompt)

    def _earlier(self, session: Session) -> frozenset[str]:
        there = {"target": session.answer or session.foil, "source": session.source}
        return frozenset(
            name
            for name, prompt in self._set_for.items()
            if there[name] and not (prompt.startswith(session.prompt) or session.prompt.startswith(prompt))
        )

    def _job(self, name: str) -> bool:
        """Whether the pane's job was started."""
        return self._wish.arrangement.job == name

    def _asked(self, name: str, picture: Picture) -> tuple[Question, ...]:
        """What a pane wants answered now."""
        questions = self.panes[name].questions(replace(picture, job=self._job(name)))
        return tuple(question for question in questions if self._job(name) or not question.costly)

    def questions(self, picture: Picture, here: str, besides: tuple[Question, ...] = ()) -> tuple[Question, ...]:
        """Of the visible panes, what the user looks at first: the top, the pane in focus, the result, the rest, what
        is asked besides, and last what costs more runs."""
        seen = self.seen()
        order = dict.fromkeys((*(name for name in (TOP, here, RESULT) if name in seen), *seen))
        job = self._wish.arrangement.job
        if job and not specs()[job].renews:
            order[job] = None  # it goes on while one looks at something else
        of_panes = (question for name in order for question in self._asked(name, picture))
        questions = dict.fromkeys((BASE, *of_panes, *besides))
        if picture.session.cases:
            questions[OVER] = None
        costs = list(Cost)
        return tuple(sorted(questions, key=lambda question: costs.index(cost_of(question))))

    def show(self, talk: Conversation, picture: Picture) -> bool:
        """Give every visible pane its picture, if it is another; whether one of them shows what is older."""
        older = False
        for name in self.seen():
            pane, shown = self.panes[name], self._shown.get(name)
            own = replace(picture, job=self._job(name))
            questions = pane.questions(own)
            # A job that was stopped or has ended is not renewed: what it said of the session as it is stays, and of
            # one with other edits it stays as older.
            due = tuple(each for each in questions if own.job or not each.costly or talk.answers.fresh(each))
            same = shown is not None and _same_texts(shown, picture)
            ended = talk.answers.before(name, questions) if same and not due else ()
            answered, stale = (ended, False) if ended else talk.answers.of(name, due)
            older |= stale
            # Older numbers stay with the session that they are of, until they are called old.
            waits = stale and not talk.overdue and not pane.OF_SESSION
            reasons = (talk.refusal(each) for each in due if isinstance(each, pane.VIEW.question))
            refused = next(filter(None, reasons), "")
            given = replace(
                own,
                session=shown.session if waits and shown is not None else picture.session,
                answered=() if refused else answered,
                stale=bool(ended) or (stale and bool(answered) and not refused and (pane.BY_PLACE or talk.overdue)),
                refused=refused,
                progress=next((share for each in questions if (share := talk.progress.get(each)) is not None), None),
            )
            if shown is None or not given.same(shown):
                self._shown[name] = given
                pane.show(given)
        return older


def _same_texts(before: Picture, now: Picture) -> bool:
    """Whether no more than the edits is another, so that places in the one are places in the other."""
    return difference(before.session, now.session) in (None, Follows.SESSION)


def _reading(region: Region) -> tuple[int, int]:
    """Where a region comes in reading: column by column."""
    return region.x, region.y
