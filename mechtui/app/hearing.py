"""What the model process says, as it is taken in: answers, models that come or do not, targets that it refuses."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from mechtui.app import going_on, opening
from mechtui.app.conversation import TARGET, News
from mechtui.app.line import Mistake
from mechtui.app.window import Window
from mechtui.link.client import Life
from mechtui.link.messages import Cancel, Fetch, Models, Reply, Saved
from mechtui.session.document import Session
from mechtui.views import for_model, specs

# Answers to one change follow each other closely: painting them one by one would take the model's time.
TOGETHER = 0.012


class Hearing:
    """Takes replies in; those that come together are shown together."""

    def __init__(self, app: Window) -> None:
        self._app = app
        self._news = News.NOTHING
        self._choice = ""  # a model that was chosen: it is the session's once it is there
        self._opened = False  # a session with another model was opened, which is not there yet
        self._aimed: Session | None = None  # the session with a target that the model has not judged yet

    @property
    def settled(self) -> bool:
        """Whether all that was heard is shown."""
        return self._news == News.NOTHING

    def hear(self, reply: Reply | Life) -> None:
        app = self._app
        first = self._news == News.NOTHING
        if isinstance(reply, Saved):
            app.own.add(Path(reply.path))
        try:
            self._news |= app.talk.hear(reply)
        except Exception as error:  # noqa: BLE001 - the link lives on, whatever one reply does
            app.went_wrong(error)
        if self._news and not app.talk.running:
            app.call_later(self._hear_out)  # nothing more is to come
        elif first and self._news:
            app.set_timer(TOGETHER, self._hear_out)

    def _hear_out(self) -> None:
        app = self._app
        news, self._news = self._news, News.NOTHING
        if news == News.NOTHING:
            return
        if app.job and not specs()[app.job].renews and not app.talk.running:
            app.end_job()
        if not app.talk.running:
            app.keep_sweeps()
        if News.NOT_LOADED in news:
            self._model_is_not_here()
        if News.MODEL in news:
            self._model_is_here()
            if (earlier := app.talk.take_earlier()) is not None:
                said = app.said
                going_on.go_on(app, earlier)
                app.say(said[0], bad=said[1])  # a change takes it away
        told = app.talk.hear_out()
        for sentence, is_bad, instead in told:
            app.say_too(sentence, bad=is_bad, instead=instead)
        if News.PICTURES in news:
            # New tokens may move the last position, so that other questions are due.
            app.repaint()
        else:
            app.paint_status()
        if news & (News.MODELS | News.FETCH):
            self._tell_picker(news, told[-1].sentence if told else "")
        app.errands.heard()
        if News.JUDGED in news and self._aimed is not None:
            self._judge_target()

    # The target

    def aim(self, answer: str, foil: str) -> None:
        """Make these the target, until the model has judged it."""
        before = self._app.session
        self._app.change(replace(before, answer=answer, foil=foil))
        self._aimed = self._app.session if self._app.session != before else None

    def _judge_target(self) -> None:
        """Whether the model takes the target that was just named: if not, that from before is back, and the line is
        open with what was written."""
        app = self._app
        if self._aimed != app.session:
            self._aimed = None  # something else was done since
        if self._aimed is None or app.talk.judged != self._aimed:
            return
        aimed, self._aimed = self._aimed, None
        refused = next((each for each in app.talk.answers.problems if each.where in TARGET), None)
        if refused is None or app.typing or len(app.screen_stack) > 1:
            return
        app.undo()
        app.open_line("target")
        app.line.put(aimed.answer, aimed.foil, Mistake(refused.sentence), second_is_wrong=refused.where == "foil")

    # Models

    def follow(self, session: Session, other: bool) -> None:
        """Load the model of a session that is shown now. other: whether it is another than that of the one before."""
        if other:
            self._choice = ""
        if not self._choice and session.model not in self._app.talk.called:
            self._app.load(session.model)

    def opened(self, session: Session) -> None:
        """A session was opened, whose model may be another."""
        self._opened = session.model not in self._app.talk.called

    def open_models(self, fetch: str = "") -> None:
        from mechtui.app import recent
        from mechtui.app.models import Models as Picker

        app = self._app

        def want(what: str, model: str) -> None:
            app.talk.offer = None
            app.talk.send(Cancel("fetch") if what == "cancel" else Fetch(model, ask=what == "ask"))

        def chosen(model: str | None) -> None:
            if model is not None and not (app.ready and app.ready.name == model == app.session.model):
                self._choice = model
                app.load(model)

        picker = Picker(app.ready.name if app.ready else "", recent.MODELS.read(), want, fetch)
        app.push_screen(picker, chosen)
        if app.talk.models is not None:
            app.call_after_refresh(picker.found, app.talk.models)
        app.talk.send(Models())

    def _model_is_here(self) -> None:
        from mechtui.app import recent

        app, ready = self._app, self._app.ready
        assert ready is not None
        self._opened = False
        if choice := self._choice:
            self._choice = ""
            app.change(for_model(app.session, choice))
        app.look_within(ready.shape.n_layers, ready.shape.n_heads)
        if ready.name and not app.session.model:
            # Another program, or a later one, may have another default.
            app.restore(opening.with_model(app.history.tree, ready.name))
        if ready.name:
            try:
                recent.MODELS.add(ready.name)
            except OSError as error:
                app.app.log(f"the recent models are not kept: {error}")

    def _model_is_not_here(self) -> None:
        """A session names the model that its numbers are of: one that did not come is not chosen, and what was opened
        goes on with the model that runs."""
        app = self._app
        opened, self._opened, self._choice = self._opened, False, ""
        if opened and app.ready is not None and app.session.model == app.talk.load_name:
            app.change(replace(app.session, model=app.ready.name))

    def _tell_picker(self, news: News, said: str) -> None:
        from mechtui.app.models import Models as Picker

        talk, picker = self._app.talk, self._app.screen
        if isinstance(picker, Picker):
            if News.MODELS in news and talk.models is not None:
                picker.found(talk.models)
            if News.FETCH in news:
                if talk.offer is not None:
                    picker.sized(talk.offer)
                elif talk.fetch is not None:
                    picker.progress(talk.fetch)
                else:
                    picker.said(said)
