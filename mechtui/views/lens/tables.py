"""What the model would say after each layer, and how answer and foil come up at the selected token."""

from __future__ import annotations

import numpy as np

from mechtui.paint.tokens import visible
from mechtui.views.lens import Lens, LensAnswer
from mechtui.views.tables import Around, Block, Column, Curve, Listing, Matrix


def tables(question: Lens, answer: LensAnswer, around: Around) -> list[Block]:
    names = {token.id: visible(token) for token in answer.vocabulary}
    count = answer.prob.shape[1]
    here = min(around.here, count - 1)
    columns = around.positions(count)
    # The last layer is on top, as on the screen.
    rows = answer.layers[::-1]

    def matrix(
        title: str,
        unit: str,
        values: np.ndarray,
        shows: str,
        *,
        texts: list[list[str]] | None = None,
        ends: tuple[float | None, float | None] = (None, None),
        places: int = 2,
    ) -> Matrix:
        extra = question.shows != shows
        return Matrix(
            title, unit, ("layer", "token"), rows, columns, values[::-1], texts, False, *ends, places, extra=extra
        )

    tokens = [[names[int(id)] for id in ids] for ids in answer.top[::-1]]
    blocks: list[Block] = [
        matrix("most probable token", "its probability", answer.prob, "token", texts=tokens, ends=(0.0, 1.0)),
        matrix("entropy", "nats", answer.entropy, "entropy"),
        matrix("KL to the last layer", "nats", answer.kl, "kl"),
    ]
    decides = ["" if row < 0 else answer.layers[row] for row in answer.decides]
    said = [Column("decides at", decides)]
    curves: dict[str, dict[str, np.ndarray]] = {"logit": {}, "probability": {}}
    of_each = (
        ("answer", answer.answers, answer.answer_logit, answer.answer_prob, answer.answer_rank),
        ("foil", answer.foils, answer.foil_logit, answer.foil_prob, None),
    )
    for what, ids, logit, prob, rank in of_each:
        if ids is None:
            continue
        said.append(Column(what, [names[int(id)] for id in ids]))
        for unit, shows, values in (("logit", "logit", logit), ("probability", "prob", prob), ("rank", "rank", rank)):
            if values is None:
                continue
            places = {"logit": 2, "probability": 3, "rank": 0}[unit]
            ends = (0.0, 1.0) if unit == "probability" else (None, None)
            shown = shows if what == "answer" else ""
            blocks.append(matrix(f"{unit} of the {what}", unit, values, shown, ends=ends, places=places))
            if unit in curves and count:
                curves[unit][f"{what} {names[int(ids[here])]}"] = values[:, here]
    blocks.append(Listing("the layer that decides", "token", columns, said, extra=True))
    for unit, series in curves.items():
        if series:
            title = f"{unit} after each layer at {around.at(here)}"
            low, high = (0.0, 1.0) if unit == "probability" else (None, None)
            blocks.insert(1, Curve(title, unit, "layer", answer.layers, series, low, high))
    return blocks
