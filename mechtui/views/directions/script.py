"""Random directions beside the model's, and sparse vectors recovered from few numbers, as written down."""

from __future__ import annotations

from mechtui.views.directions import RECOVERED, TRIALS, Directions
from mechtui.views.script import Around, ScriptError

# Bins, rounds and when to stop, as the model process has them.
BINS, WIDE, ROUNDS, STILL = 40, 4.5, 1500, 1e-7
EACH_RUN = False
# Which of two pairs is closer is a matter of the last digit.
OMITS = ("closest",)

DRAWS = {
    "unembed": (
        "W = bridge.unembed.W_U.detach().float()",
        "W = W.T if W.shape[0] == bridge.cfg.d_model else W",
    ),
    "embed": ("W = bridge.embed.W_E.detach().float()",),
    "neurons": (
        "W = [block.mlp.W_out.detach().float() for block in bridge.blocks]",
        "W = torch.cat([each if each.shape[1] == bridge.cfg.d_model else each.T for each in W])",
    ),
}


def lines(question: Directions, around: Around) -> list[str]:
    if around.folded and question.of == "unembed":
        raise ScriptError("the numbers are of folded unembeddings, and the program's are not folded")
    draws = DRAWS.get(question.of) or (f"W = {around.dictionary(question.of)}.D",)
    centred = " - W.mean(0)" if question.of in ("unembed", "embed") else ""
    return [
        f"n, k = {question.count}, {question.dims or around.shape.d_model}",
        f"rng = np.random.default_rng({question.seed})",
        *draws,
        f"own = W[np.sort(rng.choice(len(W), min(n, len(W)), replace=False))]{centred}",
        "own = own[own.norm(dim=-1) > 0]",
        "random = torch.from_numpy(rng.standard_normal((n, k), dtype=np.float32))",
        "",
        "def cosines(rows):",
        "    unit = rows / rows.norm(dim=-1, keepdim=True)",
        "    first, second = torch.triu_indices(len(unit), len(unit), 1)",
        "    return (unit @ unit.T)[first, second].numpy()",
        "",
        "both = [cosines(rows) for rows in (random, own)]",
        f"most = max(min(np.abs(each).max(), {WIDE} * np.square(each).mean() ** 0.5) for each in both)",
        f"edges = np.linspace(-most, most, {2 * BINS + 2})",
        "",
        "def said(rows, found):",
        "    return {",
        '        "count": len(rows),',
        '        "share": (np.histogram(np.clip(found, -most, most), edges)[0] / len(found)).tolist(),',
        '        "mean": float(found.mean()),',
        '        "sd": float(found.std()),',
        '        "largest": float(found[np.abs(found).argmax()]),',
        "    }",
        "",
        "def least(A, y):",
        "    # The x of least sum of |x| with A x = y, by the alternating direction method",
        "    q, r = torch.linalg.qr(A.mT)",
        "    start = q @ torch.linalg.solve_triangular(r.mT, y[..., None], upper=False)",
        "    step = start.abs().amax(1, keepdim=True)",
        "    z, u = start, torch.zeros_like(start)",
        f"    for _ in range({ROUNDS}):",
        "        x = z - u",
        "        x = x - q @ (q.mT @ x) + start",
        "        before, z = z, x + u",
        "        z = z.sign() * (z.abs() - step).clamp_min(0)",
        "        u = u + x - z",
        "        moved = ((z - before).abs() / step.clamp_min(1e-300)).max().item()",
        f"        if moved < {STILL} and (x - z).abs().max().item() < {STILL}:",
        "            break",
        "    return z[..., 0]",
        "",
        f"numbers, errors = {list(question.numbers)}, []",
        "for count in numbers:",
        f"    rng = np.random.default_rng([{question.seed}, count])",
        f"    x = np.zeros(({TRIALS}, {question.features}))",
        "    for row in x:",
        f"        on = rng.choice({question.features}, {question.active}, replace=False)",
        f"        row[on] = rng.standard_normal({question.active})",
        "    x = torch.from_numpy(x)",
        f"    A = torch.from_numpy(rng.standard_normal(({TRIALS}, count, {question.features})))",
        "    missing = least(A, (A @ x[..., None])[..., 0]) - x",
        "    errors.append((missing.norm(dim=-1) / x.norm(dim=-1)).numpy())",
        "low, error, high = np.quantile(errors, (0.25, 0.5, 0.75), axis=1).tolist()",
        "return {",
        '    "dims": k,',
        f'    "of": "{question.of}",',
        '    "edges": edges.tolist(),',
        '    "random": said(random, both[0]),',
        '    "model": said(own, both[1]),',
        '    "bound": float(np.sqrt(2 * np.log(n * (n - 1)) / k)),',
        '    "numbers": numbers,',
        '    "error": error,',
        '    "low": low,',
        '    "high": high,',
        f'    "recovered": (np.array(errors) < {RECOVERED}).mean(1).tolist(),',
        f'    "rule": {question.rule!r},',
        f'    "trials": {TRIALS},',
        "}",
    ]
