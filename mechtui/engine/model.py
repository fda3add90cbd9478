"""A loaded model: the bridge, its tokenizer, its shape."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from mechtui.engine.errors import ModelError, TextError, told
from mechtui.link.messages import Ready
from mechtui.session.document import Bos, ModelShape, Token

# GPT-2's byte-level vocabulary writes each byte as one printable character; these are the bytes that print
# as themselves, the others follow from 256 on in rising order.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + i): byte for i, byte in enumerate(_OTHERS)}
# Texts whose ids are kept: the prompt, the source, and what vectors are made from stay the same over many questions.
MOST_READ = 32


class Tokenizer(Protocol):
    """What is asked of a tokenizer, under transformers' names."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    all_special_ids: list[int]

    def __len__(self) -> int: ...

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, ids: list[int], clean_up_tokenization_spaces: bool = False) -> str: ...

    def convert_ids_to_tokens(self, id: int) -> str | None: ...


@dataclass(eq=False)
class Model:
    """One model, ready to run: eval mode, eager attention, no gradients.

    bridge: a TransformerBridge or a DirectModel. tokenizer: adds nothing by itself here.
    device: where the first block lies.
    """

    bridge: Any
    tokenizer: Tokenizer
    shape: ModelShape
    device: torch.device
    dtype: torch.dtype
    ready: Ready
    _tokens: dict[int, Token] = field(default_factory=dict)
    _read: dict[str, list[int]] = field(default_factory=dict)  # the latest texts' ids

    @property
    def bos_id(self) -> int | None:
        return self.tokenizer.bos_token_id

    def encode(self, text: str, bos: Bos) -> list[int]:
        """Token ids of a text; special tokens that the text spells out are read as such.

        "auto" prepends BOS where `ready.bos_auto` says so; a tokenizer without one never does. Raises TextError.
        """
        ids = self._read.pop(text, None)
        if ids is None:
            ids = self._encoded(text) if text else []
        self._read[text] = ids
        if len(self._read) > MOST_READ:
            del self._read[next(iter(self._read))]
        return [self.bos_id, *ids] if self.prepends(bos) and self.bos_id is not None else [*ids]

    def _encoded(self, text: str) -> list[int]:
        try:
            with told(f"cannot be read by the tokenizer of {self.ready.name}"):
                ids = self.tokenizer.encode(text, add_special_tokens=False)
        except ModelError as error:
            raise TextError(str(error)) from error
        if ids and max(ids) >= self.shape.d_vocab:
            raise TextError(f"has token {max(ids):,}, and {self.ready.name} knows those below {self.shape.d_vocab:,}")
        return ids

    def prepends(self, bos: Bos) -> bool:
        """Whether texts begin with BOS."""
        wanted = self.ready.bos_auto if bos == "auto" else bos == "yes"
        return wanted and self.bos_id is not None

    def token(self, id: int) -> Token:
        """The token's exact text; `hex` is set when its bytes are not whole UTF-8 characters."""
        if id not in self._tokens:
            self._tokens[id] = self._token(id)
        return self._tokens[id]

    def _token(self, id: int) -> Token:
        piece = self.tokenizer.convert_ids_to_tokens(id)
        if piece is None:  # the embedding has more rows than the vocabulary
            return Token(id, "", f"{id:x}")
        if id not in self.tokenizer.all_special_ids and all(c in BYTE_OF for c in piece):
            data = bytes(BYTE_OF[c] for c in piece)
            try:
                return Token(id, data.decode())
            except UnicodeDecodeError:
                return Token(id, data.decode(errors="ignore"), data.hex())
        if id in self.tokenizer.all_special_ids:
            return Token(id, piece)
        text = self.tokenizer.decode([id], clean_up_tokenization_spaces=False)
        # Sentencepiece writes a leading space as U+2581 and drops it when a text begins with it.
        text = " " + text if piece.startswith("\u2581") and not text.startswith(" ") else text
        return Token(id, text)

    def single(self, text: str, what: str = "a target") -> int:
        """The id of a text that is one token. what: it is to be. Raises ValueError: one sentence that names its
        tokens."""
        ids = self.encode(text, "no")
        if len(ids) != 1:
            pieces = ", ".join(f'"{self.token(id).text}"' for id in ids)
            raise ValueError(f'"{text}" is {len(ids)} tokens ({pieces}); {what} is one token')
        return ids[0]
