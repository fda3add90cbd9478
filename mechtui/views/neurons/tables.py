"""The neurons that matter at a token, with what they read and write."""

from __future__ import annotations

from mechtui.paint.tokens import visible
from mechtui.views.neurons import Neurons, NeuronsAnswer
from mechtui.views.tables import Around, Block, Column, Listing, Matrix

LOGITS = "logits per unit, before the final norm's scale"


def tables(question: Neurons, answer: NeuronsAnswer, around: Around) -> list[Block]:
    names, here = answer.names, around.at(answer.position)
    columns = [Column("post", answer.post[:, answer.position].tolist(), "activation", signs=True)]
    if answer.attribution is not None:
        columns.insert(0, Column("attribution", answer.attribution.tolist(), "logits", signs=True))
    columns.append(Column("norm", answer.norm.tolist(), "L2 of the write vector"))
    blocks: list[Block] = [Listing(f"neurons at {here}", "neuron", names, columns)]
    tokens = around.positions(answer.post.shape[1])
    for title, values in (
        ("activation (post)", answer.post),
        ("before the activation function" if answer.into is None else "gate, before its function", answer.pre),
        ("what the gate multiplies", answer.into),
    ):
        if values is not None:
            blocks.append(Matrix(title, "activation", ("neuron", "token"), names, tokens, values, signs=True))
    for what, unit in (("reads", "pre-activation of the embedding alone"), ("raises", LOGITS), ("lowers", LOGITS)):
        lists = getattr(answer, what)
        most = max(map(len, lists), default=0)
        found: list[Column] = []
        for place in range(most):
            found.append(Column(f"{what} {place + 1}", [visible(each[place].token) for each in lists]))
            found.append(Column(f"value {place + 1}", [each[place].value for each in lists], unit, signs=True))
        blocks.append(Listing(f"what each {what}", "neuron", names, found))
    return blocks
