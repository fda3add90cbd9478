"""The features that are on at a token, with their words, and how good the dictionary is on the prompt."""

from __future__ import annotations

from mechtui.paint.tokens import visible
from mechtui.views.features import Features, FeaturesAnswer
from mechtui.views.tables import Around, Block, Column, Listing, Matrix
from mechtui.visible import seen

LOGITS = "logits per unit, before the final norm's scale"


def tables(question: Features, answer: FeaturesAnswer, around: Around) -> list[Block]:
    names, here = answer.names, around.at(answer.position)
    columns = [
        Column("number", [float(each) for each in answer.features], "of the dictionary", places=0),
        Column("value", answer.value.tolist(), "activation"),
        Column("share", answer.share.tolist(), "of length"),
    ]
    if answer.attribution is not None:
        columns.insert(1, Column("attribution", answer.attribution.tolist(), "logits", signs=True))
    if any(answer.labels):
        columns.append(Column("label", [seen(each) for each in answer.labels]))
    for at, vector in enumerate(answer.vectors):
        columns.append(Column(f"cosine to {vector}", answer.cosines[:, at].tolist(), "of 1", signs=True))
    tokens = around.positions(len(answer.on))
    blocks: list[Block] = [Listing(f"features at {here}", "feature", names, columns)]
    if answer.attribution is not None:
        parts = ("rest", "bias", "skip", "error", "total")
        values = [getattr(answer, name) for name in parts]
        said = ("other features", "bias", "skip", "error", "all that passes there")
        blocks.append(Listing("what else adds", "part", said, (Column("attribution", values, "logits", signs=True),)))
    blocks.append(Matrix("activation", "activation", ("feature", "token"), names, tokens, answer.values))
    for what in ("raises", "lowers"):
        lists = getattr(answer, what)
        found: list[Column] = []
        for place in range(max(map(len, lists), default=0)):
            found.append(Column(f"{what} {place + 1}", [visible(each[place].token) for each in lists]))
            found.append(Column(f"value {place + 1}", [each[place].value for each in lists], LOGITS, signs=True))
        blocks.append(Listing(f"what each {what}", "feature", names, found))
    blocks.append(
        Listing(
            "the dictionary at each token",
            "token",
            tokens,
            (
                Column("on", answer.on.tolist(), "features", places=0),
                Column("norm", answer.norm.tolist(), "L2"),
                Column("error", answer.error_norm.tolist(), "L2"),
            ),
        )
    )
    about = answer.about
    k = () if about.k is None else (("k", float(about.k), "features"),)
    facts = (
        ("features of the dictionary", float(about.features), "features"),
        ("numbers that it reads", float(about.d_in), "of a row"),
        *k,
        ("tokens that count", float(answer.counted), "tokens"),
        ("L0", answer.l0, "features"),
        ("variance explained", answer.explained_variance, "of 1"),
        ("loss", answer.loss, "nats"),
        ("loss, reconstructed", answer.loss_reconstructed, "nats"),
        ("loss, zeroed", answer.loss_zeroed, "nats"),
        ("loss recovered", answer.loss_recovered, "of 1"),
    )
    blocks += [Listing(name, "", (name,), (Column(name, (value,), unit),)) for name, value, unit in facts]
    return blocks
