"""Whether a dictionary is one for a model."""

from __future__ import annotations

from typing import Literal

from mechtui.engine.dictionaries.dictionary import Dictionary, DictionaryError
from mechtui.link.messages import Ready
from mechtui.session.document import Part, Point, Site, Span
from mechtui.session.grammar.saes import format_point
from mechtui.session.hook_edits import EditError
from mechtui.session.resolve import check_site
from mechtui.session.sites import point_width

# As TransformerLens calls models that the hub calls otherwise.
ALSO = {"gpt2": "gpt2-small"}


def check(dictionary: Dictionary, ready: Ready) -> None:
    """Raises DictionaryError."""
    name = dictionary.name
    for point in dict.fromkeys((dictionary.reads, dictionary.writes)):
        _check_place(name, point, ready)
    for what, width, point in (
        ("reads", dictionary.d_in, dictionary.reads),
        ("writes", dictionary.d_out, dictionary.writes),
    ):
        wanted = point_width(point, ready.shape)
        if width != wanted:
            raise DictionaryError(
                f"{name} {what} {width:,} numbers at {format_point(point)}, and {ready.name} has {wanted:,} there: it "
                "is another model's"
            )
    if order(dictionary.writes) < order(dictionary.reads):
        first, second = map(format_point, (dictionary.reads, dictionary.writes))
        raise DictionaryError(f"{name} reads {first} and writes {second}, which comes before it")
    folded = ready.weights == "folded"
    if dictionary.folded is not None and dictionary.folded != folded:
        how = ("with --fold-ln", "folded into") if dictionary.folded else ("without --fold-ln", "not folded into")
        raise DictionaryError(
            f"{name} reads what the MLP reads, with the norm's weights {how[1]} the MLP's: load the model {how[0]}"
        )
    if other(dictionary.made_on, ready):
        raise DictionaryError(f"{name} was made on {dictionary.made_on}, and this model is {ready.name}")


def check_bos(dictionary: Dictionary, bos: bool, has: bool) -> None:
    """bos: whether the session's texts begin with BOS; has: whether the model has one. Raises DictionaryError."""
    if dictionary.bos is None or not has or dictionary.bos == bos:
        return
    made, now = ("with", "without") if dictionary.bos else ("without", "with")
    raise DictionaryError(
        f"{dictionary.name} was made on texts that begin {made} BOS, and this one begins {now} it: "
        f'bos = "{"yes" if dictionary.bos else "no"}" is what it wants'
    )


def other(made_on: str, ready: Ready) -> bool:
    """Whether it was made on a model of another name; one in a folder or file of one's own may be any."""
    of_hub = ready.source.startswith(f"{ready.name.partition('@')[0]}@")
    if not made_on or not (of_hub or ready.source.endswith("(embedded)")):
        return False
    mine = ready.name.partition("@")[0] if of_hub else ready.name
    mine, its = (each.rpartition("/")[2].lower() for each in (mine, made_on))
    return its not in (mine, ALSO.get(mine))


def order(point: Point) -> tuple[int, int]:
    """In which turn points are passed."""
    return point.layer, ("pre", "z", "attn", "mid", "in", "act", "mlp", "post").index(point.part)


def _check_place(name: str, point: Point, ready: Ready) -> None:
    parts: dict[str, Part] = {"pre": "pre", "mid": "mid", "post": "post", "attn": "attn", "mlp": "mlp", "in": "mlp"}
    span = Span(point.layer, point.layer)
    kind: Literal["layer", "head", "neuron"] = "layer"
    part: Part | None = parts.get(point.part)
    if point.part == "z":
        kind, part = "head", "z"
    elif point.part == "act":
        kind = "neuron"
    try:
        check_site(Site(kind, span, Span(0, 0), part), ready)
    except EditError as error:
        raise DictionaryError(f"{name} reads or writes {format_point(point)}, and {error}") from error
