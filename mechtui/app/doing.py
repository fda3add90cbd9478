"""What each of the program's actions does, by name. `mechtui.app.actions` holds their keys and words."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from mechtui.app.desk import Desk
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.views import cost_of, specs, state
from mechtui.views.spec import Cost

Do = Callable[[Desk], None]
DO: dict[str, Do] = {}


def does(name: str) -> Callable[[Do], Do]:
    def keep(do: Do) -> Do:
        DO[name] = do
        return do

    return keep


# Writing


DO["prompt"] = lambda desk: desk.write("prompt")
DO["source"] = lambda desk: desk.write("source")
DO["target"] = lambda desk: desk.open_line("target")
DO["palette"] = lambda desk: desk.open_line("palette")
DO["leave"] = lambda desk: desk.leave()


@does("edit_line")
def edit_line(desk: Desk) -> None:
    desk.open_line("edit")


@does("vector_line")
def vector_line(desk: Desk) -> None:
    desk.open_line("vector")


# Moving


DO["left"] = lambda desk: desk.pane().move(-1, 0)
DO["right"] = lambda desk: desk.pane().move(1, 0)
DO["up"] = lambda desk: desk.pane().move(0, -1)
DO["down"] = lambda desk: desk.pane().move(0, 1)
DO["home"] = lambda desk: desk.pane().home()
DO["end"] = lambda desk: desk.pane().end()
DO["page_down"] = lambda desk: desk.pane().page(1)
DO["page_up"] = lambda desk: desk.pane().page(-1)
DO["token_back"] = lambda desk: _step_token(desk, -1)
DO["token_next"] = lambda desk: _step_token(desk, 1)
DO["next_pane"] = lambda desk: _step_pane(desk, 1)
DO["last_pane"] = lambda desk: _step_pane(desk, -1)


def _step_token(desk: Desk, by: int) -> None:
    last = max(desk.count() - 1, 0)
    position = min(max(desk.position() + by, 0), last)
    # The last token stays the last one while text is added behind it.
    desk.look(replace(desk.focus, position=-1 if position == last else position))


def _step_pane(desk: Desk, by: int) -> None:
    _step(desk, desk.in_turn(), by)


def _step_view(desk: Desk, by: int) -> None:
    views = desk.sharing()
    if len(views) < 2:
        raise CannotError("No other view shares this place; g and a letter go to any view.")
    _step(desk, views, by)


def _step(desk: Desk, views: tuple[str, ...], by: int) -> None:
    at = views.index(desk.here) if desk.here in views else -by
    desk.go(views[(at + by) % len(views)])


DO["next_view"] = lambda desk: _step_view(desk, 1)
DO["last_view"] = lambda desk: _step_view(desk, -1)
DO["go"] = lambda desk: desk.ask_where()
DO["into"] = lambda desk: desk.into()
DO["back"] = lambda desk: desk.back()


def _workspace(number: int) -> Do:
    return lambda desk: desk.go_to_workspace(number)


DO.update({f"workspace_{number + 1}": _workspace(number) for number in range(9)})
DO["search"] = lambda desk: desk.open_line("search")
DO["search_next"] = lambda desk: find(desk, desk.last_search, forward=True)
DO["search_back"] = lambda desk: find(desk, desk.last_search, forward=False)


def find(desk: Desk, text: str, *, forward: bool) -> None:
    """Go to the next place of `text` in the pane, or say that there is none."""
    if not text:
        raise CannotError("Nothing was searched for yet: / searches.")
    if not desk.pane().search(text, forward):
        raise CannotError(f"{text} is not in this pane.")


# Changing the run


def _edit(desk: Desk, op: str, here: bool = False) -> None:
    position = (desk.focus.position if desk.focus.position < 0 else desk.position()) if here else None
    desk.change(changes.edit_sites(desk.session, op, desk.pane().sites(desk.picture), position))


DO["zero"] = lambda desk: _edit(desk, "zero")
DO["zero_here"] = lambda desk: _edit(desk, "zero", here=True)
DO["mean"] = lambda desk: _edit(desk, "mean")
DO["patch"] = lambda desk: _edit(desk, "patch")
DO["toggle"] = lambda desk: desk.change(changes.toggle(desk.session, desk.focus.edit))
DO["toggle_all"] = lambda desk: desk.change(changes.toggle_all(desk.session))
DO["more"] = lambda desk: _nudge(desk, 1)
DO["less"] = lambda desk: _nudge(desk, -1)


def _nudge(desk: Desk, sign: int) -> None:
    index = desk.focus.edit
    desk.change(changes.nudge(desk.session, index, sign), f"nudge {index}")


@does("move_up")
def move_up(desk: Desk) -> None:
    _shift(desk, -1)


@does("move_down")
def move_down(desk: Desk) -> None:
    _shift(desk, 1)


def _shift(desk: Desk, by: int) -> None:
    desk.change(changes.shift(desk.session, desk.focus.edit, by))
    desk.look(replace(desk.focus, edit=desk.focus.edit + by))


DO["duplicate"] = lambda desk: desk.change(changes.duplicate(desk.session, desk.focus.edit))


DO["delete"] = lambda desk: desk.change(changes.delete(desk.session, desk.focus.edit))
DO["undo"] = lambda desk: desk.undo()
DO["redo"] = lambda desk: desk.redo()


@does("bos")
def bos(desk: Desk) -> None:
    session = changes.next_bos(desk.session)
    desk.change(session)
    what = {"auto": "as this model was trained", "yes": "prepended", "no": "not prepended"}[session.bos]
    desk.say(f"BOS {session.bos}: {what}.")


@does("linear")
def linear(desk: Desk) -> None:
    session = changes.turn_linear(desk.session)
    desk.change(session)
    on = "patterns, norm scales and neurons are held at their clean values, and effects add up"
    desk.say(f"linear: {on}." if session.linear else "linear mode is off.")


DO["save_vectors"] = lambda desk: desk.open_line("save_vectors", "vectors.safetensors")


# Looking


DO["summary"] = lambda desk: desk.put(desk.pane().next())
DO["next_run"] = lambda desk: desk.put(desk.pane().next_run())


@does("start")
def start(desk: Desk) -> None:
    """The job of the view that the keys act on, else that of the workspace."""
    here, workspace = desk.here, desk.workspace
    views = (here, workspace.job, *workspace.views)
    job = next((view for view in views if view and _is_job(desk, view)), "")
    if not job:
        raise CannotError(f"Nothing in {workspace.name} has to be started: g and a letter go to another view.")
    desk.pane(job).start(desk)


def _is_job(desk: Desk, view: str) -> bool:
    return cost_of(state(desk.session.views, specs()[view].question)) is Cost.JOB


@does("maximise")
def maximise(desk: Desk) -> None:
    arrangement = desk.arrangement
    desk.lay_out(replace(arrangement, maximised="" if arrangement.maximised else desk.here))


DO["wider"] = lambda desk: _widen(desk, 4)
DO["narrower"] = lambda desk: _widen(desk, -4)


def _widen(desk: Desk, by: int) -> None:
    desk.lay_out(replace(desk.arrangement, wider=max(-40, min(desk.arrangement.wider + by, 40))))


# The program


DO["help"] = lambda desk: desk.open_help()
DO["models"] = lambda desk: desk.open_models()
DO["fetch"] = lambda desk: desk.open_models(fetch="gpt2")


@does("copy")
def copy(desk: Desk) -> None:
    desk.copy(desk.pane().value())


@does("copy_row")
def copy_row(desk: Desk) -> None:
    desk.copy(desk.pane().row())


DO["copy_command"] = lambda desk: desk.copy(desk.run_command())
DO["write_file"] = lambda desk: desk.open_line("palette", f"write {desk.here}.csv")
DO["report"] = lambda desk: desk.open_line("palette", "write report report.html")
DO["save"] = lambda desk: desk.open_line("save", "session.toml")
DO["program"] = lambda desk: desk.open_line("program", "session.py")
DO["open"] = lambda desk: desk.open_line("open", "session.toml")
DO["sessions"] = lambda desk: desk.open_sessions()
DO["rename"] = lambda desk: desk.open_line("rename")
DO["theme"] = lambda desk: desk.next_theme()
DO["restart"] = lambda desk: desk.restart()
DO["redraw"] = lambda desk: desk.redraw()
DO["suspend"] = lambda desk: desk.suspend_to_shell()
DO["quit"] = lambda desk: desk.quit()
