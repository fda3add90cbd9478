"""The one registry of actions: every key, its name, its words and what it does.

Key bindings, the footer, help, the palette and docs/keys.md are all read from here. An action says in `when`
why it cannot run just now; it never fails silently.
"""

# ruff: noqa: E501 - the registry is a table, and a row of a table is one line

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mechtui.ui.desk import Desk
from mechtui.ui.doing import DO

Why = Callable[[Desk], str]


def always(desk: Desk) -> str:
    return ""


def model(desk: Desk) -> str:
    return "" if desk.ready else "The model is still loading; this needs its layers and heads."


def edits(desk: Desk) -> str:
    return "" if desk.session.edits else "There is no edit yet: z zeroes the head under the cursor, e writes one."


def in_list(desk: Desk) -> str:
    if desk.here == "vectors":
        return "" if desk.session.vectors else "There is no steering vector yet: v writes one."
    return edits(desk)


def vectors(desk: Desk) -> str:
    return "" if desk.session.vectors else "There is no steering vector yet: v writes one."


def source(desk: Desk) -> str:
    return model(desk) or ("" if desk.session.source else "There is no source prompt to patch from: I writes one.")


def in_attention(desk: Desk) -> str:
    return model(desk) or ("" if desk.here == "attention" else "This acts on the attention table: press 3 first.")


def generating(desk: Desk) -> str:
    return "" if desk.here == "generate" else "This belongs to the generation: press 8 first."


@dataclass(frozen=True)
class Action:
    """One thing that can be done.

    keys: textual's key names, the first is the one that is shown. title: two or three words for footer and
    palette. explanation: one sentence. group: heading in help and docs. panes: where the footer offers it.
    typing: works while one types. weighty: it costs, overwrites, takes away or leaves, so the palette does it
    only for its own name or key, never for other words that happen to fit.
    """

    name: str
    keys: tuple[str, ...]
    title: str
    explanation: str
    group: str
    panes: tuple[str, ...] = ()
    when: Why = always
    typing: bool = False
    weighty: bool = False

    def run(self, desk: Desk) -> None:
        """Do it. Raises CannotError with the reason why there is nothing to do."""
        DO[self.name](desk)


EVERYWHERE = ("tokens", "heads", "attention", "next_tokens", "residual", "effects", "vectors", "generate")
HEAD = ("heads", "attention")
LISTS = ("effects", "vectors")

ACTIONS: tuple[Action, ...] = (
    # Writing
    Action("prompt", ("i",), "type", "Type the prompt; every keystroke runs the model again.", "Write", ("tokens", "next_tokens")),
    Action("source", ("I", "o"), "source", "Write the source prompt, which patching takes its values from.", "Write", ("tokens",)),
    Action("target", ("a",), "answer", "Name the two tokens whose logit difference is explained: answer and foil.", "Write", ("next_tokens", "tokens")),
    Action("edit_line", ("e",), "edit", "Write an edit as a line, with completion: zero L9H9 @-1, scale L3.mlp x0.5.", "Write", ("effects", "residual")),
    Action("vector_line", ("v",), "vector", "Write a steering vector as a line: love-hate = diff L6.pre \"Love\" \"Hate\".", "Write", ("vectors",)),
    Action("change_line", ("enter",), "change", "Change the line under the cursor; elsewhere, give the pane the whole window.", "Write", LISTS),
    Action("palette", ("colon", "ctrl+p"), "command", "Find any action by its words, or type an edit, vector or question line.", "Write", EVERYWHERE, typing=True),
    Action("leave", ("escape",), "back", "Leave what you are in; the running generation, fetch or load is stopped last.", "Write", typing=True),
    # Moving
    Action("left", ("h", "left"), "left", "Move left in the pane.", "Move"),
    Action("down", ("j", "down"), "down", "Move down in the pane.", "Move"),
    Action("up", ("k", "up"), "up", "Move up in the pane.", "Move"),
    Action("right", ("l", "right"), "right", "Move right in the pane.", "Move"),
    Action("home", ("g", "home"), "first", "Go to the first row or token of the pane.", "Move"),
    Action("end", ("G", "end"), "last", "Go to the last row or token of the pane.", "Move"),
    Action("page_down", ("ctrl+d", "pagedown"), "page down", "Move down by a page.", "Move"),
    Action("page_up", ("ctrl+u", "pageup"), "page up", "Move up by a page.", "Move"),
    Action("token_back", ("left_square_bracket",), "token back", "Select the token before, from any pane.", "Move", ("residual", "next_tokens")),
    Action("token_next", ("right_square_bracket",), "next token", "Select the token after, from any pane.", "Move", ("residual", "next_tokens")),
    Action("next_pane", ("tab",), "next pane", "Go to the next pane.", "Move"),
    Action("last_pane", ("shift+tab",), "pane back", "Go to the pane before.", "Move"),
    *(
        Action(f"pane_{digit}", (str(digit),), f"pane {digit}", f"Go to the {name} pane.", "Move")
        for digit, name in enumerate(
            ("tokens", "heads", "attention", "next token", "residual", "edits", "vectors", "generate"), 1
        )
    ),
    Action("search", ("slash",), "search", "Find text in the pane: a token, a head, a line.", "Move", ("tokens", "attention")),
    Action("search_next", ("n",), "next match", "Go to the next match of the last search.", "Move"),
    Action("search_back", ("N",), "match before", "Go to the match before.", "Move"),
    # Changing the run
    Action("zero", ("z",), "zero", "Zero the head under the cursor at every position; once more undoes it.", "Change", HEAD, model),
    Action("zero_here", ("Z",), "zero here", "Zero the head under the cursor at the selected token only.", "Change", HEAD, model),
    Action("mean", ("m",), "mean", "Replace the head's output with its mean over the prompt.", "Change", HEAD, model),
    Action("patch", ("p",), "patch", "Replace the head's output with that of the source run.", "Change", HEAD, source),
    Action("cut", ("x",), "cut", "Remove the attention from the row's token to the column's.", "Change", ("attention",), in_attention),
    Action("toggle", ("space",), "on/off", "Switch the edit under the cursor on or off; on a vector, add it as an edit.", "Change", LISTS, in_list),
    Action("toggle_all", ("O",), "all off/on", "Switch all edits off, or on when all are off.", "Change", ("effects",), edits),
    Action("more", ("plus", "equals_sign"), "more", "Raise the number of the edit under the cursor: factor, coefficient, sd or seed.", "Change", ("effects",), edits),
    Action("less", ("minus",), "less", "Lower the number of the edit under the cursor.", "Change", ("effects",), edits),
    Action("move_up", ("K",), "move up", "Move the edit up; edits apply in the order of the list.", "Change", (), edits),
    Action("move_down", ("J",), "move down", "Move the edit down.", "Change", (), edits),
    Action("duplicate", ("D",), "duplicate", "Put a copy of the edit below it, switched off.", "Change", (), edits),
    Action("delete", ("d", "delete"), "delete", "Delete the edit or the vector under the cursor.", "Change", LISTS, in_list, weighty=True),
    Action("undo", ("u",), "undo", "Take back the last change of prompt, edits, vectors or target.", "Change", ("tokens", *HEAD, *LISTS)),
    Action("redo", ("ctrl+r",), "redo", "Bring back what undo took.", "Change"),
    Action("bos", ("b",), "BOS", "Prepend the beginning-of-sequence token: as the model likes, yes, no.", "Change"),
    Action("save_vectors", ("V",), "save vectors", "Write the steering vectors to a safetensors file.", "Change", ("vectors",), vectors, weighty=True),
    # Looking
    Action("summary", ("s",), "what", "Change what the pane shows: its summary, scores or pattern, its order.", "Look", ("heads", "attention", "residual", "next_tokens", "generate")),
    Action("swap_run", ("c",), "clean/edited", "Show the clean run in place of the edited one, and back.", "Look"),
    Action("ids", ("t",), "ids", "Show token ids.", "Look", ("tokens",)),
    Action("maximise", ("f",), "whole window", "Give the pane the whole window, and back.", "Look", ("heads", "attention", "residual", "generate", "tokens")),
    Action("wider", ("greater_than_sign",), "wider", "Give the attention table more columns.", "Look"),
    Action("narrower", ("less_than_sign",), "narrower", "Give the panes on the right more columns.", "Look"),
    Action("generate", ("full_stop", "ctrl+g"), "generate", "Continue the prompt, clean and edited side by side; once more, from anew.", "Look", ("generate", "residual", "vectors"), model, weighty=True),
    Action("warmer", ("circumflex_accent",), "warmer", "Raise the generation's temperature by 0.1.", "Look", ("generate",), generating),
    Action("cooler", ("underscore",), "cooler", "Lower the generation's temperature by 0.1; 0 takes the most probable token.", "Look", ("generate",), generating),
    # The rest
    Action("help", ("question_mark", "f1"), "help", "Explain the pane you are in, its keys and its words.", "Program", EVERYWHERE),
    Action("models", ("M",), "model", "Choose another model; the session stays.", "Program"),
    Action("zoom_in", ("right_curly_bracket",), "wide cells", "Make the attention table's cells wider.", "Look", (), in_attention),
    Action("zoom_out", ("left_curly_bracket",), "narrow cells", "Make the attention table's cells narrower, so that more of them fit.", "Look", (), in_attention),
    Action("fetch", ("F",), "fetch gpt2", "Download GPT-2 small (548 MB) from the Hugging Face hub, after a yes; esc stops it.", "Program", weighty=True),
    Action("copy", ("y",), "copy", "Copy the value under the cursor.", "Program"),
    Action("copy_row", ("Y",), "copy row", "Copy the row under the cursor.", "Program"),
    Action("save", ("S",), "save", "Save the session to a file.", "Program", weighty=True),
    Action("open", ("ctrl+o",), "open", "Open a session file.", "Program", weighty=True),
    Action("program", ("W",), "program", "Write the session as a Python program for TransformerLens.", "Program", (), model, weighty=True),
    Action("bring_back", ("R",), "last session", "Bring back the session that the program which ended last kept; u takes it away again.", "Program"),
    Action("theme", ("T",), "theme", "Take the next theme.", "Program"),
    Action("suspend", ("ctrl+z",), "suspend", "Go back to the shell; fg brings mechtui back.", "Program", weighty=True),
    Action("quit", ("q", "ctrl+q"), "quit", "Quit; the session is kept.", "Program", weighty=True),
)  # fmt: skip

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
    "escape": "esc",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}
_NAMES = {shown: name for name, shown in SHOWN.items()}


def shown(key: str) -> str:
    """A key as one writes it: `ctrl+p`, `/`, `esc`."""
    return SHOWN.get(key, key)


class KeyClashError(ValueError):
    """The keymap in the settings cannot be: one sentence."""


class Registry:
    """The actions with the keys that the settings give them, and where each key leads.

    overrides: action name -> keys, comma-separated, as one writes them (`ctrl+k,/`). Raises KeyClashError.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        overrides = overrides or {}
        names = [action.name for action in ACTIONS]
        for name in overrides:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise KeyClashError(f"[keys] names {name}, which is no action{hint}")
        self.actions = tuple(
            replace(action, keys=_keys(overrides[action.name])) if action.name in overrides else action
            for action in ACTIONS
        )
        # A key that the settings give to one action is taken from the one that had it.
        given = {key for name in overrides for key in _keys(overrides[name])}
        self.keymap: dict[str, Action] = {}
        for action in sorted(self.actions, key=lambda action: action.name in overrides):
            for key in action.keys:
                old = self.keymap.get(key)
                if old is not None and (key not in given or old.name in overrides):
                    raise KeyClashError(f"[keys] gives {shown(key)} to both {old.name} and {action.name}")
                self.keymap[key] = action
        self.actions = tuple(
            replace(action, keys=tuple(key for key in action.keys if self.keymap[key].name == action.name))
            for action in self.actions
        )
        self.by_name = {action.name: action for action in self.actions}

    def for_footer(self, pane: str) -> list[Action]:
        """The actions that the footer offers in a pane; command and help come last."""
        own = [action for action in self.actions if pane in action.panes and action.keys]
        return sorted(own, key=lambda action: action.panes == EVERYWHERE)

    def for_help(self, pane: str) -> list[Action]:
        """What is said of a pane in help: its own actions first, then those that work everywhere."""
        return sorted((action for action in self.actions if action.keys), key=lambda action: pane not in action.panes)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(_NAMES.get(key.strip(), key.strip()) for key in text.split(",") if key.strip())


def keys_document() -> str:
    """docs/keys.md: all keys, grouped as in help."""
    lines = [
        "# Keys",
        "",
        "Letters act only in NORMAL mode; while you type (INSERT, shown at the top right) they are text.",
        "`esc` always backs out. In the prompt `enter` leaves, `ctrl+j` begins a new line.",
        'Every key can be changed under `[keys]` in the config file: `name = "key,key"`.',
    ]
    for group in dict.fromkeys(action.group for action in ACTIONS):
        lines += ["", f"## {group}", "", "| key | name | what it does |", "|---|---|---|"]
        for action in ACTIONS:
            if action.group == group:
                keys = " ".join(f"`{shown(key)}`" for key in action.keys)
                lines.append(f"| {keys} | {action.name} | {action.explanation} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(keys_document(), end="")
