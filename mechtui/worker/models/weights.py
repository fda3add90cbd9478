"""Whether a folder's weights are those that its configuration asks for: looked at before they are read, and after."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from mechtui.engine.errors import ModelError, told
from mechtui.worker.models.said import megabytes, some

# What transformers may open in a model's folder.
READ = {".bin", ".jinja", ".json", ".model", ".safetensors", ".txt"}
# The names that configurations have for the number of layers.
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
# Tensors in checkpoints that no model asks for and that say nothing about its shape: masks and tables that older
# versions saved, and the heads of other tasks.
LEFTOVER = re.compile(r"(\b(attn|attention)\.(masked_)?bias|inv_freq|position_ids)$|^(score|v_head|value_head)\.")
# Numbers that one of a file may hold, where it is quantised; and how many more are few.
MOST_IN_ONE, FEW = 16, 1 << 22
TOGETHER = "check that configuration and weights belong together, or fetch the model again"


def check_files(folder: Path, name: str) -> None:
    """Every file that will be opened is one. Raises ModelError."""
    with told(f"the folder of {name} cannot be read"):
        files = sorted(file for file in folder.iterdir() if file.suffix in READ and not file.is_dir())
        odd = [file.name for file in files if not file.is_file()]
        closed = [file.name for file in files if not os.access(file, os.R_OK)]
    if odd:
        raise ModelError(f"{some(odd)} in {name} is no ordinary file: fetch the model again")
    if closed:
        raise ModelError(f"{some(closed)} in {name} may not be read: change its permissions")


def weight_files(folder: Path, name: str) -> list[Path]:
    """The files with the weights, all there. Raises ModelError."""
    for whole in (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ):
        path = folder / whole
        if path.is_file():
            return _shards(path, name) if path.suffix == ".json" else [path]
    if others := [*folder.glob("*.safetensors"), *folder.glob("*.bin")]:
        raise ModelError(f"{name} holds {some(sorted(f.name for f in others))} and no model.safetensors: rename it")
    if any(folder.glob("*.pt")) or any(folder.glob("*.pkl")) or any(folder.glob("*.pth")):
        raise ModelError(f"the weights of {name} are pickles, which can run code: convert them to safetensors")
    raise ModelError(f"{name} holds no weights (no .safetensors file): fetch the model again")


def _shards(index: Path, name: str) -> list[Path]:
    with told(f"{index.name} of {name} is broken", "fetch the model again"):
        files = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        paths = [index.parent / file for file in files]
    if outside := [str(file) for file in files if Path(file).name != file]:
        raise ModelError(
            f"{index.name} of {name} names files that are not beside it ({some(outside)}): fetch the model again"
        )
    with told(f"{index.name} of {name} is broken", "fetch the model again"):
        missing = [path.name for path in paths if not path.is_file()]  # a name may be longer than any file's
    if missing:
        raise ModelError(
            f"{name} lacks {len(missing)} of its {len(paths)} weight files ({some(missing)}): fetch the model again"
        )
    return paths


def check_layers(config: dict[str, Any], files: list[Path], name: str) -> None:
    """A configuration that asks for more layers than there are tensors is refused before anything is built."""
    asked = next((config[key] for key in LAYERS if isinstance(config.get(key), int)), 0)
    with told(f"the weights of {name} are broken or cut off", "fetch the model again"):
        held = sum(_tensors(file) for file in files)
    check_count(asked, held, name)


def check_count(layers: int, tensors: int, name: str) -> None:
    """Raises ModelError where a model asks for more layers than it has tensors."""
    if layers > tensors:
        raise ModelError(f"{name} asks for {layers:,} layers and its weights hold {tensors:,} tensors: {TOGETHER}")


def _tensors(file: Path) -> int:
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as opened:
            return len(opened.keys())
    if not zipfile.is_zipfile(file):  # from before torch 1.6: nothing to count without reading it
        return len(_numbers(file))
    with zipfile.ZipFile(file) as archive:
        return sum("/data/" in member for member in archive.namelist())


def held_bytes(files: list[Path], dtype: torch.dtype) -> int:
    """How much memory the tensors of these safetensors files take in this type."""
    return sum(map(_count, files)) * dtype.itemsize


def _count(file: Path) -> int:
    """Numbers in a file."""
    if file.suffix != ".safetensors":
        return sum(each.numel() for each in _numbers(file).values() if isinstance(each, torch.Tensor))
    with safe_open(file, "pt") as opened:
        return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118


def check_size(asked: int, files: list[Path], name: str) -> None:
    """asked: numbers of a model. Raises ModelError where it asks for far more than its files hold: what is missing
    would be made up, in memory that no file accounts for."""
    with told(f"the weights of {name} are broken or cut off", "fetch the model again"):
        held = sum(map(_count, files))
    check_held(asked, held, name)


def check_held(asked: int, held: int, name: str) -> None:
    """The same, where it is known how many numbers are held."""
    if asked > MOST_IN_ONE * held + FEW:
        raise ModelError(f"{name} asks for {asked:,} numbers and its weights hold {held:,}: {TOGETHER}")


def _numbers(file: Path) -> dict[str, Any]:
    held: dict[str, Any] = torch.load(file, map_location="meta", weights_only=True)
    return held


def check_pickles(files: list[Path], name: str) -> None:
    """A .bin file is a pickle: it is read as tensors and nothing else. Raises ModelError where it holds more."""
    for file in files:
        if file.suffix != ".bin":
            continue
        try:
            with told(f"{file.name} of {name} is broken or cut off", "fetch the model again"):
                _numbers(file)
        except ModelError as error:
            if isinstance(error.__cause__, pickle.UnpicklingError):
                raise ModelError(
                    f"{file.name} of {name} is a pickle that holds more than tensors, which could run code: "
                    "convert it to safetensors"
                ) from error
            raise


def check_loaded(model: nn.Module, info: dict[str, Any], name: str) -> None:
    """Nothing of the model was made up, and nothing of the checkpoint left over. info: transformers' loading info.

    Raises ModelError.
    """
    # What is not there and is no parameter is a table that the code has computed.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if other := sorted(info["mismatched_keys"], key=lambda each: by_number(each[0])):
        first, held, asked = other[0]
        more = f", and so are {len(other) - 1:,} more" if len(other) > 1 else ""
        raise ModelError(
            f"the weights of {name} have other shapes than its configuration asks for: "
            f"{first} is {_shape(held)} and not {_shape(asked)}{more}: {TOGETHER}"
        )
    check_names(parameters, info["missing_keys"], info["unexpected_keys"], name)


def check_names(asked: Iterable[str], missing: Iterable[str], unexpected: Iterable[str], name: str) -> None:
    """asked: the names of the model's parameters. Raises ModelError where some are missing or others left over."""
    asked = set(asked)
    if missing := sorted(set(missing) & asked, key=by_number):
        raise ModelError(
            f"the weights of {name} lack {len(missing):,} of {len(asked):,} tensors ({some(missing)}): {TOGETHER}"
        )
    if unexpected := sorted((key for key in unexpected if not LEFTOVER.search(key)), key=by_number):
        raise ModelError(
            f"the weights of {name} hold {len(unexpected):,} tensors that its configuration has no place for "
            f"({some(unexpected)}): {TOGETHER}"
        )


def by_number(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts `h.2.` before `h.10.`."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in name.split(".")]


def _shape(sizes: Iterable[int]) -> str:
    return " x ".join(f"{size}" for size in sizes) or "one number"


def not_finite(model: nn.Module, files: list[Path], dtype: torch.dtype, name: str) -> str:
    """Which weights are no numbers, in a sentence, by their names in these files; empty where all are.

    Raises ModelError where they may be too large for this type only.
    """
    odd = [
        (key.replace("_original_component.", ""), bool(weight.isnan().any()))
        for key, weight in model.named_parameters()
        if _odd(weight)
    ]
    if not odd:
        return ""
    named = [(key, True) for file in files if file.suffix == ".safetensors" for key in _odd_in(file)]
    odd = sorted(named, key=lambda each: by_number(each[0])) or odd
    names = some([key for key, _ in odd])
    if dtype != torch.float32 and not any(nan for _, nan in odd):
        what = f"{len(odd):,} weight tensors of {name} are not finite"
        raise ModelError(f"{what} in {str(dtype).removeprefix('torch.')} ({names}): use --dtype float32")
    said = f"{len(odd):,} weight tensors" if len(odd) > 1 else "1 weight tensor"
    hold = f"hold{'s' * (len(odd) == 1)} numbers that are not finite (NaN or infinite)"
    return f"{said} of {name} {hold}: {names}; what they reach is shown as nan or ∞."


def _odd(weight: torch.Tensor) -> bool:
    """Whether it holds what is no number."""
    return bool(weight.is_floating_point() and weight.numel() and not all(end.isfinite() for end in weight.aminmax()))


def _odd_in(file: Path) -> list[str]:
    """The tensors of a file that hold what is no number."""
    with safe_open(file, "pt") as opened:
        return [key for key in opened.keys() if _odd(opened.get_tensor(key))]  # noqa: SIM118


def check_memory(needed: int, name: str, device: torch.device, have: int) -> None:
    """needed, have: bytes. Raises ModelError."""
    if device.type != "mps" and needed > have:
        hint = "use --dtype bfloat16, --device-map auto or a smaller model"
        raise ModelError(
            f"{name} needs {megabytes(needed)} of memory on {device} and {megabytes(have)} are free: {hint}"
        )
