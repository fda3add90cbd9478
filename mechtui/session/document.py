"""The session and everything in it: frozen, comparable, hashable, ready for the wire.

Nothing here knows a model. What needs one (does this head exist? which positions hold " John"?) is in
`mechtui.session.resolve`.
"""

from __future__ import annotations

from typing import Literal, NewType

import msgspec

Part = Literal["z", "q", "k", "v", "pattern", "scores", "attn", "mlp", "pre", "mid", "post"]
Where = Literal["pre", "mid", "post", "attn", "mlp", "z", "in", "act"]
Source = Literal["diff", "mean", "pca", "neuron", "feature", "token", "file"]
# Those that are read from the activations of texts.
OF_TEXTS: tuple[Source, ...] = ("diff", "mean", "pca")
Bos = Literal["auto", "yes", "no"]


class Struct(msgspec.Struct, frozen=True):
    """A value: equal by content, hashable, encoded by msgspec."""


class Span(Struct, frozen=True):
    """Whole numbers from `first` to `last`, both included; `last` None is `*`: all there are."""

    first: int = 0
    last: int | None = None

    def within(self, count: int) -> range:
        """The members that exist among 0..count-1."""
        return range(self.first, count if self.last is None else min(self.last + 1, count))


EVERY = Span()


class Site(Struct, frozen=True):
    """Where an edit acts.

    kind: "head" (layers, heads = index, part z q k v pattern scores), "layer" (part attn mlp pre mid post),
    "neuron" (index), "feature" (index; sae: what the session calls the dictionary, whose files say the layer), "embed"
    or "pos" (neither layers nor index mean anything there).
    """

    kind: Literal["head", "layer", "neuron", "feature", "embed", "pos"]
    layers: Span = EVERY
    index: Span = EVERY
    part: Part | None = None
    sae: str = ""


class Range(Struct, frozen=True, tag="range"):
    """Positions first..last, both included; negative ones count from the end, as in Python."""

    first: int
    last: int


class TokenPlaces(Struct, frozen=True, tag="token"):
    """Every position that holds the token `text`, or only the nth of them (from 1)."""

    text: str
    nth: int | None = None


class Role(Struct, frozen=True, tag="role"):
    """The position of what a case calls by this name: `S2`, `end`."""

    name: str


Place = Range | TokenPlaces | Role


class Positions(Struct, frozen=True):
    """A set of positions; no items means all."""

    items: tuple[Place, ...] = ()


ALL = Positions()


class Edge(Struct, frozen=True):
    """What `cut` removes: attention from `queries` to `keys`. `raw` leaves the row as it is, else it is
    divided by what remains."""

    queries: Positions = ALL
    keys: Positions = ALL
    raw: bool = False


class Edit(Struct, frozen=True):
    """One intervention, one line of text. op: a name of `mechtui.session.ops`, which says which of the last fields mean
    something: factor for scale, clamp (the number) and add (the coefficient), sd and seed for noise, seed for resample,
    vector (a name) for add and project, edge for cut, sender for cut-path and patch-path (whose site is the
    receiver)."""

    op: str
    site: Site
    positions: Positions = ALL
    factor: float = 1.0
    sd: float = 1.0
    seed: int = 0
    vector: str = ""
    edge: Edge | None = None
    sender: Site | None = None
    on: bool = True


class Vector(Struct, frozen=True):
    """A named steering vector [d_model] and how it is made.

    source: "diff" (pairs, layer, part), "mean" and "pca" (texts, layer, part), "neuron" (layer, index), "feature" (sae,
    the dictionary's name, and index), "token" (text),
    "file" (path, key). In the place of pairs and texts may stand the files that hold them: two for the sides of diff or
    one, whose `columns` they are. `position` says which token of a text is read (default the last; None: the mean over
    all of them). component: which principal direction, from 1.
    """

    name: str
    source: Source
    layer: int = 0
    part: Part = "pre"
    index: int = 0
    texts: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    component: int = 1
    path: str = ""
    key: str = ""
    unit: bool = False
    position: int | None = -1
    sae: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """The files that it is made from."""
        return (self.path,) if self.source == "file" else self.files

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The texts of its line: of diff a pair in each row, else one text."""
        return self.pairs or tuple((text,) for text in self.texts)


Cells = tuple[tuple[float | None, ...], ...]


class OverCases(Struct, frozen=True):
    """What cases say of a sweep besides the means. count: of cases; left_out: of them have no numbers, and why, of the
    first. texts: tells the cases from others (`mechtui.session.sweeps.told`). low, high, sd, share, n [row][column]: as
    in `mechtui.views.over.Over`; None where there is none."""

    count: int
    texts: str
    low: Cells
    high: Cells
    sd: Cells
    share: Cells
    n: Cells
    left_out: int = 0
    why: str = ""


class Point(Struct, frozen=True):
    """A place in one layer that a dictionary of features reads or writes: pre, mid, post (the residual stream), attn,
    mlp (what attention and the MLP write to it), z (all heads side by side), in (what the MLP reads, normed) or act
    (the MLP's neurons). `mechtui.session.sites` has their hooks."""

    layer: int
    part: Where


# A dictionary's name, as a line writes it.
SaeName = NewType("SaeName", str)


class Sae(Struct, frozen=True):
    """A dictionary of features (a sparse autoencoder, a transcoder) and what lines call it. path: the file, folder or
    hub id that holds it. reads, writes: where, in the place of what its files say; writes None: where it reads. labels:
    a file of features' names; empty for one that lies beside it."""

    name: str
    path: str
    reads: Point | None = None
    writes: Point | None = None
    labels: str = ""


class Swept(Struct, frozen=True):
    """A sweep's numbers, and what they were made of.

    edit: what was done at every site in turn. of: the session, as far as it decides the numbers, see
    `mechtui.session.sweeps.made_of`. values [row][column]: None where there is none. runs: cells that a value can be
    computed of; with fewer values it was stopped. metric, baseline, source_baseline: as in the view's answer. over: of
    a sweep over the cases that `of` names, whose means are the values; `of` has no texts that every case has itself.
    """

    edit: Edit
    of: Session
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metric: Literal["logit_diff", "normalised"]
    values: Cells
    runs: int
    baseline: float | None = None
    source_baseline: float | None = None
    over: OverCases | None = None

    @property
    def done(self) -> int:
        return sum(value is not None for row in self.values for value in row)


class Focus(Struct, frozen=True):
    """What the whole screen looks at: one token (position; -1 is the last), one head, one edit, one vector, and the key
    of the token's attention (-1 is the one that it looks at most)."""

    position: int = -1
    layer: int = 0
    head: int = 0
    key: int = -1
    edit: int = 0
    vector: int = 0


class Scrolled(Struct, frozen=True):
    """A view on the screen: cells and rows by which it is scrolled, and a word that its pane says of its own cursor."""

    view: str
    left: int = 0
    top: int = 0
    cursor: str = ""


class Screen(Struct, frozen=True):
    """How the screen is arranged. workspace: its name. views: those that were called, the latest first: of views that
    share a place the first of them is in front, and the first of all has the keys. whole: it has the whole window.
    wider: columns that the right side lends to the left. guest: a view that stands in no workspace and was called all
    the same. job: the view whose many runs are renewed with every change. places: how far views are scrolled, and where
    their cursors are beside the focus."""

    workspace: str
    views: tuple[str, ...] = ()
    whole: bool = False
    wider: int = 0
    guest: str = ""
    job: str = ""
    places: tuple[Scrolled, ...] = ()


class Session(Struct, frozen=True):
    """The whole document. A new one is made for every change (`msgspec.structs.replace`). linear: whether edits act on
    the linear model around the clean run, so that their effects add up. sweeps: the newest last.

    Sweeps, screen, focus and file are no part of what undo takes back: only a session that is kept, or that was read,
    has them. screen, focus: None where nothing is said. file: the file that it was opened from or saved to. cases: the
    line that names many prompts, over which the numbers are taken, too, see `mechtui.session.grammar.cases`; empty for
    none.
    """

    model: str = ""
    prompt: str = ""
    source: str = ""
    answer: str = ""
    foil: str = ""
    vectors: tuple[Vector, ...] = ()
    saes: tuple[Sae, ...] = ()
    edits: tuple[Edit, ...] = ()
    views: tuple[str, ...] = ()
    bos: Bos = "auto"
    align: str = "auto"
    references: tuple[str, ...] = ()
    cases: str = ""
    linear: bool = False
    sweeps: tuple[Swept, ...] = ()
    screen: Screen | None = None
    focus: Focus | None = None
    file: str = ""

    def work(self) -> Session:
        """Without what undo does not take back."""
        return msgspec.structs.replace(self, sweeps=(), screen=None, focus=None, file="")

    def active_edits(self) -> tuple[Edit, ...]:
        return tuple(edit for edit in self.edits if edit.on)

    def vector(self, name: str) -> Vector | None:
        return next((vector for vector in self.vectors if vector.name == name), None)

    def sae(self, name: str) -> Sae | None:
        return next((sae for sae in self.saes if sae.name == name), None)


class Token(Struct, frozen=True):
    """One token of a prompt. `hex` is set when the bytes are not whole UTF-8 characters."""

    id: int
    text: str
    hex: str = ""


class ModelShape(Struct, frozen=True):
    """What validation and layout need to know of a model.

    n_kv_heads: key-value groups (n_heads without grouped queries). d_mlp 0: no MLP. has_mid False: attention
    and MLP read the same residual (parallel blocks), so there is no resid_mid. has_pos: learned position
    embeddings are added to the residual (hook_pos_embed). has_neurons False: the MLP is a mixture of experts, each
    with neurons of its own.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    has_mid: bool = True
    has_pos: bool = True
    has_neurons: bool = True


def surrogate(text: str) -> int | None:
    """Index of the first lone surrogate, which is no character and cannot be encoded; None in plain text."""
    return next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
