"""What each number does, and the text that follows it."""

from __future__ import annotations

from mechtui.session.grammar.words import format_number
from mechtui.views.dose import Dose, DoseAnswer
from mechtui.views.over_tables import of_cases
from mechtui.views.tables import Around, Block, Column, Curve, Listing, Matrix, Passage, fact

UNITS = {"logit_diff": "logits", "kl": "nats", "share": "of the activation", "loss": "nats"}
NAMES = {"logit_diff": "logit difference", "kl": "KL to clean", "share": "added length", "loss": "loss of the text"}


def tables(question: Dose, answer: DoseAnswer, around: Around) -> list[Block]:
    numbers = tuple(map(format_number, answer.numbers))
    if answer.over is not None:
        layers = () if answer.layers == (-1,) else tuple(f"L{layer} " for layer in answer.layers)
        points = [f"{layer}x{number}" for layer in layers or ("",) for number in numbers]
        title = f"{answer.edit}: logit difference"
        kl = Column("mean KL to clean", answer.kl.ravel().astype(float).tolist(), "nats")
        return [
            *of_cases(title, "logits", "point", points, answer.logit_diff, answer.over, around),
            Listing(f"{answer.edit}: what else its numbers do", "point", points, (kl,)),
            fact("mean logit difference without it", answer.baseline, "logits", signs=True),
        ]
    values = {name: getattr(answer, name) for name in UNITS}
    if answer.layers != (-1,):
        layers = tuple(f"L{layer}" for layer in answer.layers)
        blocks: list[Block] = [
            Matrix(NAMES[name], unit, ("layer", "number"), layers, numbers, values[name], signs=name == "logit_diff")
            for name, unit in UNITS.items()
        ]
    else:
        columns = [Column("number", answer.numbers, "x")]
        columns += [Column(NAMES[name], [float(x) for x in values[name][0]], unit) for name, unit in UNITS.items()]
        series = {NAMES["logit_diff"]: values["logit_diff"][0]}
        blocks = [
            Listing(answer.edit, "point", numbers, columns),
            Curve("logit difference", "logits", "number", numbers, series),
        ]
    if answer.baseline is not None:
        blocks.append(fact("logit difference without it", answer.baseline, "logits", signs=True))
    for layer, row in zip(answer.layers, answer.tokens, strict=True):
        where = "" if layer < 0 else f" at L{layer}"
        blocks += [
            Passage(f"{answer.edit} x{number}{where}", text) for number, text in zip(numbers, row, strict=True) if text
        ]
    return blocks
