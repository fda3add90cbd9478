"""Where neurons fire most in a text file, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtui.views.contexts import BESIDE, KEPT, WINDOW, Contexts
from mechtui.views.script import Around, ScriptError, quoted

# Contexts are of the model without edits.
EACH_RUN = False


def lines_of(question: Contexts, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    answer = answers[0]
    if answer is None:
        return lines(question, around)
    if answer["counted"] < answer["tokens"]:
        raise ScriptError("the text was not read to its end")
    return _lines(question, around, answer["neurons"])


def lines(question: Contexts, around: Around) -> list[str]:
    if not question.neurons:
        raise ScriptError("no neuron is named, as in contexts L5N12")
    return _lines(question, around, [f"L{layer}N{neuron}" for layer, neuron in question.neurons])


def _lines(question: Contexts, around: Around, names: list[str]) -> list[str]:
    if not question.file:
        raise ScriptError('samples are drawn anew each time; a program reads a text file, as in contexts L5N12 "a.txt"')
    window = question.window or min(WINDOW, around.shape.n_ctx)
    picks = [tuple(map(int, name[1:].split("N"))) for name in names]
    sign = "-" if question.end == "lowest" else ""
    return [
        f"picks = {picks}  # layer, neuron",
        f"file = pathlib.Path({quoted(question.file)}).expanduser()",
        'ids = tokenizer.encode(file.read_text("utf-8-sig"), add_special_tokens=False)',
        f"front = [tokenizer.bos_token_id] if {around.begins} and tokenizer.bos_token_id is not None else []",
        f"body = {window} - len(front)",
        f"step = body - max(min({window} // 4, body - 1), 0 if front else 1)",
        'gated = getattr(bridge.blocks[0].mlp, "W_gate", None) is not None',
        'hooks = {"value": "hook_post"}',
        'hooks |= {"gate": "hook_pre", "into": "hook_pre_linear"} if gated else {}',
        "seen = {name: [] for name in hooks}  # of each window [neuron, token that counts]",
        "begins, counted = [], 0 if front else 1",
        "for begin in range(0, max(len(ids), 1), step):",
        "    end = min(begin + body, len(ids))",
        "    if end > counted:",
        "        _, kept = bridge.run_with_cache(torch.tensor([[*front, *ids[begin:end]]]))",
        "        for name, hook in hooks.items():",
        "            over = [kept[f'blocks.{layer}.mlp.{hook}'][0, :, n].float() for layer, n in picks]",
        "            seen[name].append(torch.stack(over)[:, len(front) + counted - begin :])",
        "        begins += [begin] * (end - counted)",
        "    counted = max(end, counted)",
        "    if end == len(ids):",
        "        break",
        "first = 0 if front else 1",
        "whole = {name: torch.cat(parts, 1) for name, parts in seen.items()}",
        "# Of each neuron the strongest, the earlier of equal ones first.",
        f'order = ({sign}whole["value"]).sort(dim=1, descending=True, stable=True).indices[:, :{KEPT}]',
        "best = {name: torch.full((len(picks), " + str(KEPT) + "), torch.nan) for name in whole}",
        "for name, each in whole.items():",
        "    best[name][:, : order.shape[1]] = each.gather(1, order)",
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
        'fires = whole["gate" if gated else "value"] > 0',
        "return {",
        f'    "text": {quoted(question.file)},',
        '    "counted": len(begins),',
        '    "tokens": len(begins),',
        f'    "window": {window},',
        '    "neurons": [f"L{layer}N{n}" for layer, n in picks],',
        '    "rate": fires.float().mean(1),',
        '    "value": best["value"],',
        '    "gate": best.get("gate"),',
        '    "into": best.get("into"),',
        '    "contexts": [[context(at) for at in row] for row in order.tolist()],',
        "}",
    ]
