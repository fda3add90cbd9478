"""A dictionary of features in an exported program: read from its file, and what it makes of an activation."""

from __future__ import annotations

from pathlib import Path

from mechtui.embedded import MODELS, WEIGHTS
from mechtui.session.dictionaries import About
from mechtui.views.script import quoted


def reading(name: str, about: About, model: str) -> str:
    """The code after which `name` is the dictionary: D [feature, d_out], b_dec [d_out], and functions of rows x [...,
    d_in] that it reads: encode(x) [..., feature]; restored(x), what is added to what it writes and what that is
    multiplied by; skip(x), what goes around its features. rows(activation) are those of what passes where it reads or
    writes [batch, pos, ...], as it has them [batch, pos, width]. model: the name of the program's."""
    inside = [
        *_weights(about, model),
        "",
        "def rows(activation):",
        *(_CENTRED if about.centred else ["    return activation.float().flatten(2)"]),
        "",
        *_encodes(about),
        "",
        "def restored(x):",
        f"    shift, scale = {'normal(x)' if about.restores else '0.0, 1.0'}",
        "    return shift, scale * torch.ones_like(x[..., :1])",
        "",
        "def skip(x):",
        f"    return {_SKIP if about.skips else 'torch.zeros(*x.shape[:-1], D.shape[-1])'}",
        "",
        "return types.SimpleNamespace(D=D, b_dec=b_dec, rows=rows, encode=encode, restored=restored, skip=skip)",
    ]
    body = "\n".join(f"    {line}" if line else "" for line in inside)
    return f"def read_{name}():\n{body}\n\n\n{name} = read_{name}()\n"


_CENTRED = (
    "    found = activation.float().flatten(2)",
    "    return found - found.mean(-1, keepdim=True)  # as TransformerLens's centred weights have it",
)
_SKIP = 'x @ held["W_skip"].T'


def _weights(about: About, model: str) -> list[str]:
    """Lines after which its weights have the names that they have in SAELens."""
    where = f"pathlib.Path({quoted(about.file)})"
    if model in MODELS and Path(about.file).is_relative_to(WEIGHTS):
        within = Path(about.file).relative_to(WEIGHTS).as_posix()
        where = f"MODEL.parent / {quoted(within)}"  # it travels as the model does
    if about.file.endswith(".npz"):
        held = f"{{name.replace('w_', 'W_'): torch.tensor(each) for name, each in np.load({where}).items()}}"
    elif about.file.endswith(".pt"):
        held = f"torch.load({where}, weights_only=True)"
    else:
        held = f"load_file({where})"
    gated = about.kind == "gated"
    return [
        f"held = {{name: each.float() for name, each in {held}.items()}}",
        "",
        "def one(*names):",
        "    return next(held[name] for name in names if name in held)",
        "",
        'W_enc = held["W_enc"] if "W_enc" in held else held["encoder.weight"].T',
        'D = held["W_dec"] if "W_dec" in held else held["decoder.weight"].T',
        'b_dec = one("b_dec", "bias", "decoder_bias", "decoder.bias")',
        'b_enc = one("b_gate", "gate_bias")' if gated else 'b_enc = one("b_enc", "encoder.bias")',
        *(['r_mag, b_mag = held["r_mag"], one("b_mag", "mag_bias")'] if gated else []),
        *(["lengths = D.norm(dim=-1)", "D = D / lengths[:, None]"] if about.rescaled else []),
        *(['D = D * held["scaling_factor"][:, None]'] if about.scaled else []),
    ]


def _encodes(about: About) -> list[str]:
    """Lines after which `encode(x)` and `normal(x)`, what is taken from a row and what it is divided by, are there."""
    normal = {
        "layer_norm": "x.mean(-1, keepdim=True), x.std(-1, keepdim=True)",
        "constant_norm_rescale": "0.0, x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5",
    }.get(about.normalises, "0.0, 1.0")
    more = " + 1e-5" if about.normalises == "layer_norm" else ""
    acts = {
        "gated": "    return (read * r_mag.exp() + b_mag).relu() * (pre > 0)",
        "jumprelu": '    return pre.relu() * (pre > held["threshold"])',
        "topk": f"    top = pre.topk({about.k})\n"
        "    return torch.zeros_like(pre).scatter_(-1, top.indices, top.values.relu())",
    }.get(about.kind, "    return pre.relu()")
    return [
        "def normal(x):",
        f"    return {normal}",
        "",
        "def encode(x):",
        "    shift, scale = normal(x)",
        f"    x = (x - shift) / {f'(scale{more})' if more else 'scale'}{' - b_dec' if about.subtracts else ''}",
        "    read = x @ W_enc",
        f"    pre = {'(read + b_enc) * lengths' if about.rescaled else 'read + b_enc'}",
        *acts.split("\n"),
    ]
