"""Help for the pane one stands in: what it shows, its keys, its words, then all other keys."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from mechtui.app.actions import Registry, shown
from mechtui.paint.palette import Palette
from mechtui.panes import theme
from mechtui.panes.boundary import Window
from mechtui.views import View, specs
from mechtui.views.spec import Action

WORDS = {
    "residual stream": "the vector of d_model numbers at every position that each layer reads and adds to",
    "hook_z": "what a head has read, by its pattern, from the values; before W_O turns it into the stream's space",
    "pattern": "a head's softmax rows: how much each query position attends to each key position; rows add up to 1",
    "scores": "the rows before the softmax",
    "value-weighted": "the pattern times the length of each key's value vector: what is looked at and also says much",
    "entropy": "of a pattern row, in nats: 0 attends to one token, ln n evenly to n",
    "logit": "the model's number for a token before the softmax over the vocabulary",
    "logit difference": "logit(answer) - logit(foil): how much the model prefers the one to the other",
    "self-repair": "what the rest of the model does about a part that is taken away, so that less is lost",
    "estimate": "the gradient of the logit difference times what an edit changes: no run was made with the edit",
    "rank": "how many tokens are more probable; 0 is the most probable",
    "surprise": "-ln p(token | those before it), in nats",
    "perplexity": "exp of the mean loss in nats: among so many equally likely tokens one would be as unsure",
    "nat": "the unit of natural logarithms; 1 nat is 1.44 bits",
    "clean, edited": "the run without edits, and the run with those that are on",
    "source": "the second prompt; patching takes values from its run, position by aligned position",
    "steering vector": "a direction of the residual stream that is added to push what the model says",
    "AUC": "how probable it is that one of the one kind lies further along than one of the other; .5 is chance",
    "translator": "a matrix and a bias by which a lens brings a layer's output to the last layer's terms",
    "L2 norm": "the length of a vector: the root of the sum of its squares",
    "BOS": "the beginning-of-sequence token; much attention may rest on it",
    "stale, older": "the numbers shown are of an earlier state; the new ones are being computed",
    "temperature": "divides the logits before a token is drawn; 0 takes the most probable token",
    "unembedding": "W_U, from the final residual stream to a logit for every token",
    "induction head": "on a token that stood before, it attends to what followed it there: [A][B] ... [A] -> [B]",
    "OV circuit": "W_E W_V W_O W_U: what a head, once it attends to a token, does to the logits of every token",
    "QK circuit": "W_E W_Q W_K^T W_E^T: how much a head wants to attend from every token to every other",
    "bigram": "two tokens that follow each other: what comes next by the token before alone, W_E W_U",
    "edge": "the attention from one query position to one key position of one head",
    "path patching": "one receiver reads what one sender writes in another run; all between both is held",
    "linear mode": "patterns, norm scales and neurons are held at their clean values, so that effects add up",
    "neuron": "one number of an MLP's hidden layer; its write vector is a row of W_out",
    "context": "a place in a text at which a neuron or a feature fires, with what stands around it",
}


def glossary() -> dict[str, str]:
    """Word -> what it means: those above, and those that views add."""
    return WORDS | {word: meaning for view in specs().values() for word, meaning in view.glossary}


def keys_table(actions: list[Action], look: Palette) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style=look.dim)
    for action in actions:
        table.add_row(" ".join(shown(key) for key in action.keys), action.title, action.explanation)
    return table


def content(view: View, registry: Registry, look: Palette) -> Group:
    """The help page of a view's pane."""
    own, rest = registry.for_help(view.name)
    words = Table.grid(padding=(0, 2))
    words.add_column(style="bold", no_wrap=True)
    words.add_column(style=look.dim)
    known = glossary()
    for word in view.words:
        words.add_row(word, known[word])
    parts: list[Text | Table] = [Text(view.title, "bold underline"), Text(f"{view.shows} {view.read}"), Text(view.trap)]
    if view.paper:
        parts.append(Text(view.paper, look.dim))
    parts += [Text(), keys_table(own, look), Text(), Text("Words", "bold underline"), words]
    for group in dict.fromkeys(action.group for action in registry.actions if action.group):
        actions = [action for action in rest if action.group == group]
        if actions:
            parts += [Text(), Text(f"{group}, in every pane", "bold underline"), keys_table(actions, look)]
    parts += [Text(), Text("While you type, letters are text: esc leaves, ctrl+j begins a new line.", look.dim)]
    return Group(*parts)


class Help(Window[None]):
    """Scrolls with arrows and jk; any of esc, q, ? closes it."""

    def __init__(self, view: View, registry: Registry) -> None:
        super().__init__()
        self._content = content(view, registry, theme.palette(self.app))

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "help"
            box.border_subtitle = "esc closes"
            yield Static(self._content)

    def on_key(self, event: events.Key) -> None:
        box = self.query_one("#help", VerticalScroll)
        match event.key:
            case "escape" | "q" | "question_mark" | "f1" | "enter":
                self.dismiss()
            case "j" | "down":
                box.scroll_down(animate=False)
            case "k" | "up":
                box.scroll_up(animate=False)
            case "ctrl+d" | "pagedown" | "space":
                box.scroll_page_down(animate=False)
            case "ctrl+u" | "pageup":
                box.scroll_page_up(animate=False)
            case "g" | "home":
                box.scroll_home(animate=False)
            case "G" | "end":
                box.scroll_end(animate=False)
            case _:
                return
        event.stop()
        event.prevent_default()
