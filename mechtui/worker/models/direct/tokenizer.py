"""A tokenizer.json, read by the library that transformers reads it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from mechtui.worker.models.direct.files import UnknownError, plain

END = "<|endoftext|>"
GPT2S = {"bos_token": END, "eos_token": END, "unk_token": END}
QWEN2S = {"eos_token": END, "unk_token": END, "pad_token": END}
# Classes of transformers that take a tokenizer.json as it is, and the special tokens that they have where a folder
# names none. The self-check compares what they read.
CLASSES: dict[str, dict[str, str]] = {
    "PreTrainedTokenizerFast": {},
    "TokenizersBackend": {},
    "GPT2Tokenizer": GPT2S,
    "GPT2TokenizerFast": GPT2S,
    "Qwen2Tokenizer": QWEN2S,
    "Qwen2TokenizerFast": QWEN2S,
}
# The class of a folder that names none.
OF_MODEL = {"gpt2": "GPT2Tokenizer", "qwen2": "Qwen2Tokenizer"}
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Keys that may name more of them.
MORE = ("additional_special_tokens", "extra_special_tokens")


class DirectTokenizer:
    """What the engine asks of a tokenizer, under transformers' names."""

    def __init__(self, folder: Path, model_type: object = None) -> None:
        """model_type: what the folder's config.json says. Raises UnknownError."""
        told = {**_object(folder / "special_tokens_map.json"), **_object(folder / "tokenizer_config.json")}
        kind = told.get("tokenizer_class", OF_MODEL.get(str(model_type)))
        if kind not in CLASSES:
            raise UnknownError(f"tokenizer_class {kind!r}")
        told = {**CLASSES[kind], **told}
        plain(told, add_prefix_space=False, add_bos_token=False, add_eos_token=False, split_special_tokens=False)
        if "auto_map" in told:
            raise UnknownError("tokenizer_config.json")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise UnknownError(str(error)) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        special = [_text(told[name]) for name in NAMED if told.get(name) is not None]
        for key in MORE:
            if told.get(key):
                raise UnknownError(key)
        self.bos_token = None if told.get("bos_token") is None else _text(told["bos_token"])
        self.all_special_ids = sorted({self._id(each) for each in special})
        self.bos_token_id = None if self.bos_token is None else self._id(self.bos_token)
        self.eos_token_id = None if told.get("eos_token") is None else self._id(_text(told["eos_token"]))

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def _id(self, token: str) -> int:
        found: int | None = self._tokenizer.token_to_id(token)
        if found is None:
            raise UnknownError(f"{token!r} is not in the vocabulary")
        return found

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: list[int], clean_up_tokenization_spaces: bool = False) -> str:
        assert not clean_up_tokenization_spaces
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def convert_ids_to_tokens(self, id: int) -> str | None:
        token: str | None = self._tokenizer.id_to_token(id)
        return token


def _object(path: Path) -> dict[str, Any]:
    """Empty where there is none. Raises UnknownError."""
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnknownError(str(error)) from error
    if not isinstance(told, dict):
        raise UnknownError(path.name)
    return told


def _text(token: object) -> str:
    """A special token stands there as a text or as an object. Raises UnknownError."""
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise UnknownError(f"special token {token!r}")
    return text
