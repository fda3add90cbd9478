"""The most probable tokens, the target's two, and what lies between them."""

from __future__ import annotations

from mechtui.views.next_tokens import NextTokens
from mechtui.views.script import Around


def lines(question: NextTokens, around: Around) -> list[str]:
    position = around.position(question.position)
    texts = (around.session.answer, around.session.foil)
    both = all(texts) or not any(texts)
    return [
        f"at = logits[{position}]",
        "log_probs = at.log_softmax(-1)",
        *around.target(position),
        "",
        "def candidate(id):",
        "    if id is None:",
        "        return None",
        "    logit, prob, rank = at[id].item(), log_probs[id].exp().item(), (at > at[id]).sum().item()",
        '    return {"token": text(id), "id": id, "logit": logit, "prob": prob, "rank": rank}',
        "",
        "return {",
        f'    "position": {position},',
        f'    "top": [candidate(id) for id in at.topk({question.top}).indices.tolist()],',
        '    "answer": candidate(answer),',
        '    "foil": candidate(foil),',
        f'    "auto": {not any(texts)},',
        f'    "logit_diff": {"(at[answer] - at[foil]).item()" if both else None},',
        '    "entropy": -(log_probs.exp() * log_probs).sum().item(),',
        "}",
    ]
