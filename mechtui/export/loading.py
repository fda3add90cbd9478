"""The section of a program that loads the model, from wherever it lies."""

from __future__ import annotations

import shlex
from pathlib import Path

from mechtui.embedded import MODELS, WEIGHTS
from mechtui.export.section import Section
from mechtui.link.messages import Ready
from mechtui.views.script import quoted
from mechtui.visible import seen

# The architecture that TransformerLens builds itself, which transformers does not know.
NATIVE = "TransformerLensNative"

PLAIN = """\
tokenizer = AutoTokenizer.from_pretrained(MODEL)
plain = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
"""

# What the bridge is built around it changes: what it says by itself is asked before.
BRIDGE = """\
model_logits = plain(tokens[None]).logits
try:
    bridge = TransformerBridge.boot_transformers(str(MODEL), hf_model=plain, device="cpu")
except AssertionError as problem:
    raise SystemExit(f"TransformerLens cannot take {MODEL} apart by itself, so no program edits it") from problem
"""

OWN = """\
config = json.loads((MODEL / "config.json").read_text())
tokenizer = PreTrainedTokenizerFast.from_pretrained(MODEL)
bridge = TransformerBridge.boot_native(config["native"], tokenizer=tokenizer, model_name=MODEL.name)
parameters = bridge.original_model.named_parameters()
parameters = {name.replace("_original_component.", ""): parameter for name, parameter in parameters}
for name, weight in load_file(MODEL / "model.safetensors").items():
    parameters[name].copy_(weight)
bridge.eval()
"""


def imports(ready: Ready) -> list[str]:
    """The lines that bring in what the loading needs."""
    lines = ["from transformer_lens.model_bridge import TransformerBridge"]
    if is_native(ready):
        return [*lines, "from transformers import PreTrainedTokenizerFast"]
    return [*lines, "from transformers import AutoModelForCausalLM, AutoTokenizer"]


def is_native(ready: Ready) -> bool:
    """Whether it is TransformerLens that builds the model."""
    return ready.architecture == NATIVE


def loading(ready: Ready) -> Section:
    """After it `tokenizer` is there, and `plain`, transformers' own model, or of a native one `bridge`."""
    where = _where(ready)
    how = (
        "It has attention alone, an architecture of TransformerLens's own; the file holds its weights."
        if is_native(ready)
        else "transformers loads it with eager attention, so that patterns and scores can be seen."
    )
    prose = f"{seen(ready.source)}, {seen(ready.architecture)}. {how}"
    return Section("The model", prose, where + (OWN if is_native(ready) else PLAIN))


def _where(ready: Ready) -> str:
    """The lines that say where the model lies."""
    place = Path(ready.place)
    if ready.name in MODELS:
        inside = MODELS[ready.name].relative_to(WEIGHTS.parent).as_posix()
        return (
            f"MODEL = pathlib.Path({quoted(str(place))})\n"
            "if not MODEL.exists():  # it comes with mechtui, which need not be imported for that\n"
            '    package = importlib.util.find_spec("mechtui")\n'
            "    if package is None:\n"
            f"        raise SystemExit({_gone(f'pip install mechtui brings the model {ready.name}')})\n"
            f"    MODEL = pathlib.Path(package.origin).parent / {quoted(f'embedded/{inside}')}\n"
        )
    if not place.is_absolute():
        return f"MODEL = {quoted(ready.place)}\n"
    again = (
        f"mechtui --model {shlex.quote(ready.name)} makes it again"
        if ready.source.endswith(".gguf)") or ready.name.endswith(".gguf")
        else "say here where the model lies"
    )
    return f"MODEL = pathlib.Path({quoted(str(place))})\nif not MODEL.exists():\n    raise SystemExit({_gone(again)})\n"


def _gone(remedy: str) -> str:
    """What the program says where the model is not, as Python; a name in it is text, never a part of the program."""
    return 'f"{MODEL} is not here: " + ' + quoted(seen(remedy))
