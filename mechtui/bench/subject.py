"""The model that is measured, texts of a wanted number of tokens for it, and what is asked of it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch

from mechtui.engine.api import Engine, OpenSession
from mechtui.engine.model import Model
from mechtui.link.messages import Load, Ready
from mechtui.session.document import ModelShape, Session
from mechtui.views import parse_question

# What is on the screen while one toggles an edit.
PANES = ("next_tokens", "residual", "attention L0H0", "heads entropy")

RANDOM = "random weights, GPT-2 small's shape"

PASSAGE = (
    "The house stood at the end of the lane, where the trees were old and the wind came in from the sea. "
    "Every morning a woman walked down to the water with a dog and a book, and every evening she came back "
    "with wet shoes and a story. She told it to whoever sat at the table: her brother, a guest, the cat. "
)


@dataclass
class Subject:
    """name: what the report calls the model. engine: fresh. random: whether its weights are."""

    name: str
    model: Model
    engine: Engine
    random: bool

    @property
    def device(self) -> torch.device:
        return self.model.device

    def text(self, count: int, seed: int = 0) -> str:
        """A text that becomes exactly `count` tokens, BOS among them. Raises ValueError where none is found."""
        draw = random.Random(seed)
        if self.random:
            words = [f"w{draw.randrange(50_000)}" for _ in range(count - 1)]
            return " ".join(words)
        start = draw.randrange(40)
        encode = self.model.tokenizer.encode
        ids: list[int] = encode(PASSAGE * (2 + count // 20), add_special_tokens=False)
        lead = len(self.model.encode("", "auto"))
        for length in range(count - lead, count + 8):
            text: str = self.model.tokenizer.decode(ids[start : start + length])
            if len(self.model.encode(text, "auto")) == count:
                return text
        raise ValueError(f"found no text of {count} tokens for {self.name}")

    def words(self) -> list[str]:
        """Texts of one token each that can follow any text."""
        candidates = [f" w{n}" for n in range(100, 160)] if self.random else [" the", " a", " sea", " house", " dog"]
        return [text for text in candidates if len(self.model.encode(text, "no")) == 1]


def subject(name: str | None, device: str = "auto", directly: bool = False, dtype: str = "auto") -> Subject:
    """The named model; without a name gpt2 where its weights lie on this machine, else random weights of its
    shape. directly: as the model process has it, without transformers and TransformerLens where that can be. Raises
    ModelError."""
    from mechtui.engine.errors import ModelError
    from mechtui.worker.models.load import load

    def quiet(*_: object) -> None:
        """Nobody watches the stages of loading here."""

    if name == RANDOM:
        return random_subject(device)
    try:
        model = load(Load(name or "gpt2", device=device, dtype=dtype), quiet, lambda: False, directly)
    except ModelError:
        if name is not None:
            raise
        return random_subject(device)
    return Subject(name or "gpt2", model, Engine(model), random=False)


def ask(engine: Engine, session: Session, lines: tuple[str, ...] = PANES) -> OpenSession:
    """Open the session and answer what the panes ask, as the model process does."""
    questions = tuple(parse_question(line) for line in lines)
    opened = engine.open(session, questions=questions)
    for question in questions:
        for _ in opened.answer(question):
            pass
    return opened


def random_subject(device_name: str, **sizes: int) -> Subject:
    """Random weights in GPT-2 small's shape, or with other sizes (n_layer, n_head, n_embd)."""
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    if device_name == "auto":
        device_name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device_name)
    torch.manual_seed(0)
    config = GPT2Config(**sizes)
    module = GPT2LMHeadModel._from_config(config, attn_implementation="eager").to(device).eval()
    bridge = build_bridge_from_module(module, "GPT2LMHeadModel", hf_config=config, model_name="gpt2")
    bridge.eval()
    module.requires_grad_(False)
    heads, width = config.n_head, config.n_embd
    shape = ModelShape(config.n_layer, heads, heads, width, width // heads, 4 * width, 50257, config.n_positions)
    ready = Ready(
        name=RANDOM,
        source="made in this process",
        shape=shape,
        device=str(device),
        dtype="float32",
        weights="raw",
        bos_token="<|endoftext|>",
        bos_auto=True,
        architecture="GPT2LMHeadModel",
        seconds=0.0,
    )
    model = Model(bridge, _tokenizer(), shape, device, torch.float32, ready)
    return Subject(RANDOM, model, Engine(model), random=True)


def _tokenizer() -> Any:
    """Words w0 ... w50255, one token each: random weights need a vocabulary's size, not its words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{n}": n for n in range(50_256)} | {"<|endoftext|>": 50_256}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>")
