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
from mechtui.engine.forward import choice
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.engine.forward.packed_linear import PackedLinear
from mechtui.engine.model import Model
from mechtui.link.messages import Load
from mechtui.worker.models import load
from tests import folders


@pytest.fixture(scope="session", autouse=True)
def cards_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Head cards that tests measure are not kept among the user's."""
    folder = tmp_path_factory.mktemp("cards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cards, "cache_dir", lambda: folder)
        yield


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.llama(tmp_path_factory.mktemp("llama"))


def load_now(name: str | Path, **options: object) -> Model:
    return load(Load(str(name), device="cpu", **options), lambda *_: None, lambda: False)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def gpt2_model(gpt2_folder: Path) -> Model:
    return load_now(gpt2_folder)


@pytest.fixture(scope="session")
def llama_model(llama_folder: Path) -> Model:
    return load_now(llama_folder)


@pytest.fixture(scope="module", params=["packed", "exact", "the bridge's"])
def blocks(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which blocks engines run that are made within: the same tests hold for all."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "the bridge's":
            patch.setattr(kinds, "KINDS", {})
        if request.param == "exact":
            unpacked(patch)
        yield request.param


@pytest.fixture(params=["gpt2", "llama", "attn-only-2l"])
def model(request: pytest.FixtureRequest, blocks: str) -> Model:
    """One of each kind of network: learned positions, rotary ones with grouped queries, attention alone."""
    if request.param == "attn-only-2l":
        return load_now(request.param)
    found: Model = request.getfixturevalue(f"{request.param}_model")
    return found


def unpacked(patch: pytest.MonkeyPatch) -> None:
    """Until it is undone, engines are made whose blocks are the bridge's to the last bit."""
    patch.setattr(choice, "can_be_packed", lambda _modules: False)


def inner(bridged: Any) -> Any:
    """The module that a part of the bridge wraps: it runs whoever runs the block, unless its weights are packed."""
    return bridged.original_component


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
