"""The clean loss of a text file, window by window."""

from __future__ import annotations

from mechtui.views.perplexity import EXAMPLE, WINDOW, Perplexity
from mechtui.views.script import Around, ScriptError, quoted

# The program's edits are made for the prompt's positions: only the clean text is read again.
EACH_RUN = False
# Words for whoever looks at the list, and what the edits left out.
OMITS = ("texts", "left_out")


def lines(question: Perplexity, around: Around) -> list[str]:
    if not question.file:
        raise ScriptError(f"no text is named, as in {EXAMPLE}")
    window = question.window or min(WINDOW, around.shape.n_ctx)
    stride = question.stride or max(window // 2, 1)
    return [
        "# Of the clean model: the program's edits are made for the prompt's positions.",
        f"file = pathlib.Path({quoted(question.file)}).expanduser()",
        'ids = tokenizer.encode(file.read_text("utf-8-sig"), add_special_tokens=False)',
        f'front, window, stride = encode("").long().tolist(), {window}, {stride}',
        "loss, counts, counted = [], [], 0 if front else 1",
        "for begin in range(0, max(len(ids), 1), stride):",
        "    end = min(begin + window - len(front), len(ids))",
        "    if end > counted:",
        "        # The tokens that no window before has counted",
        "        part = torch.tensor([[*front, *ids[begin:end]]])",
        "        first = len(front) + counted - begin",
        "        before = bridge(part)[0, first - 1 : -1].float().log_softmax(-1)",
        "        loss.append(-before.gather(-1, part[0, first:, None]).mean().item())",
        "        counts.append(len(before))",
        "    counted = max(end, counted)",
        "    if end == len(ids):",
        "        break",
        "mean = float(np.average(loss, weights=counts))",
        "return {",
        '    "loss": torch.tensor(loss),',
        '    "counts": counts,',
        '    "windows": len(loss),',
        '    "tokens": sum(counts),',
        '    "window": window,',
        '    "stride": stride,',
        '    "counted": sum(counts),',
        '    "mean": mean,',
        '    "perplexity": float(np.exp(mean)),',
        "}",
    ]
