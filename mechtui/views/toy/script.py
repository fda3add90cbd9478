"""The toy models, trained again by torch's own gradients and its own Adam."""

from __future__ import annotations

from mechtui.views.script import Around, ScriptError
from mechtui.views.toy import POINTS, REPRESENTED, Toy

# Examples of a step, Adam's first rate, and examples of the loss; as the model process has them.
BATCH, RATE, EXAMPLES = 256, 0.02, 4096
# No model's run decides it.
EACH_RUN = False


def lines_of(question: Toy, around: Around, answers: tuple[dict[str, int] | None, object]) -> list[str]:
    answer = answers[0]
    if answer is not None and answer["step"] < answer["steps"]:
        raise ScriptError("the training was stopped before its end")
    return lines(question, around)


def lines(question: Toy, around: Around) -> list[str]:
    linear = question.linear
    through = "(x @ W.mT @ W + b)" + ("" if linear else ".relu()")
    return [
        f"n, m, steps = {question.features}, {question.dims}, {question.steps}",
        f"sparsities = torch.tensor({list(question.sparsities)}, dtype=torch.float64)",
        f"importance = {question.importance!r} ** torch.arange(n, dtype=torch.float64)",
        f"rng = np.random.default_rng({question.seed})",
        "W = torch.tensor(rng.normal(0, (2 / (n + m)) ** 0.5, (m, n))).repeat(len(sparsities), 1, 1)",
        "b = torch.zeros(len(sparsities), 1, n, dtype=torch.float64)",
        "",
        "def loss_of(x, W, b):",
        f"    return (importance * (x - {through}) ** 2).sum(-1).mean(-1)",
        "",
        "with torch.enable_grad():",
        f"    adam = torch.optim.Adam([W.requires_grad_(), b.requires_grad_()], lr={RATE})",
        "    slower = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)",
        "    for _ in range(steps):",
        f"        on, value = torch.from_numpy(rng.random((2, {BATCH}, n)))",
        "        x = torch.where(on < 1 - sparsities[:, None, None], value, 0.0)",
        "        adam.zero_grad()",
        "        loss_of(x, W, b).sum().backward()",
        "        adam.step()",
        "        slower.step()",
        "W, b = W.detach(), b.detach()",
        "",
        "# Examples in which each feature is on as often as it should be, with evenly spaced values",
        f"ranks = np.tile(np.arange({EXAMPLES}), (n, 1))",
        f"ranks = np.random.default_rng([{question.seed}, 1]).permuted(ranks, axis=1)",
        "ranks = torch.from_numpy(ranks.T.astype(float))",
        f"counts = [max(round({EXAMPLES} * (1 - s)), 1) for s in sparsities.tolist()]",
        "loss = [loss_of(torch.where(ranks < c, (ranks + 0.5) / c, 0.0), w, a) for c, w, a in zip(counts, W, b)]",
        "spread = ((1 - sparsities) / 3 - (1 - sparsities) ** 2 / 4)[:, None] * importance",
        "",
        "gram = W.mT @ W",
        "norms = W.norm(dim=1)",
        f"shared = (gram / norms.where(norms > {POINTS}, torch.nan)[..., None]) ** 2",
        f"at = sparsities.tolist().index({question.sparsity!r})",
        "return {",
        '    "sparsity": sparsities[at].item(),',
        '    "step": steps,',
        '    "steps": steps,',
        '    "importance": importance,',
        '    "sparsities": sparsities,',
        '    "loss": torch.stack(loss),',
        '    "apart": spread[:, m:].sum(1),',
        '    "nothing": spread.sum(1),',
        f'    "represented": (norms > {REPRESENTED}).sum(1).tolist(),',
        '    "norms": norms,',
        '    "interference": shared.sum(2) - shared.diagonal(dim1=1, dim2=2),',
        '    "dimensionality": norms**2 / shared.sum(2),',
        '    "gram": gram[at],',
        '    "weights": W[at],',
        '    "bias": b[at, 0],',
        "}",
    ]
