"""The embedded models' tokenizer: byte-level byte-pair encoding, as GPT-2's, of about 2,000 tokens.

All 256 bytes are tokens, so every text can be written and read back.
"""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mechtui.embedded.text import words
from mechtui.embedded.text.corpus import END_OF_TEXT, documents


def one_token_words() -> tuple[str, ...]:
    """Words that must be single tokens with their leading space, so that an answer is one token."""
    return tuple(
        dict.fromkeys(
            (
                *words.NAMES,
                *words.CAPITALS.values(),
                *words.DAYS,
                *words.MONTHS,
                *words.NUMBERS,
                *words.LETTERS,
                *words.HAPPY,
                *words.SAD,
                *words.ROLES,
                *(str(i) for i in range(1, 31)),
            )
        )
    )


def build(seed: int, vocab_size: int = 2048) -> Tokenizer:
    """Train the tokenizer on text of the same generator as the models'."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rng = random.Random(f"tokenizer:{seed}")
    texts = [document.text for document in islice(documents(rng), 20_000)]
    # Rare words that must be whole are said often enough here.
    texts += [" " + " ".join(one_token_words())] * 300
    texts += [" " + " ".join((*words.CAPITALS, *words.NOUNS, *words.NOUNS.values(), *words.LIST_WORDS))] * 60
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, n_ctx: int) -> None:
    """Write tokenizer.json and the tokenizer_config.json by which transformers reads it as GPT-2's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": n_ctx,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
