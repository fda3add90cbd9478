"""What a token's embedding alone says of the next one, and what the model says."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession, Run, each
from mechtui.none import NONE
from mechtui.session.grammar.edits import parse_edit
from mechtui.views.bigrams import Bigrams, BigramsAnswer

# Positions looked at together: 64 rows of a 50,000-token vocabulary are 13 MB, and there are two of each.
POSITIONS = 64
POS = Need("hook_pos_embed")


def needs(question: Bigrams, opened: OpenSession) -> list[Need]:
    return [POS] if opened.shape.has_pos and not question.mlps else []


def answers(question: Bigrams, opened: OpenSession) -> Answers:
    return each(opened, lambda run: _answer(opened, run, question), question.asked())


@torch.inference_mode()
def _answer(opened: OpenSession, run: Run, question: Bigrams) -> BigramsAnswer:
    stream = _through_mlps(opened, run) if question.mlps else _embedded(opened, run)
    count, top = len(run.ids), min(question.top, opened.shape.d_vocab)
    loss = np.full((2, count), NONE, dtype=np.float32)
    probs = np.zeros((2, count, top), dtype=np.float32)
    best: tuple[list[list[int]], list[list[int]]] = [], []
    for begin in range(0, count, POSITIONS):
        end = min(begin + POSITIONS, count)
        opened.check_cancelled()
        for which, logits in enumerate(
            (opened.readout.logits(stream[begin:end]).float(), run.logits(slice(begin, end)))
        ):
            log_probs = logits.log_softmax(-1)
            values, ids = log_probs.topk(top)
            probs[which, begin:end] = values.exp().cpu().numpy()
            best[which].extend(ids.tolist())
            came = torch.tensor(run.ids[begin + 1 : end + 1], dtype=torch.long, device=logits.device)[:, None]
            said = -log_probs[: len(came)].gather(-1, came)[:, 0]
            loss[which, begin : begin + len(came)] = said.cpu().numpy()
    known = loss[:, :-1].astype(np.float64)
    means = known.mean(1) if count > 1 else np.full(2, NONE)
    named = [tuple(tuple(opened.token(id) for id in row) for row in rows) for rows in best]
    return BigramsAnswer(
        bigrams=loss[0],
        model=loss[1],
        best=named[0],
        probs=probs[0],
        model_best=named[1],
        model_probs=probs[1],
        uniform=math.log(opened.shape.d_vocab),
        mean_bigrams=float(means[0]),
        mean_model=float(means[1]),
    )


def _embedded(opened: OpenSession, run: Run) -> Tensor:
    """[pos, d_model]: the tokens' embeddings as the first layer reads them, without their positions."""
    entered = run.resid(0)
    return entered - run.take(POS).to(entered) if opened.shape.has_pos else entered


def _through_mlps(opened: OpenSession, run: Run) -> Tensor:
    """[pos, d_model]: what leaves the last layer where no position was added and no attention has written."""
    lines = ["zero L*.attn", *(["zero pos"] if opened.shape.has_pos else [])]
    silent = tuple(edit for line in lines for edit in opened.hook_edits_of(parse_edit(line), run.ids, True))
    return opened.real_run(run.ids, (*run.edits, *silent)).resid(opened.shape.n_layers)
