"""The dictionaries of one model, as far as they were read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from msgspec.structs import replace as replaced
from torch import Tensor

from mechtui.embedded import named
from mechtui.engine.dictionaries import dictionary_learning, fits, gemma_scope, labels, saelens, sparsify
from mechtui.engine.dictionaries.dictionary import Dictionary, DictionaryError, Gate
from mechtui.engine.dictionaries.found import Found, Tensors, find
from mechtui.engine.model import Model
from mechtui.engine.readout import Readout
from mechtui.engine.vector_files import VectorError, state, steering
from mechtui.session.document import Sae, Session, Vector
from mechtui.session.grammar.saes import format_point, unknown
from mechtui.session.hook_edits import Decoder, EditError, Steering

FORMATS = (gemma_scope, dictionary_learning, saelens, sparsify)
# They lie in mapped files, so that keeping one costs what was looked at of it.
MOST = 8


def read(sae: Sae) -> Dictionary:
    """A session's dictionary, whatever the model. Raises DictionaryError."""
    found = find(sae.path, sae.name)
    tensors = Tensors(found)
    for each in FORMATS:
        if each.is_one(found, tensors):
            made: Dictionary = each.read(found, tensors, sae.name, sae.reads, sae.writes)
            return replace(made, file=str(found.weights), mark=found.mark)
    raise found.error(
        f"it holds {', '.join(tensors.names[:6]) or 'nothing'}, and no dictionary that is read: SAELens, "
        "dictionary_learning, Gemma Scope and sparsify are"
    )


class Dictionaries:
    """readout: the model's."""

    def __init__(self, model: Model, readout: Readout) -> None:
        self.model = model
        self._readout = readout
        self._read: dict[Sae, tuple[tuple[int, ...], Dictionary]] = {}
        self._labels: dict[Sae, tuple[object, dict[int, str]]] = {}

    @torch.inference_mode(False)
    def value(self, sae: Sae) -> Dictionary:
        """The dictionary, on the model's device. Raises DictionaryError where it cannot be had, or is none for this
        model."""
        found = find(sae.path, sae.name)
        now = (
            state(str(found.weights)) + state(str(found.folder / "cfg.json")) + state(str(found.folder / "config.json"))
        )
        known = self._read.pop(sae, None)
        if known is None or known[0] != now:
            known = now, self._fitting(read(sae))
        self._read[sae] = known
        if len(self._read) > MOST:
            del self._read[next(iter(self._read))]
        return known[1]

    def saes(self, session: Session) -> tuple[Sae, ...]:
        """Those that lines may name: the session's, and those that travel with the model."""
        return named.saes(session, self.model.ready.name)

    def line(self, name: str, session: Session) -> Sae:
        """The one that a session calls so. Raises DictionaryError."""
        saes = self.saes(session)
        found = next((sae for sae in saes if sae.name == name), None)
        if found is None:
            raise DictionaryError(unknown(name, saes))
        return found

    def named(self, name: str, session: Session, bos: bool) -> Dictionary:
        """The one that a session calls so. bos: whether the session's texts begin with BOS. Raises DictionaryError."""
        found = self.value(self.line(name, session))
        fits.check_bos(found, bos, self.model.bos_id is not None)
        return found

    def decoder(self, name: str, session: Session, bos: bool) -> Decoder:
        """What edits need to know of the one that a session calls so. Raises EditError where it cannot be had."""
        try:
            found = self.named(name, session, bos)
        except DictionaryError as error:
            raise EditError(str(error)) from error
        reads, writes = found.hooks
        sae = replaced(self.line(name, session), labels="")
        return Decoder(sae, reads, writes, found.writes.layer, found.n_features, found.mark)

    def steering(self, vector: Vector, session: Session, bos: bool) -> Steering:
        """A session's steering vector and all that decides its numbers. Raises VectorError where its dictionary cannot
        be had."""
        if vector.source != "feature":
            return steering(vector, bos)
        try:
            mark = self.named(vector.sae, session, bos).mark
        except DictionaryError as error:
            raise VectorError(f"{vector.name}: {error}") from error
        return steering(vector, bos, replaced(self.line(vector.sae, session), labels=""), mark)

    def labels(self, sae: Sae) -> dict[int, str]:
        """Feature -> its label, from the file that the session names, or one that lies beside the dictionary. Raises
        DictionaryError."""
        found: Found = find(sae.path, sae.name)
        beside = labels.beside(found.folder)
        file = sae.labels or ("" if beside is None else str(beside))
        now = file, state(file) if file else ()
        known = self._labels.get(sae)
        if known is None or known[0] != now:
            made = labels.read(file, self.value(sae).n_features) if file else {}
            self._labels = {sae: (now, made)}
            return made
        return known[1]

    def forget(self) -> None:
        """The next use reads each from its files once more."""
        self._read.clear()
        self._labels.clear()

    def _fitting(self, dictionary: Dictionary) -> Dictionary:
        """Raises DictionaryError."""
        fits.check(dictionary, self.model.ready)
        if dictionary.unbiased and self._has_value_bias(dictionary.reads.layer):
            raise DictionaryError(
                f"{dictionary.name} reads {format_point(dictionary.reads)} without the values' bias, as processed "
                f"weights have it, and {self.model.ready.name} has one"
            )
        return _on(self.model.device, replace(dictionary, centred=dictionary.centred and self._centres()))

    def _centres(self) -> bool:
        """Whether the model reads its stream less the mean, so that TransformerLens centres what writes to it."""
        try:
            return self._readout.norm().centres
        except ValueError:
            return False

    def _has_value_bias(self, layer: int) -> bool:
        bias: Tensor | None = getattr(self.model.bridge.blocks[layer].attn, "b_V", None)
        return bias is not None and bool(bias.abs().max() > 0)


def _on(device: torch.device, dictionary: Dictionary) -> Dictionary:
    """The same on a device. On the CPU its weights stay in their file."""
    if device.type == "cpu":
        return dictionary
    moved: dict[str, Any] = {
        name: value.to(device)
        for name in dictionary.__dataclass_fields__
        if isinstance(value := getattr(dictionary, name), Tensor)
    }
    if dictionary.gate is not None:
        moved["gate"] = Gate(*(each.to(device) for each in dictionary.gate))
    return replace(dictionary, **moved)
