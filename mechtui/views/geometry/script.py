"""The principal components of words, by numpy's singular values of the clean run's activations."""

from __future__ import annotations

from mechtui.session.sites import hook
from mechtui.views.geometry import COMPONENTS, Geometry
from mechtui.views.script import Around, quoted

# The program's edits are made for the prompt's positions: only the clean runs are made again.
EACH_RUN = False
OMITS = ("left_out",)


def lines(question: Geometry, around: Around) -> list[str]:
    layer = question.at if question.at >= 0 else around.shape.n_layers // 2
    where = hook(layer, question.part)
    return [
        "# Of the clean model: the program's edits are made for the prompt's positions.",
        f"words = [{', '.join(map(quoted, question.shown_words))}]",
        f"texts = [{', '.join(map(quoted, question.texts))}]",
        "rows = []",
        "for each in texts:",
        "    _, kept = bridge.run_with_cache(encode(each).long()[None])",
        f'    rows.append(kept["{where}"][0, -1].double())',
        "x = torch.stack(rows)",
        "x = x - x.mean(0)",
        "_, spread, axes = torch.linalg.svd(x, full_matrices=False)",
        f"axes, explained = axes[: min({COMPONENTS}, len(x) - 1)], spread**2 / (spread**2).sum()",
        "axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()",
        "return {",
        '    "words": words,',
        f'    "layer": {layer},',
        f'    "part": "{question.part}",',
        '    "explained": explained[: len(axes)],',
        '    "coordinates": x @ axes.T,',
        '    "in_clean": x @ axes.T,',
        "}",
    ]
