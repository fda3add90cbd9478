"""Translators of a lens: per layer a matrix and a bias, from the residual stream there to the last one.

Read from safetensors files only. Two kinds, by the names of their tensors; h is what leaves block L, a row:

J.L [d_model, d_model], b.L [d_model]    a Jacobian lens: h J.T + b. Gurnee et al. 2026; transformer-lens's own matrices
layer_translators.L+1.weight, .bias      a tuned lens: h + h W.T + b. Belrose et al. 2023; the library tuned-lens counts
                                         by the block that h enters, and writes the names without layer_translators
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import PurePath
from typing import Literal

from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechtui.engine.errors import SessionError
from mechtui.engine.vector_files import state
from mechtui.link.messages import Ready
from mechtui.session.grammar.words import short
from mechtui.session.paths import PathError, reason, to_read

Kind = Literal["jacobian", "tuned"]

MOST_BYTES = 1 << 30
PICKLES = (".pt", ".pth", ".bin", ".pkl")
JACOBIAN = re.compile(r"([Jb])\.([0-9]{1,5})")
TUNED = re.compile(r"(?:layer_translators\.)?([0-9]{1,5})\.(weight|bias)")


@dataclass(frozen=True, eq=False)
class Translator:
    """kind: of lens. name: of the lens and its file, as it is called on the screen. mark: another for another content.
    matrices [d_model, d_model], biases [d_model]: by layer, of all but the last, in the file's own precision."""

    kind: Kind
    name: str
    mark: bytes
    matrices: Mapping[int, Tensor]
    biases: Mapping[int, Tensor]

    def translated(self, layer: int, stream: Tensor) -> Tensor:
        """What leaves block `layer` [..., d_model] as the last block would leave it; of the last block itself."""
        if layer not in self.matrices:
            return stream
        x = stream.float()
        found = x @ self.matrices[layer].to(x).T
        if layer in self.biases:
            found = found + self.biases[layer].to(x)
        return (x + found if self.kind == "tuned" else found).to(stream.dtype)


def read(file: str, ready: Ready) -> Translator:
    """The lens in a file, for a model. Raises SessionError."""
    if file.lower().endswith(PICKLES):
        raise SessionError(
            f"{short(file)} is a pickle, which may hold code: a lens is read from safetensors only, see `lens file` in "
            "docs/lines.md for how to write one from it"
        )
    now = state(file)
    try:
        path = to_read(file)
        if (size := path.stat().st_size) > MOST_BYTES:
            raise SessionError(f"{short(file)} takes {size / 2**30:.1f} GiB, and a lens may take {MOST_BYTES >> 30}")
        with safe_open(path, framework="pt") as opened:
            said = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    except PathError as error:
        raise SessionError(str(error)) from error
    except OSError as error:
        raise SessionError(f"{short(file)} cannot be read: {reason(error)}") from error
    except SafetensorError as error:
        raise SessionError(f"{short(file)} is no safetensors file ({error})") from error
    kind, matrices, biases = _sorted(file, tensors)
    _check(file, kind, matrices, biases, ready)
    name = f"{'Jacobian' if kind == 'jacobian' else 'tuned'} lens {PurePath(file).stem}"
    if said.get("model") and said["model"] != ready.name:
        name += f", fitted on {short(said['model'])}"
    last = ready.shape.n_layers - 1
    matrices, biases = ({layer: each for layer, each in of.items() if 0 <= layer < last} for of in (matrices, biases))
    return Translator(kind, name, blake2b(repr((file, now)).encode(), digest_size=16).digest(), matrices, biases)


def _sorted(file: str, tensors: Mapping[str, Tensor]) -> tuple[Kind, dict[int, Tensor], dict[int, Tensor]]:
    """(kind, matrices, biases), the latter by the layer that h leaves: -1 are the embeddings. Raises SessionError."""
    jacobian = {name: found for name in tensors if (found := JACOBIAN.fullmatch(name))}
    if jacobian:
        by = {
            letter: {int(found[2]): tensors[name] for name, found in jacobian.items() if found[1] == letter}
            for letter in "Jb"
        }
        return "jacobian", by["J"], by["b"]
    tuned = {name: found for name in tensors if (found := TUNED.fullmatch(name))}
    if tuned:
        of = {
            what: {int(found[1]) - 1: tensors[name] for name, found in tuned.items() if found[2] == what}
            for what in ("weight", "bias")
        }
        return "tuned", of["weight"], of["bias"]
    there = short(", ".join(sorted(tensors))) or "nothing"
    raise SessionError(
        f"{short(file)} holds {there}, and no translator: J.0, J.1, … of a Jacobian lens, or "
        "layer_translators.0.weight, layer_translators.1.weight, … of a tuned one"
    )


def _check(file: str, kind: Kind, matrices: Mapping[int, Tensor], biases: Mapping[int, Tensor], ready: Ready) -> None:
    """Raises SessionError where it is no lens for this model."""
    shape, name = ready.shape, f"{short(file)}:"
    last, width = shape.n_layers - 1, shape.d_model
    for what, tensors, wanted in (("matrix", matrices, (width, width)), ("bias", biases, (width,))):
        for layer, tensor in sorted(tensors.items()):
            if tuple(tensor.shape) != wanted:
                has, wants = ("x".join(map(str, each)) for each in (tensor.shape, wanted))
                raise SessionError(
                    f"{name} the {what} for {_place(layer)} is {has}, and {ready.name} wants {wants or 'one'}"
                )
            if not tensor.dtype.is_floating_point or not bool(tensor.isfinite().all()):
                raise SessionError(f"{name} the {what} for {_place(layer)} holds what is no finite number")
    least = 0 if kind == "jacobian" else -1
    if beyond := [layer for layer in (*matrices, *biases) if not least <= layer < last]:
        there = f"L0.post to L{last - 1}.post" if last > 1 else "L0.post alone" if last else "nothing"
        raise SessionError(f"{name} it translates {_place(max(beyond))}, and of {ready.name} a lens translates {there}")
    if missing := [layer for layer in range(last) if layer not in matrices]:
        raise SessionError(f"{name} it has no matrix for {_place(missing[0])} of {ready.name}")


def _place(layer: int) -> str:
    return "the embeddings" if layer < 0 else f"L{layer}.post"


def tensors_of(kind: Kind, matrices: Mapping[int, Tensor], biases: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, by name. matrices, biases: by the layer that h leaves."""
    if kind == "jacobian":
        named = [(f"J.{layer}", each) for layer, each in matrices.items()]
        named += [(f"b.{layer}", each) for layer, each in biases.items()]
    else:
        named = [(f"layer_translators.{layer + 1}.weight", each) for layer, each in matrices.items()]
        named += [(f"layer_translators.{layer + 1}.bias", each) for layer, each in biases.items()]
    return {name: each.detach().float().cpu().contiguous() for name, each in named}
