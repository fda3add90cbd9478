"""What the bridge cannot take apart is refused with the reason; what it can with a little help loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GPTBigCodeConfig,
    GPTJConfig,
    GPTNeoXConfig,
    OPTConfig,
    PhiConfig,
    PretrainedConfig,
    Qwen3Config,
)

from mechtui.engine.api import Engine
from mechtui.engine.errors import ModelError
from tests.engine.conftest import load_now
from tests.engine.twin import session_of
from tests.folders import tokenizer

WORDS = tokenizer()
IDS: dict[str, Any] = {
    "vocab_size": len(WORDS), "bos_token_id": WORDS.bos_token_id, "eos_token_id": WORDS.eos_token_id, "pad_token_id": 1,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "initializer_range": 0.2,
    "max_position_embeddings": 64, **IDS,
}  # fmt: skip


def _made(config: PretrainedConfig, folder: Path) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(folder)
    WORDS.save_pretrained(folder)
    return model


REFUSED = {
    "falcon-40b": (FalconConfig(new_decoder_architecture=True, num_kv_heads=2, **SMALL), "falcon-40b"),
    "falcon-11b": (
        FalconConfig(new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1, **SMALL),
        "falcon-40b",
    ),
    "opt-350m": (OPTConfig(ffn_dim=48, do_layer_norm_before=False, word_embed_proj_dim=16, **SMALL), "opt-350m"),
    "OPT without a final norm": (OPTConfig(ffn_dim=48, _remove_final_layer_norm=True, **SMALL), "opt-350m"),
    "GPT-BigCode with many key heads": (GPTBigCodeConfig(multi_query=False, **SMALL), "multi_query"),
    "Phi with query and key norms": (PhiConfig(intermediate_size=48, qk_layernorm=True, **SMALL), "qk_layernorm"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_bridge_cannot_take_apart_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    config, reason = REFUSED[kind]
    _made(config, tmp_path)
    with pytest.raises(
        ModelError, match=f"{tmp_path} cannot be taken apart: TransformerLens .*{reason}.*choose another"
    ):
        load_now(tmp_path)


LOADS = {
    "GPT-NeoX without attention bias": GPTNeoXConfig(attention_bias=False, intermediate_size=48, **SMALL),
    # Its attention is the bridge's own, so it must find keys and values under whatever name they have.
    "Qwen3": Qwen3Config(num_key_value_heads=2, head_dim=8, intermediate_size=48, **SMALL),
}


@pytest.mark.parametrize("kind", LOADS)
def test_it_loads_and_its_edited_runs_resume(kind: str, tmp_path: Path) -> None:
    plain = _made(LOADS[kind], tmp_path)
    engine = Engine(load_now(tmp_path))
    opened = engine.open(session_of("zero L1H1"))
    with torch.no_grad():
        expected = plain(torch.tensor([opened.ids]), use_cache=False).logits[0]
    torch.testing.assert_close(opened.clean.logits(), expected, atol=1e-4, rtol=0)
    longer = engine.open(session_of(prompt=f"{opened.session.prompt} the store"))
    with torch.no_grad():
        expected = plain(torch.tensor([longer.ids]), use_cache=False).logits[0]
    torch.testing.assert_close(longer.clean.logits(), expected, atol=1e-4, rtol=0)
    assert longer.clean.trace.start[1] > 0, "nothing was taken from the shorter run"


@pytest.mark.parametrize("edit", ["zero L0H1.scores", "scale L0H1.scores x0.5", "mean L0H1.pattern"])
def test_scores_in_float32_of_a_float16_model_keep_hidden_keys_hidden(edit: str, tmp_path: Path) -> None:
    # GPT-J computes its scores in float32 and masks them with the least number of float16.
    config = GPTJConfig(n_layer=2, n_head=4, n_embd=32, n_positions=64, rotary_dim=4, initializer_range=0.2, **IDS)
    _made(config, tmp_path)
    model = load_now(tmp_path, dtype="float16")
    # An engine each: the second run would else take the positions before the last from the first.
    one, other = (Engine(model).open(session_of(edit, prompt=f"When Mary and {name}")) for name in ("John", "Mary"))
    before = len(one.ids) - 1
    assert one.ids[:before] == other.ids[:before]
    assert one.edited is not None
    assert other.edited is not None
    torch.testing.assert_close(one.edited.logits()[:before], other.edited.logits()[:before])
    assert not torch.equal(one.edited.logits()[:before], one.clean.logits()[:before])
