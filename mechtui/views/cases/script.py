"""Every case's prompt run alone, and what the logit differences say together. Edits are of each case's own positions,
which no program has: what they do over the cases is left to `mechtui run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtui.evidence import SAMPLES, SEED, SHARE
from mechtui.views.cases import Cases
from mechtui.views.script import Around, ScriptError, quoted

EACH_RUN = False
OMITS = ("of", "cases", "alone")


def lines(question: Cases, around: Around) -> list[str]:
    raise ScriptError("the program does not know which cases were made: it is written once they have been answered")


def lines_of(question: Cases, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    clean, session = answers[0], around.session
    if clean is None:
        return lines(question, around)
    each = []
    for case in clean["cases"]:
        said = [getattr(session, name) if case[name] is None else case[name] for name in ("prompt", "answer", "foil")]
        texts = map(quoted, said)
        each.append("    None," if case["problem"] else f"    ({', '.join(texts)}),")
    return [
        "cases = [  # prompt, answer, foil",
        *each,
        "]",
        "",
        "def difference(prompt, answer, foil):",
        "    # logit(answer) - logit(foil) after the prompt's last token",
        "    logits = bridge.run_with_hooks(encode(prompt), fwd_hooks=[])[0, -1].float()",
        "    ids = [tokenizer.encode(text, add_special_tokens=False)[0] for text in (answer, foil)]",
        "    return (logits[ids[0]] - logits[ids[1]]).item()",
        "",
        "logit_diff = [None if case is None else difference(*case) for case in cases]",
        "known = np.array([each for each in logit_diff if each is not None], dtype=float)",
        "n, mean = len(known), known.mean() if len(known) else None",
        "low = high = sd = None",
        "if n > 1:",
        "    # The bootstrap: means of as many cases, drawn with replacement.",
        f"    drawn = known[np.random.default_rng({SEED}).integers(0, n, ({SAMPLES}, n))].mean(1)",
        f"    low, high = np.quantile(drawn, [{(1 - SHARE) / 2!r}, {(1 + SHARE) / 2!r}])",
        "    sd = known.std(ddof=1)",
        "share = (np.sign(known) == np.sign(mean)).mean() if n else None",
        'over = {"n": n, "mean": mean, "low": low, "high": high, "sd": sd, "share": share}',
        'return {"over": over, "logit_diff": logit_diff}',
    ]
