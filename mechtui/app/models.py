"""The model picker: what lies on this machine, what was used lately, or an id typed in; and fetching."""

from __future__ import annotations

from collections.abc import Callable

from mechtui.app.line import Field, Rows, Suggestion
from mechtui.app.picker import Picker
from mechtui.app.status import bar
from mechtui.link.messages import ModelFound, Sized, Stage
from mechtui.paint.numbers import memory

KINDS = {"embedded": "in mechtui", "package": "installed package", "cache": "hub cache", "folder": "folder"}


def size(count: int) -> str:
    """Bytes as 548 MB; nothing for what is not known."""
    return memory(count) if count > 0 else ""


def suggestions(found: tuple[ModelFound, ...], recent: tuple[str, ...], typed: str) -> list[Suggestion]:
    """Recent models first, then all that were found, those that hold what was typed; last, the typed text
    itself as a model to load."""
    low = typed.strip().lower()
    names = {model.name: model for model in found}
    order = [*recent, *(name for name in names if name not in recent)]
    rows = []
    for name in order:
        model = names.get(name)
        note = (
            "used lately"
            if model is None
            else "  ".join(filter(None, (KINDS.get(model.kind, model.kind), model.detail)))
        )
        if low in name.lower() or low in note.lower():
            rows.append(Suggestion(name, note, key=size(model.bytes) if model else "", run=name))
    if low and typed.strip() not in order:
        rows.append(Suggestion(typed.strip(), "load this: a hub id, a folder or a .gguf file", run=typed.strip()))
    return rows


class Models(Picker):
    """Dismissed with the model to load, or None."""

    WHAT = TITLE = "model"
    KEYS = "enter loads · ctrl+f fetches from the hub · esc back"
    PLACEHOLDER = "type to choose, or an id: EleutherAI/pythia-70m"

    def __init__(self, now: str, recent: tuple[str, ...], want: Callable[[str, str], None], fetch: str = "") -> None:
        """now: the model that runs. want("ask", "fetch" or "cancel", model) is called: ask is for the size of a
        download. fetch: what the user wants to download."""
        super().__init__()
        self._fetch_first = fetch
        self._now = now
        self._recent = recent
        self._want = want
        self._found: tuple[ModelFound, ...] | None = None
        # A download: its size is asked for, it is offered with that, it is under way.
        self._asked = ""
        self._offered = ""
        self._fetching = ""
        self._said = ""

    def on_mount(self) -> None:
        super().on_mount()
        if self._fetch_first:
            self.ask(self._fetch_first)

    def found(self, models: tuple[ModelFound, ...]) -> None:
        self._found = models
        self._show()

    def progress(self, stage: Stage) -> None:
        """A download's progress."""
        self._said = f"{stage.stage} {bar(stage.fraction, 0.0)} {stage.detail}  (esc cancels)"
        self._show()

    def sized(self, reply: Sized) -> None:
        """How large the download is that was asked about: now it needs a yes."""
        if reply.model == self._asked:
            self._asked, self._offered = "", reply.model
            large = size(reply.bytes) or "of a size that the hub does not say"
            self._said = f"{reply.model} is {large}: enter downloads it, esc does not"
            self._show()

    def said(self, sentence: str) -> None:
        """The download's end."""
        self._asked = self._offered = self._fetching = ""
        self._said = sentence
        self._show()

    def rows(self, typed: str) -> list[Suggestion]:
        return suggestions(self._found or (), self._recent, typed)

    def note(self) -> str:
        if self._said:
            return self._said
        if self._found is None:
            return "looking for models …"
        return f"now {self._now or 'none'}; nothing is downloaded unasked"

    def on_input_changed(self, event: Field.Changed) -> None:
        if event.value.strip() not in (self._asked, self._offered, self._fetching):
            # Another name is another question.
            self._asked = self._offered = ""
            if not self._fetching:
                self._said = ""
        super().on_input_changed(event)

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "ctrl+f":
            name = self.query_one(Field).value.strip() or self._model_here()
            if name and not self._fetching:
                self.ask(name)

    def ask(self, name: str) -> None:
        """Ask how large a model's download is; nothing is downloaded before the answer is agreed to."""
        self.query_one(Field).value = name
        self._asked, self._offered = name, ""
        self._said = f"asking the hub how large {name} is …"
        self._want("ask", name)
        self._show()

    def fetch(self, name: str) -> None:
        """Begin to download a model."""
        self._fetching, self._offered = name, ""
        self._said = f"asking the hub for {name} …"
        self._want("fetch", name)
        self._show()

    def _model_here(self) -> str:
        row = self._under_cursor()
        return row.run if row is not None else ""

    def on_rows_clicked(self, event: Rows.Clicked) -> None:
        """Load the model of this row, as enter does; while there is a download to speak of, only choose it."""
        event.stop()
        self._chosen = event.index
        if self._fetching or self._asked or self._offered:
            self._show()
        else:
            self.dismiss(self._model_here() or None)

    def on_field_special(self, event: Field.Special) -> None:
        event.stop()
        match event.key:
            case "escape" if self._fetching:
                self._want("cancel", self._fetching)
                self.said("stopped; files that had come whole are kept")
            case "escape" if self._asked or self._offered:
                self.said("nothing was downloaded")
            case "escape":
                self.dismiss(None)
            case "enter" if self._offered:
                self.fetch(self._offered)
            case "enter" if self._fetching or self._asked:
                pass  # the note says what is waited for
            case "enter":
                self.dismiss(self._model_here() or None)
            case key:
                self._move(key)
