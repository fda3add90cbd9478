"""The loss of every token, and the tokens that were likelier."""

from __future__ import annotations

from mechtui.views.loss import Loss
from mechtui.views.script import Around


def lines(question: Loss, around: Around) -> list[str]:
    return [
        "before, came = logits[:-1], tokens[1:, None]",
        "loss = before.logsumexp(-1) - before.gather(-1, came)[:, 0]",
        "rank = (before > before.gather(-1, came)).sum(-1)",
        "first = torch.tensor([torch.nan])",
        "",
        "def likeliest(row):",
        f"    pairs = zip(*(x.tolist() for x in row.softmax(-1).topk({min(question.top, around.shape.d_vocab)})))",
        '    return [{"id": id, "token": text(id), "prob": prob} for prob, id in pairs]',
        "",
        "return {",
        '    "loss": torch.cat([first, loss]),',
        '    "rank": torch.cat([first, rank.float()]),',
        '    "sum": loss.sum().item() if len(loss) else None,',
        '    "mean": loss.mean().item() if len(loss) else None,',
        '    "best": [[], *map(likeliest, before)],',
        "}",
    ]
