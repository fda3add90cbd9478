"""Where neurons or features fire most in a text file, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mechtui.views.contexts import BESIDE, BINS, KEPT, WINDOW, Contexts
from mechtui.views.script import Around, ScriptError, quoted

# Contexts are of the model without edits.
EACH_RUN = False
# What is said by people, and of files, is no number of the model's.
OMITS = ("labels", "note")


def lines_of(question: Contexts, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    answer = answers[0]
    if answer is None:
        return lines(question, around)
    if answer["counted"] < answer["tokens"]:
        raise ScriptError("the text was not read to its end")
    return _lines(question, around, answer["units"])


def lines(question: Contexts, around: Around) -> list[str]:
    if not question.names:
        raise ScriptError("no neuron or feature is named, as in contexts L5N12")
    return _lines(question, around, question.names)


def _neurons(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines that come first, and those that note a window in `seen`."""
    picks = [tuple(map(int, name[1:].split("N"))) for name in names]
    return [
        f"picks = {picks}  # layer, neuron",
        'gated = getattr(bridge.blocks[0].mlp, "W_gate", None) is not None',
        'hooks = {"value": "hook_post"}',
        'hooks |= {"gate": "hook_pre", "into": "hook_pre_linear"} if gated else {}',
        "seen = {name: [] for name in hooks}  # of each window [unit, token that counts]",
    ], [
        "        for name, hook in hooks.items():",
        "            over = [kept[f'blocks.{layer}.mlp.{hook}'][0, :, n].float() for layer, n in picks]",
        "            seen[name].append(torch.stack(over)[:, len(front) + counted - begin :])",
    ]


def _features(names: Sequence[str], sae: str, around: Around) -> tuple[list[str], list[str]]:
    of, hook = around.dictionary(sae), quoted(around.about(sae).reads)
    return [
        f"picks = {[int(name.rpartition('F')[2]) for name in names]}  # features",
        'gated, seen = False, {"value": []}  # of each window [unit, token that counts]',
    ], [
        f"        acts = {of}.encode({of}.rows(kept[{hook}])[0])[:, picks].T",
        '        seen["value"].append(acts[:, len(front) + counted - begin :])',
    ]


def _lines(question: Contexts, around: Around, names: Sequence[str]) -> list[str]:
    if not question.file:
        raise ScriptError('samples are drawn anew each time; a program reads a text file, as in contexts L5N12 "a.txt"')
    window = question.window or min(WINDOW, around.shape.n_ctx)
    first, noted = _features(names, question.sae, around) if question.sae else _neurons(names)
    sign = "-" if question.end == "lowest" else ""
    begins, placed, contexts = around.begins, [], "row"
    if question.sae:
        begins = {"yes": True, "no": False}.get(around.session.bos, around.begins)
        placed = ['best["value"][best["value"] <= 0] = torch.nan  # a feature that is off has no place']
        contexts = "row[: int((each > 0).sum())]"
    return [
        *first,
        f"file = pathlib.Path({quoted(question.file)}).expanduser()",
        'ids = tokenizer.encode(file.read_text("utf-8-sig"), add_special_tokens=False)',
        f"front = [tokenizer.bos_token_id] if {begins} and tokenizer.bos_token_id is not None else []",
        f"body = {window} - len(front)",
        f"step = body - max(min({window} // 4, body - 1), 0 if front else 1)",
        "begins, counted = [], 0 if front else 1",
        "for begin in range(0, max(len(ids), 1), step):",
        "    end = min(begin + body, len(ids))",
        "    if end > counted:",
        "        _, kept = bridge.run_with_cache(torch.tensor([[*front, *ids[begin:end]]]))",
        *noted,
        "        begins += [begin] * (end - counted)",
        "    counted = max(end, counted)",
        "    if end == len(ids):",
        "        break",
        "first = 0 if front else 1",
        "whole = {name: torch.cat(parts, 1) for name, parts in seen.items()}",
        "# Of each the strongest, the earlier of equal ones first.",
        f'order = ({sign}whole["value"]).sort(dim=1, descending=True, stable=True).indices[:, :{KEPT}]',
        "best = {name: torch.full((len(picks), " + str(KEPT) + "), torch.nan) for name in whole}",
        "for name, each in whole.items():",
        "    best[name][:, : order.shape[1]] = each.gather(1, order)",
        *placed,
        "",
        "def said(part):",
        "    return tokenizer.decode(part, clean_up_tokenization_spaces=False)",
        "",
        "def context(at):",
        "    begin, place = begins[at], first + at",
        "    return {",
        f'        "before": said(ids[max(begin, place - {BESIDE}) : place]),',
        '        "token": text(ids[place]),',
        '        "id": ids[place],',
        f'        "after": said(ids[place + 1 : min(begin + body, place + 1 + {BESIDE})]),',
        '        "prompt": said(ids[begin : place + 1]),',
        "    }",
        "",
        "# Bins part 0 .. the least power of two above all values.",
        f'strength = {sign}whole["value"]',
        "reach = torch.where(strength.amax(1) > 0, 2.0 ** torch.frexp(strength.amax(1)).exponent, torch.nan)",
        f"bins = (strength / reach[:, None] * {BINS}).nan_to_num(0).long()",
        f"histogram = torch.zeros(len(picks), {BINS}).scatter_add(1, bins.clamp(min=0), (strength > 0).float())",
        'fires = whole["gate" if gated else "value"] > 0',
        "return {",
        f'    "text": {quoted(question.file)},',
        '    "counted": len(begins),',
        '    "tokens": len(begins),',
        f'    "window": {window},',
        f'    "units": {list(names)!r},',
        '    "rate": fires.float().mean(1),',
        '    "histogram": histogram,',
        f'    "bin": reach / {BINS},',
        '    "value": best["value"],',
        '    "gate": best.get("gate"),',
        '    "into": best.get("into"),',
        f'    "contexts": [[context(at) for at in {contexts}] for row, each in zip(order.tolist(), best["value"])],',
        "}",
    ]
