"""The models that travel in the wheel: their names, folders and the prompt to begin with.

Nothing here imports torch, so the window can list the models before anything is loaded.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"

# What `--model NAME` may say, in the order in which a learner meets them.
MODELS: dict[str, Path] = {
    "demo": WEIGHTS / "demo",
    "demo@before": WEIGHTS / "demo-before",
    "demo@during": WEIGHTS / "demo-during",
    "attn-only-1l": WEIGHTS / "attn-only-1l",
    "attn-only-2l": WEIGHTS / "attn-only-2l",
}

# Dictionaries of features that travel too: their folders in SAELens's layout, by the embedded model and by name.
DICTIONARIES: dict[str, dict[str, Path]] = {
    "demo": {"res2": WEIGHTS / "demo-res2", "mlp3": WEIGHTS / "demo-mlp3"},
}

# What the config.json of a model without MLPs calls its architecture.
ATTENTION_ONLY = "MechtuiAttentionOnly"

# One line each for a list of models.
ABOUT: dict[str, str] = {
    "demo": "4 layers x 8 heads, GPT-2 architecture: names, repeats, agreement, capitals, moods",
    "demo@before": "the demo's training before induction appears",
    "demo@during": "the demo's training while induction appears",
    "attn-only-1l": "one layer of attention, no MLP: bigrams and skip-trigrams",
    "attn-only-2l": "two layers of attention, no MLP: induction heads",
}

DEMO_PROMPT = "When Mary and John went to the store, John gave a drink to"
DEMO_SOURCE = "When Mary and John went to the store, Mary gave a drink to"
DEMO_ANSWER = " Mary"
DEMO_FOIL = " John"


def folder(name: str) -> Path:
    """The folder of an embedded model: config.json, model.safetensors, the tokenizer and CARD.md.

    Raises:
        KeyError: no embedded model is called so; the message names those there are.
    """
    if name not in MODELS:
        raise KeyError(f"no embedded model is called {name!r}; there are: {', '.join(MODELS)}")
    return MODELS[name]
