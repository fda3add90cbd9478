"""Learn a dictionary of features: a sparse autoencoder, or a transcoder, from activations.

The features that are on are the largest of a whole batch (batch-top-k, Bussmann et al. 2024), so a token that needs
more has more. Reconstructions from the first features alone count too (Matryoshka, Bussmann et al. 2025), so the
first ones stand for what is common, as "a name", and the later ones for what is special, as " Mary". Features that
no longer come on are given what the others leave (auxiliary loss, Gao et al. 2024). What is written is a JumpReLU
dictionary: a feature is on where it passes one threshold, whatever the other tokens are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mechtui import __version__

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"


@dataclass(frozen=True)
class Recipe:
    """How one dictionary is learned.

    Attributes:
        model: what `--model` calls the model.
        hook: the activation that is read, by TransformerLens's name.
        hook_out: the activation that is written, of a transcoder; empty: the same as is read.
        features: how many. groups: how many of them, from the first on, must do alone; the last is all of them.
        active: how many are on at a token, in the mean.
        tokens, steps: in a step, and steps. rate: Adam's. idle: steps after which a feature counts as dead.
    """

    model: str
    hook: str
    hook_out: str = ""
    features: int = 2048
    groups: tuple[int, ...] = (64, 256, 1024, 2048)
    active: int = 20
    tokens: int = 1024
    steps: int = 2000
    rate: float = 2e-3
    idle: int = 100
    helpers: int = 128
    helpers_weight: float = 0.03
    rows: int = 1600


class Learner(nn.Module):
    """The dictionary while it is learned, of activations whose mean square is 1 in every dimension.

    encoder [d_in, feature], decoder [feature, d_out] of rows of length 1, and the biases of both.
    """

    def __init__(self, recipe: Recipe, inputs: Tensor, outputs: Tensor, seed: int) -> None:
        """inputs, outputs: activations [token, d], whose means and lengths are taken."""
        super().__init__()
        self.recipe = recipe
        generator = torch.Generator().manual_seed(seed)
        self.same = inputs is outputs
        (self.mean_in, self.scale_in), (self.mean_out, self.scale_out) = _measures(inputs), _measures(outputs)
        d_in, d_out = inputs.shape[1], outputs.shape[1]
        rows = nn.functional.normalize(torch.randn(recipe.features, d_out, generator=generator), dim=1)
        self.decoder = nn.Parameter(rows)
        read = (
            rows.T
            if self.same
            else nn.functional.normalize(torch.randn(d_in, recipe.features, generator=generator), dim=0)
        )
        self.encoder = nn.Parameter(read.clone())
        self.encoder_bias = nn.Parameter(torch.zeros(recipe.features))
        self.decoder_bias = nn.Parameter(torch.zeros(d_out))
        self.threshold = 0.0
        self.last_on = torch.zeros(recipe.features, dtype=torch.long)
        self.step_number = 0

    def before(self, inputs: Tensor) -> Tensor:
        """What the features read at activations [token, d_in] -> [token, feature]."""
        x = (inputs - self.mean_in) / self.scale_in
        if self.same:
            x = x - self.decoder_bias
        return x @ self.encoder + self.encoder_bias

    def loss(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Of a batch; learns the threshold and notes which features are on."""
        recipe = self.recipe
        before = self.before(inputs)
        target = (outputs - self.mean_out) / self.scale_out
        least = self._least(before.detach(), recipe.active * len(inputs))
        self.threshold = least if not self.step_number else 0.99 * self.threshold + 0.01 * least
        values = before * (before >= least)
        self.step_number += 1
        self.last_on[values.detach().any(0)] = self.step_number
        made = self.decoder_bias.expand_as(target)
        total = torch.zeros(())
        begin = 0
        for end in recipe.groups:
            made = made + values[:, begin:end] @ self.decoder[begin:end]
            total = total + (target - made).square().mean()
            begin = end
        dead = (self.step_number - self.last_on > recipe.idle).nonzero()[:, 0]
        if len(dead):
            left = (target - made).detach()
            weak = before[:, dead]
            strongest = weak.topk(min(recipe.helpers, len(dead)), dim=1)
            helped = torch.zeros_like(weak).scatter(1, strongest.indices, strongest.values.relu()) @ self.decoder[dead]
            total = total + recipe.helpers_weight * (left - helped).square().mean()
        return total / len(recipe.groups)

    def _least(self, before: Tensor, count: int) -> float:
        """The least of the `count` largest positive entries; those far below the threshold are not looked at."""
        for floor in (self.threshold / 2, 0.0):
            above = before[before > floor]
            if len(above) > count:
                return float(above.kthvalue(len(above) - count + 1).values)
        return float(above.min()) if len(above) else 0.0

    @torch.no_grad()
    def unit(self) -> None:
        """Decoder rows back to length 1."""
        self.decoder.data = nn.functional.normalize(self.decoder.data, dim=1)

    @torch.no_grad()
    def written(self) -> dict[str, Tensor]:
        """Weights as SAELens names them, for activations as the model has them, float16."""
        encoder = self.encoder / self.scale_in * self.scale_out
        bias = self.encoder_bias * self.scale_out
        decoder_bias = self.decoder_bias * self.scale_out + self.mean_out
        if not self.same:
            bias = bias - self.mean_in @ encoder
        state = {
            "W_enc": encoder,
            "b_enc": bias,
            "W_dec": self.decoder,
            "b_dec": decoder_bias,
            "threshold": torch.full_like(bias, self.threshold * self.scale_out),
        }
        return {name: tensor.to(torch.float16).contiguous() for name, tensor in state.items()}


def _measures(activations: Tensor, at_most: int = 50_000) -> tuple[Tensor, float]:
    """Mean [d] and root mean square about it, over some of the tokens [token, d]."""
    some = activations[:: 1 + len(activations) // at_most].float()
    mean = some.mean(0)
    return mean, float((some - mean).square().mean().sqrt())


def config(recipe: Recipe, d_in: int, d_out: int, context: int) -> dict[str, object]:
    """cfg.json as SAELens 6 writes it."""
    metadata: dict[str, object] = {
        "model_name": recipe.model,
        "hook_name": recipe.hook,
        "hook_head_index": None,
        "prepend_bos": True,
        "context_size": context,
        "dataset_path": "mechtui.embedded.text",
        "made_by": f"mechtui {__version__}",
    }
    shared: dict[str, object] = {
        "d_in": d_in,
        "d_sae": recipe.features,
        "dtype": "float32",
        "device": "cpu",
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if recipe.hook_out:
        metadata["hook_name_out"] = recipe.hook_out
        return shared | {
            "architecture": "jumprelu_transcoder",
            "d_out": d_out,
            "apply_b_dec_to_input": False,
            "metadata": metadata,
        }
    return shared | {"architecture": "jumprelu", "apply_b_dec_to_input": True, "metadata": metadata}


def learn(
    recipe: Recipe,
    inputs: Tensor,
    outputs: Tensor,
    *,
    seed: int,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Learner:
    """Learn from activations [token, d]; `inputs is outputs` for an autoencoder. The same seed gives the same."""
    learner = Learner(recipe, inputs, outputs, seed)
    optimiser = torch.optim.Adam(learner.parameters(), lr=recipe.rate, betas=(0.9, 0.99), fused=True)
    for step, rows in enumerate(_batches(len(inputs), recipe, seed)):
        # Up in the first twentieth of the steps, down to nothing in the last third.
        done = step / recipe.steps
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1.0, 20 * done + 0.01, 3 * (1 - done))
        taken = inputs[rows].float()
        loss = learner.loss(taken, taken if learner.same else outputs[rows].float())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        learner.unit()
        progress(step + 1, loss.item())
    return learner


@torch.no_grad()
def fit_threshold(learner: Learner, inputs: Tensor) -> None:
    """The threshold at which as many features are on as the recipe says, over some of the tokens."""
    some = inputs[:: 1 + len(inputs) // 20_000].float()
    before = torch.cat([learner.before(part) for part in torch.split(some, 1024)]).flatten()
    above = before[before > learner.threshold / 2]
    learner.threshold = float(above.kthvalue(len(above) - learner.recipe.active * len(some) + 1).values)


def _batches(count: int, recipe: Recipe, seed: int) -> Iterator[Tensor]:
    """Rows of every step: all tokens in a new order, again and again."""
    generator = torch.Generator().manual_seed(seed + 1)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(recipe.steps):
        if len(order) < recipe.tokens:
            order = torch.cat([order, torch.randperm(count, generator=generator)])
        yield order[: recipe.tokens]
        order = order[recipe.tokens :]


def save(learner: Learner, folder: Path, context: int) -> None:
    """Write the folder: cfg.json, sae_weights.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    state = learner.written()
    d_in, d_out = state["W_enc"].shape[0], state["W_dec"].shape[1]
    (folder / CONFIG).write_text(json.dumps(config(learner.recipe, d_in, d_out, context), indent=2) + "\n")
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
