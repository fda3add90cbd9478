"""The registry of actions: every key, its name, its words and what it does.

Key bindings, the footer, help, the palette and docs/keys.md are all read from here. Keys have two layers: those of the
view that the keys act on, then the program's. An action that cannot run just now says why; it never fails silently.
"""

# ruff: noqa: E501 - the registry is a table, and a row of a table is one line

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from mechtui.app.desk import Desk
from mechtui.app.doing import DO
from mechtui.app.workspaces import built_in, panes, title
from mechtui.views import specs
from mechtui.views.spec import Action, Needs

# Every pane's footer ends with these.
ALWAYS = ("prompt", "go", "palette", "help")


def model(desk: Desk) -> str:
    return "" if desk.ready else "This needs a model's layers and heads, and none is loaded yet: M chooses one."


def edits(desk: Desk) -> str:
    return "" if desk.session.edits else "There is no edit yet: z zeroes the head under the cursor, e writes one."


def vectors(desk: Desk) -> str:
    return "" if desk.session.vectors else "There is no steering vector yet: v writes one."


def source(desk: Desk) -> str:
    return model(desk) or ("" if desk.session.source else "There is no source prompt to patch from: I writes one.")


LACKS: dict[Needs, Callable[[Desk], str]] = {
    Needs.NOTHING: lambda desk: "",
    Needs.MODEL: model,
    Needs.SOURCE: source,
    Needs.EDITS: edits,
    Needs.VECTORS: vectors,
}


def layer(action: Action) -> str:
    """Where its keys work: in its view's pane, or, for the empty name, everywhere."""
    return "" if action.group else action.view


def why_not(action: Action, desk: Desk) -> str:
    """Why it cannot run just now; empty where it can."""
    pane = layer(action)
    if pane and pane != desk.here:
        return f"{action.title} belongs to the {title(pane)} pane: press {specs()[pane].keys} first."
    return LACKS[action.needs](desk)


def run_action(action: Action, desk: Desk) -> None:
    """Do it. Raises CannotError with the reason why there is nothing to do."""
    if action.view:
        getattr(desk.pane(action.view), f"do_{action.name}")(desk)
    else:
        DO[action.name](desk)


def _to_workspace(number: int) -> str:
    names = [each.name for each in built_in()]
    which = names[number - 1] if number <= len(names) else f"{number}"
    return (
        f"Go to workspace {which}."
        if number <= len(names)
        else f"Go to workspace {which}, where the settings have one."
    )


PROGRAM: tuple[Action, ...] = (
    # Writing
    Action("prompt", ("i",), "type", "Type the prompt; every keystroke runs the model again.", "Write"),
    Action("source", ("I", "o"), "source", "Write the source prompt, which patching takes its values from.", "Write"),
    Action("target", ("a",), "answer", "Name the two tokens whose logit difference is explained: answer and foil.", "Write"),
    Action("edit_line", ("e",), "edit", "Write an edit as a line, with completion: zero L9H9 @-1, scale L3.mlp x0.5.", "Write"),
    Action("vector_line", ("v",), "vector", "Write a steering vector as a line: love-hate = diff L6.pre \"Love\" \"Hate\".", "Write"),
    Action("palette", ("colon", "ctrl+p"), "command", "Find any action by its words, or type an edit, vector or question line.", "Write", typing=True),
    Action("leave", ("escape",), "back", "Leave what you are in; the running generation, fetch or load is stopped last.", "Write", typing=True),
    # Moving
    Action("left", ("h", "left"), "left", "Move left in the pane.", "Move"),
    Action("down", ("j", "down"), "down", "Move down in the pane.", "Move"),
    Action("up", ("k", "up"), "up", "Move up in the pane.", "Move"),
    Action("right", ("l", "right"), "right", "Move right in the pane.", "Move"),
    Action("go", ("g",), "go to", "Go to a view by its letter, from anywhere; g g goes to the first row or token.", "Move"),
    Action("home", ("home",), "first", "Go to the first row or token of the pane.", "Move"),
    Action("end", ("G", "end"), "last", "Go to the last row or token of the pane.", "Move"),
    Action("page_down", ("ctrl+d", "pagedown"), "page down", "Move down by a page.", "Move"),
    Action("page_up", ("ctrl+u", "pageup"), "page up", "Move up by a page.", "Move"),
    Action("token_back", ("left_square_bracket",), "token back", "Select the token before, from any pane.", "Move"),
    Action("token_next", ("right_square_bracket",), "next token", "Select the token after, from any pane.", "Move"),
    Action("next_pane", ("tab",), "next pane", "Go to the next pane.", "Move"),
    Action("last_pane", ("shift+tab",), "pane back", "Go to the pane before.", "Move"),
    Action("next_view", ("right_curly_bracket",), "next view", "Show the next of the views that share a place.", "Move"),
    Action("last_view", ("left_curly_bracket",), "view before", "Show the view before.", "Move"),
    Action("into", ("enter",), "into", "Look closer at what the cursor stands on: a head's attention, a component's parts.", "Move"),
    Action("back", ("backspace",), "back there", "Go back to where you looked closer.", "Move"),
    *(
        Action(f"workspace_{number}", (str(number),), f"workspace {number}", _to_workspace(number), "Move")
        for number in range(1, 10)
    ),
    Action("search", ("slash",), "search", "Find text in the pane: a token, a head, a line.", "Move"),
    Action("search_next", ("n",), "next match", "Go to the next match of the last search.", "Move"),
    Action("search_back", ("N",), "match before", "Go to the match before.", "Move"),
    # Changing the run
    Action("zero", ("z",), "zero", "Zero the head under the cursor at every position; once more undoes it.", "Change", Needs.MODEL),
    Action("zero_here", ("Z",), "zero here", "Zero the head under the cursor at the selected token only.", "Change", Needs.MODEL),
    Action("mean", ("m",), "mean", "Replace the head's output with its mean over the prompt.", "Change", Needs.MODEL),
    Action("patch", ("p",), "patch", "Replace the head's output with that of the source run.", "Change", Needs.SOURCE),
    Action("toggle", ("space",), "on/off", "Switch the edit under the cursor on or off.", "Change", Needs.EDITS),
    Action("toggle_all", ("O",), "all off/on", "Switch all edits off, or on when all are off.", "Change", Needs.EDITS),
    Action("more", ("plus", "equals_sign"), "more", "Raise the number of the edit under the cursor: factor, coefficient, sd or seed.", "Change", Needs.EDITS),
    Action("less", ("minus",), "less", "Lower the number of the edit under the cursor.", "Change", Needs.EDITS),
    Action("move_up", ("K",), "move up", "Move the edit up; edits apply in the order of the list.", "Change", Needs.EDITS),
    Action("move_down", ("J",), "move down", "Move the edit down.", "Change", Needs.EDITS),
    Action("duplicate", ("D",), "duplicate", "Put a copy of the edit below it, switched off.", "Change", Needs.EDITS),
    Action("delete", ("d", "delete"), "delete", "Delete the edit under the cursor.", "Change", Needs.EDITS, weighty=True),
    Action("undo", ("u",), "undo", "Take back the last change of prompt, edits, vectors or target, or of what a pane shows.", "Change"),
    Action("redo", ("ctrl+r",), "redo", "Bring back what undo took.", "Change"),
    Action("bos", ("b",), "BOS", "Prepend the beginning-of-sequence token: as the model likes, yes, no.", "Change"),
    Action("linear", ("L",), "linear", "Hold patterns, norm scales and neurons at their clean values, so that effects add up; and back.", "Change"),
    Action("save_vectors", ("V",), "save vectors", "Write the steering vectors to a safetensors file.", "Change", Needs.VECTORS, weighty=True),
    # Looking
    Action("start", ("full_stop", "ctrl+g"), "run", "Start the job of the pane or of the workspace: a sweep, a continuation; esc stops it.", "Look", Needs.MODEL, weighty=True),
    Action("summary", ("s",), "what", "Change what the pane shows: its summary, scores or pattern, its order.", "Look"),
    Action("next_run", ("c",), "clean/edited", "Show the clean run in place of the edited one, then edited minus clean, and back.", "Look"),
    Action("maximise", ("f",), "whole window", "Give the pane the whole window, and back.", "Look"),
    Action("wider", ("greater_than_sign",), "wider", "Give the panes on the left more columns.", "Look"),
    Action("narrower", ("less_than_sign",), "narrower", "Give the panes on the right more columns.", "Look"),
    # The rest
    Action("help", ("question_mark", "f1"), "help", "Explain the pane you are in, its keys and its words.", "Program"),
    Action("models", ("M",), "model", "Choose another model; the session stays.", "Program"),
    Action("restart", ("ctrl+t",), "restart", "Start the model process anew: one that died too often, or does not answer.", "Program", typing=True, weighty=True),
    Action("fetch", ("F",), "fetch gpt2", "Download GPT-2 small (548 MB) from the Hugging Face hub, after a yes; esc stops it.", "Program", weighty=True),
    Action("copy", ("y",), "copy", "Copy the value under the cursor.", "Program"),
    Action("copy_row", ("Y",), "copy row", "Copy the row under the cursor, with tabs between its cells.", "Program"),
    Action("copy_command", ("g y",), "copy command", "Copy the mechtui run command that asks all that is open again.", "Program"),
    Action("write_file", ("E",), "write", "Write the pane to a file: CSV, JSON, npz, text, SVG or HTML by its ending.", "Program", weighty=True),
    Action("report", ("P",), "report", "Write a page of all that is open, to be read and printed: HTML or Markdown.", "Program", Needs.MODEL, weighty=True),
    Action("save", ("S",), "save", "Save the session to a file.", "Program", weighty=True),
    Action("open", ("ctrl+o",), "open", "Open a session file.", "Program", weighty=True),
    Action("program", ("W",), "program", "Write what the screen shows as a program or notebook for TransformerLens that proves the numbers.", "Program", Needs.MODEL, weighty=True),
    Action("sessions", ("R",), "sessions", "List the kept sessions, by time, model, prompt and edits; enter goes on with one.", "Program", weighty=True),
    Action("rename", (), "rename", "Give the session another name, under which it is kept and listed.", "Program", weighty=True),
    Action("theme", ("T",), "theme", "Take the next theme.", "Program"),
    Action("redraw", ("ctrl+l",), "redraw", "Paint the whole screen again, where another program has written over it.", "Program", typing=True),
    Action("suspend", ("ctrl+z",), "suspend", "Go back to the shell; fg brings mechtui back.", "Program", weighty=True),
    Action("quit", ("q", "ctrl+q"), "quit", "Quit; the session is kept.", "Program", weighty=True),
)  # fmt: skip

ACTIONS: tuple[Action, ...] = (
    *PROGRAM,
    *(replace(action, view=pane) for pane in panes() for action in specs()[pane].actions),
)

# What keyboards print on a key, where textual's name is a word.
SHOWN = {
    "colon": ":",
    "slash": "/",
    "space": "space",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "greater_than_sign": ">",
    "less_than_sign": "<",
    "question_mark": "?",
    "circumflex_accent": "^",
    "underscore": "_",
    "at": "@",
    "backslash": "\\",
    "escape": "esc",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}
_NAMES = {shown: name for name, shown in SHOWN.items()}


def shown(key: str) -> str:
    """A key as one writes it: `ctrl+p`, `/`, `)`, `esc`."""
    if key in SHOWN:
        return SHOWN[key]
    try:
        # Textual's name of a character that is no letter is Unicode's; so is that of delete, which is no sign.
        sign = unicodedata.lookup(key.replace("_", " "))
    except KeyError:
        return key
    return sign if sign.isprintable() else key


def named(key: str) -> str:
    """A key, as one writes it, by textual's name."""
    if key in _NAMES:
        return _NAMES[key]
    if len(key) == 1 and not key.isalnum():
        return unicodedata.name(key, key).lower().replace("-", "_").replace(" ", "_")
    return key


class KeyClashError(ValueError):
    """The keymap cannot be: one sentence."""


class Registry:
    """The actions with the keys that the settings give them, and where each key leads.

    overrides: action name -> keys, comma-separated, as one writes them (`ctrl+k,/`). actions: the program's and the
    views'. Raises KeyClashError.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None, actions: tuple[Action, ...] = ACTIONS) -> None:
        chosen = {name: _keys(text) for name, text in (overrides or {}).items()}
        names = [action.name for action in actions]
        for name in chosen:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise KeyClashError(f"[keys] names {name}, which is no action{hint}")
        # A key that the settings give to one action is taken from the one that had it; one that they give to an action
        # of the program, also from the views.
        given: dict[str, set[str]] = {}
        for action in actions:
            given.setdefault(layer(action), set()).update(chosen.get(action.name, ()))
        self.actions = tuple(
            replace(
                action,
                keys=chosen[action.name]
                if action.name in chosen
                else tuple(key for key in action.keys if key not in given[layer(action)] | given.get("", set())),
            )
            for action in actions
        )
        self._layers: dict[str, dict[str, Action]] = {}
        for action in self.actions:
            keymap = self._layers.setdefault(layer(action), {})
            for key in action.keys:
                if key in keymap:
                    both = (keymap[key].name, action.name)
                    where = "[keys] gives" if any(name in chosen for name in both) else "the program gives"
                    raise KeyClashError(f"{where} {shown(key)} to both {both[0]} and {both[1]}")
                keymap[key] = action
        self.by_name = {action.name: action for action in self.actions}

    def at(self, key: str, pane: str) -> Action | None:
        """What a key means in a pane. One that means something in another pane only leads to that, which says so."""
        here, everywhere = self._layers.get(pane, {}), self._layers[""]
        elsewhere = (keymap[key] for keymap in self._layers.values() if key in keymap)
        return here.get(key) or everywhere.get(key) or next(elsewhere, None)

    def key(self, name: str) -> str:
        """The key of an action as one writes it; how it is done by its words where it has none."""
        action = self.by_name[name]
        return shown(action.keys[0]) if action.keys else f":{action.title}"

    def typing_key(self, name: str) -> str:
        """The same while one types, when a letter or a sign is text."""
        keys = (key for key in self.by_name[name].keys if "+" in key and key != "+")
        return shown(next(keys, self.by_name[name].keys[0])) if self.by_name[name].keys else ""

    def for_footer(self, pane: str) -> list[Action]:
        """The actions that the footer offers in a pane; those that it always offers come last."""
        own = (name for name in specs()[pane].footer if name not in ALWAYS)
        offered = (self.by_name[name] for name in (*own, *ALWAYS))
        return [action for action in offered if action.keys]

    def for_help(self, pane: str) -> tuple[list[Action], list[Action]]:
        """What one does in a pane, and what one can do there as everywhere; each with the keys that lead to it."""
        names = (*specs()[pane].footer, *ALWAYS)
        own: list[Action] = []
        rest: list[Action] = []
        for action in self.actions:
            keys = tuple(key for key in action.keys if self.at(key, pane) is action and layer(action) in ("", pane))
            if keys:
                (own if action.name in names or layer(action) else rest).append(replace(action, keys=keys))
        return own, rest


def _keys(text: str) -> tuple[str, ...]:
    return tuple(named(key.strip()) for key in text.split(",") if key.strip())


def _table(actions: Iterable[Action]) -> list[str]:
    rows = ["| key | name | what it does |", "|---|---|---|"]
    for action in actions:
        keys = " ".join(f"`{shown(key)}`" for key in action.keys)
        rows.append(f"| {keys} | {action.name} | {action.explanation} |")
    return rows


def _letters() -> list[str]:
    """What may follow `g`, as a table: the views by their letters, then the actions whose keys begin with it."""
    rows = sorted((specs()[view].keys, title(view), f"Go to the view `{view}`.") for view in panes())
    rows += [(key, act.title, act.explanation) for act in ACTIONS for key in act.keys if key.startswith("g ")]
    return [
        "| key | title | what it does |",
        "|---|---|---|",
        *(f"| {' '.join(f'`{key}`' for key in keys.split())} | {to} | {what} |" for keys, to, what in rows),
    ]


def keys_document() -> str:
    """docs/keys.md: the program's keys, grouped as in help, then each view's own."""
    lines = [
        "# Keys",
        "",
        "Letters act only in NORMAL mode; while you type (INSERT, shown at the top right) they are text.",
        "`esc` always backs out. In the prompt `enter` leaves, `ctrl+j` begins a new line.",
        "A view's own keys, listed last, act in its pane, before the program's.",
        "In the model picker (`M`) `enter` loads a model and `ctrl+f` fetches the one that is named from the hub, after",
        "`enter`.",
        'Every key can be changed under `[keys]` in the config file: `name = "key,key"`.',
    ]
    lines += [
        "",
        "## Views by their letters",
        "",
        "From anywhere; `g` `g` goes to the first row or token of the pane.",
        "",
        *_letters(),
    ]
    groups = {action.group for action in ACTIONS if action.group}
    for group in sorted(groups, key=[action.group for action in ACTIONS].index):
        lines += ["", f"## {group}", "", *_table(action for action in ACTIONS if action.group == group)]
    for pane in panes():
        if own := [action for action in ACTIONS if layer(action) == pane]:
            lines += ["", f"## In the {title(pane)} pane", "", *_table(own)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(keys_document(), end="")
