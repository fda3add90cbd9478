"""What wrote the logit difference: heads and MLPs as a map, the other writes and the sum as a list."""

from __future__ import annotations

import numpy as np

from mechtui.paint.tokens import visible
from mechtui.session.grammar.places import format_site
from mechtui.views.attribution import (
    Ablated,
    Attribution,
    AttributionAnswer,
    Components,
    Neurons,
    Repair,
    Sources,
)
from mechtui.views.over_tables import of_cases
from mechtui.views.tables import Around, Block, Column, Listing, Matrix, numbered


def tables(question: Attribution, answer: AttributionAnswer, around: Around) -> list[Block]:
    foil = "" if answer.foil is None else f" - logit({visible(answer.foil)})"
    auto = ", the clean run's two likeliest" if answer.auto else ""
    what = f"logit({visible(answer.answer)}){foil} after {around.at(answer.position)}{auto}"
    opened = "" if question.site is None else f"{format_site(question.site)}: "
    match answer.parts:
        case Components() as parts:
            layers, heads = parts.heads.shape
            table = np.concatenate([parts.heads, parts.mlps[:, None]], axis=1)
            names = (*numbered("H", heads), "MLP")
            found: list[Block] = [
                Matrix(f"{opened}{what}", "logits", ("layer", "write"), numbered("L", layers), names, table, signs=True)
            ]
            rest = {
                "heads together": float(np.nansum(parts.heads)),
                "MLPs together": float(np.nansum(parts.mlps)),
                "embed": parts.embed,
                "pos": parts.pos,
                "bias": parts.bias,
                "edits": parts.edits,
                "total": answer.total,
            }
            found.append(_sums("all of it", "write", rest))
            if answer.over is not None:
                found += of_cases(what, "logits", "write", answer.writes(), answer.means, answer.over, around)
            if answer.ablated is not None:
                found += _ablated(answer.ablated, heads)
            return found
        case Repair() as parts:
            layers, heads = parts.heads.shape
            table = np.concatenate([parts.heads, parts.mlps[:, None]], axis=1)
            names = (*numbered("H", heads), "MLP")
            title = f"{opened}{_done(parts)}, and by how much the other writes to {what} change"
            rest = {"bias": parts.bias, "edits": parts.edits, "final norm": parts.norm, "measured": answer.total}
            rest |= {"direct": parts.direct, "others": answer.total - parts.direct}
            return [
                Matrix(title, "logits", ("layer", "write"), numbered("L", layers), names, table, signs=True),
                _sums("all of it", "write", rest),
            ]
        case Sources() as parts:
            rows = around.positions(len(parts.tokens))
            columns = (_logits(parts.tokens), Column("attention", _numbers(parts.attention), "share"))
            rest = {"bias": parts.bias, "edits": parts.edits, "total": answer.total}
            return [Listing(f"{opened}{what}", "token read", rows, columns), _sums("besides", "write", rest)]
        case Neurons() as parts:
            rows = tuple(f"N{number}" for number in parts.neurons)
            columns = (_logits(parts.values), Column("activation", _numbers(parts.activations), "hook_post"))
            rest = {"other neurons": parts.rest, "bias": parts.bias, "edits": parts.edits, "total": answer.total}
            return [Listing(f"{opened}{what}", "neuron", rows, columns), _sums("besides", "write", rest)]


def _done(how: Ablated | Repair) -> str:
    """How parts are ablated."""
    return ("zeroed" if how.op == "zero" else "at its mean") + (" at this position" if how.here else "")


def _ablated(ablated: Ablated, heads: int) -> list[Block]:
    """What is measured, part by part."""
    layers, columns = ablated.measured.shape
    names = [*numbered("H", heads), ".mlp"][:columns]
    rows = tuple(f"L{layer}{name}" for layer in range(layers) for name in names)
    numbers = {
        "direct": ablated.direct,
        "measured": ablated.measured,
        "final norm's scale held": ablated.frozen,
        "others": ablated.others,
        "of them the final norm": ablated.norm,
    }
    columns_of = [Column(name, _numbers(each.reshape(-1)), "logits", signs=True) for name, each in numbers.items()]
    return [Listing(f"each part {_done(ablated)} alone: the change of the logit difference", "part", rows, columns_of)]


def _numbers(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]


def _logits(values: np.ndarray) -> Column:
    return Column("contribution", _numbers(values), "logits", signs=True)


def _sums(title: str, of: str, rest: dict[str, float]) -> Listing:
    return Listing(title, of, tuple(rest), (Column("contribution", list(rest.values()), "logits", signs=True),))
