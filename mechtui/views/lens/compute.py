"""The logit lens, a layer at a time."""

from __future__ import annotations

import numpy as np
import torch

from mechtui.engine.api import Answers, Need, OpenSession, Run, each
from mechtui.views.lens import Lens, LensAnswer


def needs(question: Lens, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Lens, opened: OpenSession) -> Answers:
    answer_id = opened.targets_at(len(opened.ids) - 1)[0]

    @torch.inference_mode()
    def answer(run: Run) -> LensAnswer:
        top, prob, rank = [], [], []
        for layer in range(opened.shape.n_layers):
            opened.check_cancelled()
            logits = opened.readout.logits(run.resid(layer + 1)).float()
            best = logits.max(-1)
            top.append(best.indices.cpu().numpy())
            prob.append((best.values - logits.logsumexp(-1)).exp().cpu().numpy())
            if answer_id is not None:
                rank.append((logits > logits[:, answer_id, None]).sum(-1).cpu().numpy())
        ids = np.stack(top).astype(np.int32)
        return LensAnswer(
            ids,
            np.stack(prob),
            tuple(opened.token(int(id)) for id in np.unique(ids)),
            np.stack(rank).astype(np.int32) if rank else None,
        )

    return each(opened, answer)
