"""Tiny models for all tests of the model process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from mechtui.engine import cards
from mechtui.engine.contexts import kept as contexts
from mechtui.engine.forward import choice
from mechtui.engine.forward.direct import DirectModel
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.engine.forward.packed_linear import PackedLinear
from mechtui.engine.model import Model
from mechtui.engine.weights import inner
from mechtui.link.messages import Load
from mechtui.worker.models.load import load
from tests import folders


@pytest.fixture(scope="session", autouse=True)
def cards_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Head cards that tests measure, and contexts that they read, are not kept among the user's."""
    folder = tmp_path_factory.mktemp("cards")
    with pytest.MonkeyPatch.context() as patch:
        for each in (cards, contexts):
            patch.setattr(each, "cache_dir", lambda: folder)
        yield


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.llama(tmp_path_factory.mktemp("llama"))


def load_now(name: str | Path, directly: bool = False, **options: object) -> Model:
    """directly: as the program does, without transformers; else by TransformerLens's bridge, for what asks that."""
    wanted = Load(str(name), device="cpu", **options)  # type: ignore[arg-type]
    model = load(wanted, lambda *_: None, lambda: False, directly)
    assert isinstance(model.bridge, DirectModel) == directly
    return model


@pytest.fixture(scope="session")
def gpt2_model(gpt2_folder: Path) -> Model:
    return load_now(gpt2_folder)


@pytest.fixture(scope="session")
def llama_model(llama_folder: Path) -> Model:
    return load_now(llama_folder)


@pytest.fixture(scope="module", params=["direct", "exact", "the bridge's"])
def blocks(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which blocks engines run that are made within: the same tests hold for all. Of direct models their own, packed;
    of others those that are written out, as they are, or the bridge's."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "the bridge's":
            patch.setattr(kinds, "KINDS", {})
        if request.param == "exact":
            unpacked(patch)
        yield request.param


@pytest.fixture(params=["gpt2", "llama", "attn-only-2l"])
def model(request: pytest.FixtureRequest, blocks: str) -> Model:
    """One of each kind of network: learned positions, rotary ones with grouped queries, attention alone."""
    if blocks != "direct" and request.param != "attn-only-2l":
        found: Model = request.getfixturevalue(f"{request.param}_model")
        return found
    place = request.param if request.param == "attn-only-2l" else request.getfixturevalue(f"{request.param}_folder")
    return load_now(place, directly=blocks == "direct")


def unpacked(patch: pytest.MonkeyPatch) -> None:
    """Until it is undone, engines are made whose blocks are the bridge's to the last bit."""
    patch.setattr(choice, "can_be_packed", lambda _modules: False)


@contextmanager
def watched(bridged: Any, note: Callable[[Tensor], None]) -> Iterator[None]:
    """Within, what enters this linear part is noted, whoever runs it."""
    module = inner(bridged)
    was = PackedLinear.__call__

    def product(packed: PackedLinear, x: Tensor) -> Tensor:
        # One row alone goes to the module, which notes it.
        if packed.module is module and x.shape[:-1].numel() > 1:
            note(x)
        return was(packed, x)

    handle = module.register_forward_pre_hook(lambda _module, inputs: note(inputs[0]))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PackedLinear, "__call__", product)
            yield
    finally:
        handle.remove()
