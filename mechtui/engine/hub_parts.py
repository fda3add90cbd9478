"""How a dictionary of features on the hub is named, and what its weights are called. Without torch, so that a model's
name can be looked up before that is imported."""

from __future__ import annotations

# In the order in which they are looked for.
WEIGHTS = (
    "sae_weights.safetensors",
    "sae.safetensors",
    "ae.safetensors",
    "ae.pt",
    "params.npz",
)


def hub_parts(path: str) -> tuple[str, str, str]:
    """`owner/repository/folder@revision` -> (owner/repository, folder, revision), the last two empty without one."""
    name, _, revision = path.partition("@")
    parts = [part for part in name.split("/") if part]
    return "/".join(parts[:2]), "/".join(parts[2:]), revision
