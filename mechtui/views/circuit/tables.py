"""What a head's circuit says of a word, its skip-trigrams, or its singular directions."""

from __future__ import annotations

from mechtui.paint.tokens import visible
from mechtui.session.document import Token
from mechtui.views.circuit import Circuit, CircuitAnswer
from mechtui.views.tables import Around, Block, Column, Listing

# The lists of a word, and what their numbers are.
NATS, LOGITS = "nats above the mean key", "logits before the final norm's scale"
LISTS = {"attends": NATS, "attended": NATS, "raises": LOGITS, "lowers": LOGITS, "raised_by": LOGITS}


def tables(question: Circuit, answer: CircuitAnswer, around: Around) -> list[Block]:
    head = f"L{question.layer}H{question.head}"
    if answer.what == "trigrams":
        return [_trigrams(head, answer)]
    if answer.what == "directions":
        return [_directions(head, answer)]
    word = "" if answer.token is None else visible(answer.token)
    found: list[Block] = [
        Listing(
            f"{head} {name.replace('_', ' ')} {word}",
            "place",
            tuple(str(at + 1) for at in range(len(getattr(answer, name)))),
            (
                Column("token", [visible(each.token) for each in getattr(answer, name)]),
                Column("value", [each.value for each in getattr(answer, name)], unit, signs=True),
            ),
        )
        for name, unit in LISTS.items()
    ]
    itself = (Column("logit", [answer.own], LOGITS, signs=True), Column("rank", [answer.rank], "0 is first", places=0))
    return [*found, Listing(f"{head}: {word} itself", "", (word,), itself)]


def _trigrams(head: str, answer: CircuitAnswer) -> Listing:
    found = answer.trigrams
    return Listing(
        f"skip-trigrams of {head}",
        "source",
        tuple(visible(each.source) for each in found),
        (
            Column("destinations", [_named(each.destinations) for each in found]),
            Column("outs", [_named(each.outs) for each in found]),
            Column("strength", [each.value for each in found], "nats times logits", places=0),
        ),
    )


def _directions(head: str, answer: CircuitAnswer) -> Listing:
    found = answer.directions
    return Listing(
        f"singular directions of {head}",
        "direction",
        tuple(f"{each.circuit} {each.number}" for each in found),
        (
            Column("size", [each.size for each in found], "singular value"),
            Column("share", [each.share for each in found], "of the sum of squares"),
            *(
                Column(name.replace("_", " "), [_named(getattr(each, name)) for each in found])
                for name in ("reads", "writes", "against_reads", "against_writes")
            ),
        ),
    )


def _named(tokens: tuple[Token, ...]) -> str:
    return "  ".join(map(visible, tokens))
