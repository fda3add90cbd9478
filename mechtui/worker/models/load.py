"""From a place with weights to a model that runs."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from mechtui.embedded import ATTENTION_ONLY
from mechtui.engine.api import Engine
from mechtui.engine.errors import ModelError, shown, told
from mechtui.engine.forward.direct import DirectModel
from mechtui.engine.memory import free
from mechtui.engine.model import Tokenizer
from mechtui.engine.readout import Norm
from mechtui.engine.weights import W_U, W_out
from mechtui.link.messages import Load, Ready
from mechtui.session.document import ModelShape
from mechtui.worker.check import TEXT, TOKENS, Plain, compare
from mechtui.worker.models import direct
from mechtui.worker.models.direct.tokenizer import DirectTokenizer
from mechtui.worker.models.gguf import dequantised
from mechtui.worker.models.loaded import LoadedModel, NoRoomError, OtherTokensError
from mechtui.worker.models.names import Place, default_model, place
from mechtui.worker.models.said import Progress, megabytes
from mechtui.worker.models.weights import (
    check_files,
    check_layers,
    check_loaded,
    check_memory,
    check_pickles,
    check_size,
    held_bytes,
    not_finite,
    weight_files,
)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# What TransformerLens calls the architecture of models in its own layout.
NATIVE = "TransformerLensNative"
# What two tokenizers are to read alike: words, figures, blanks, a name for the end of a text, letters of several bytes.
READ_BY_BOTH = (
    TEXT,
    " 1024+7 = 1031?\n\n\tdef f(x):  return",
    "<|endoftext|> naïve café 東京 🙂 ﬁ",
    "don't  WE'll\r\n a",
)
UNFOLDED = "load it without --fold-ln"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "vocab.txt", "tokenizer_config.json")


def load(request: Load, progress: Progress, cancelled: Callable[[], bool], directly: bool = False) -> LoadedModel:
    """Load the model that the request names. Never downloads. directly: without transformers and TransformerLens, where
    the model's shape is one that is written out here. Raises ModelError and Cancelled."""
    from mechtui.engine.errors import Cancelled

    began = time.monotonic()
    name, note = (request.model, "") if request.model else default_model()
    device, dtype = _device(request.device), _dtype(request.dtype)
    where = place(name)
    folder = dequantised(where.path, progress) if where.kind == "gguf" else where.path
    if cancelled():
        raise Cancelled
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    progress("reading weights", None, megabytes(size) if size else "")
    files = _looked_through(folder, name)
    read = _read_directly(files, name, request, device, dtype) if directly else None
    tokenizer, bridge, plain = read or _read(files, name, request, device, dtype, cancelled)
    if cancelled():
        raise Cancelled
    if read is None:
        progress("building hooks", None, "")
    odd = not_finite(bridge.original_model, files.weights, dtype, name)
    weights: Literal["raw", "folded"] = "raw"
    if request.fold_ln:
        weights = "folded"
        _fold(bridge, name)
    bridge.eval()
    bridge.original_model.requires_grad_(False)
    progress("first run", None, "")
    architecture = str(bridge.cfg.architecture)
    shape = _shape(bridge)
    first = next(bridge.blocks[0].parameters()).device
    text = tokenizer.bos_token or ""
    with told(f"the tokenizer of {name} cannot be used", "fetch the model again"):
        bos_auto = _bos_auto(tokenizer, architecture)
    if (bos := tokenizer.bos_token_id or 0) >= shape.d_vocab:
        raise ModelError(
            f"the tokenizer of {name} has {shown(text)} as token {bos:,}, and the model knows those below "
            f"{shape.d_vocab:,}: fetch the model again"
        )
    ready = Ready(
        name=name,
        source=where.source,
        shape=shape,
        device=str(first),
        dtype=str(next(bridge.parameters()).dtype).removeprefix("torch."),
        weights=weights,
        bos_token=text,
        bos_auto=bos_auto,
        architecture=architecture,
        seconds=time.monotonic() - began,
        note=note,
        place=_place(name, where, folder),
        odd=odd,
    )
    model = LoadedModel(
        bridge, tokenizer, shape, first, next(bridge.parameters()).dtype, ready, plain=plain, folder=folder
    )
    if read is not None and architecture != NATIVE:
        model.compared_with = lambda: _plain_for(files, name, request, device, dtype, tokenizer)
    if request.fold_ln and plain is not None:
        _check_folded(model, plain, cancelled)
    return model


class _Files(NamedTuple):
    """A folder, its config.json, and the files with its weights."""

    folder: Path
    config: dict[str, Any]
    weights: list[Path]


def _looked_through(folder: Path, name: str) -> _Files:
    """Raises ModelError."""
    check_files(folder, name)
    files = _Files(folder, _config(folder, name), weight_files(folder, name))
    check_layers(files.config, files.weights, name)
    return files


def _read_directly(
    files: _Files, name: str, request: Load, device: torch.device, dtype: torch.dtype
) -> tuple[DirectTokenizer, DirectModel, None] | None:
    """None where transformers is to read it. Raises ModelError where its weights do not fit into the memory."""
    if request.fold_ln or request.device_map or request.trust_remote_code:
        return None
    if any(file.suffix != ".safetensors" for file in files.weights):
        return None
    check_memory(held_bytes(files.weights, dtype), name, device, free(device))
    read = direct.read(files.folder, files.config, files.weights, device, dtype)
    if read is None:
        return None
    return *read, None


def _plain_for(
    files: _Files, name: str, request: Load, device: torch.device, dtype: torch.dtype, tokenizer: Tokenizer
) -> Plain:
    """Hugging Face's own model for one that was read directly. Raises OtherTokensError where its tokenizer reads texts
    otherwise, NoRoomError where there is no memory for the weights once more, ModelError where it cannot be had."""
    if held_bytes(files.weights, dtype) > free(device):
        raise NoRoomError
    _quiet()
    own = _tokenizer(files.folder, name, request)
    if _habits(own) != _habits(tokenizer):
        raise OtherTokensError
    model = _model(files.folder, name, request, device, dtype)
    return Plain(model, _some_ids(own, model.get_input_embeddings().num_embeddings))


def _fold(bridge: Any, name: str) -> None:
    """The weights of the norms into what reads them. Raises ModelError where some stay where they are."""
    bridge.process_weights(fold_ln=True, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    like = W_U(bridge)[:, 0]
    read = [(bridge.ln_final, like)]
    for block in bridge.blocks:
        here = like.to(next(block.parameters()).device)
        read += [(norm, here) for norm in (getattr(block, "ln1", None), getattr(block, "ln2", None)) if norm]
    try:
        weights = [Norm(norm, here).weight for norm, here in read]
    except ValueError:
        weights = []
    rounding = 2 * torch.finfo(like.dtype).eps ** 0.5
    if not weights or any(float((weight - 1).abs().max()) > rounding for weight in weights):
        raise ModelError(f"{name} cannot be folded: TransformerLens leaves its norms their weights; {UNFOLDED}")


def _check_folded(model: LoadedModel, plain: Plain, cancelled: Callable[[], bool]) -> None:
    """Raises ModelError where the numbers of folded weights are not those of the raw ones, and Cancelled."""
    checked = compare(Engine(model), plain, cancelled)
    if checked.sentence:
        name = model.ready.name
        raise ModelError(
            f"{name} cannot be folded: TransformerLens then computes other logits than transformers; {UNFOLDED}"
        )


def _place(name: str, where: Place, folder: Path) -> str:
    """What a program loads it from: a hub id or a folder."""
    return name if where.source.startswith(f"{name}@") else str(folder)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"{name} is no device: devices are auto, cpu, cuda, cuda:N and mps") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise ModelError(f"there is no {name} here: {torch.cuda.device_count()} CUDA devices are visible; use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError("there is no mps device here: use cpu")
    return device


def _dtype(name: str) -> torch.dtype:
    if name == "auto":
        return torch.float32  # half precision only ever by the user's own word
    if name not in DTYPES:
        raise ModelError(f"{name} is no dtype: dtypes are auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _quiet() -> None:
    """Libraries tell the log file what they have to tell; the screen belongs to the app."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformer_lens").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)


def _habits(tokenizer: Tokenizer) -> tuple[object, ...]:
    """What two tokenizers of one folder must have in common."""
    read = [tokenizer.encode(text, add_special_tokens=False) for text in READ_BY_BOTH]
    named = tokenizer.bos_token, tokenizer.bos_token_id, tokenizer.eos_token_id, set(tokenizer.all_special_ids)
    return read, tokenizer.encode("a"), len(tokenizer), *named


def _read(
    files: _Files, name: str, request: Load, device: torch.device, dtype: torch.dtype, cancelled: Callable[[], bool]
) -> tuple[Any, Any, Plain | None]:
    """(tokenizer, bridge, Hugging Face's own model). Raises ModelError and Cancelled."""
    from mechtui.engine.errors import Cancelled

    _quiet()
    folder, config, weights = files
    if ATTENTION_ONLY in (config.get("architectures") or []):
        from mechtui.embedded import native

        with told(f"{name} cannot be read"):
            check_size(native.numbers(config), weights, name)
            bridge = native.load(folder).to(device, dtype)
        return bridge.tokenizer, bridge, None
    check_pickles(weights, name)
    if cancelled():
        raise Cancelled
    tokenizer = _tokenizer(folder, name, request)
    _check_memory(folder, weights, name, request, device, dtype)
    if cancelled():
        raise Cancelled
    model = _model(folder, name, request, device, dtype)
    plain = Plain(model, _some_ids(tokenizer, model.get_input_embeddings().num_embeddings))
    if request.fold_ln or request.device_map:
        plain.run()  # folding changes the weights themselves, and parts on several devices are not the bridge's
    return tokenizer, _bridge(model, name), plain


def _some_ids(tokenizer: Any, count: int) -> list[int]:
    """A few token ids below `count`: those of a text, else the first there are; a tokenizer that fails on this text may
    read others."""
    first = list(range(min(count, TOKENS)))
    try:
        with told("this text cannot be read"):
            ids: list[int] = tokenizer.encode(TEXT, add_special_tokens=False)
    except ModelError:
        return first
    return ids if ids and max(ids) < count else first


def _config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{name} has no config.json, so it is no Hugging Face model folder: check the path")
    with told(f"the config.json of {name} cannot be read"):
        text = path.read_bytes()
    with told(f"the config.json of {name} is broken", "fetch the model again"):
        config = json.loads(text)
    if not isinstance(config, dict):
        raise ModelError(f"the config.json of {name} is broken: fetch the model again")
    if config.get("is_encoder_decoder"):
        raise ModelError(f"{name} is an encoder-decoder, not a causal language model: choose one such as gpt2")
    named = [] if config.get("architectures") is None else config["architectures"]
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise ModelError(f'the config.json of {name} is broken: "architectures" is no list of names')
    if named and not any("CausalLM" in a or "LMHead" in a or a.startswith("Mechtui") for a in named):
        raise ModelError(f"{name} is a {shown(named[0])}, not a causal language model: choose one such as gpt2")
    return config


def _check_memory(
    folder: Path, files: list[Path], name: str, request: Load, device: torch.device, dtype: torch.dtype
) -> None:
    """A model that its config.json makes too large is refused before it is built."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with told(f"{name} cannot be read"), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=request.trust_remote_code)
        empty = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=request.trust_remote_code)
        empty.tie_weights()
    check_memory(sum(each.nbytes for each in (*empty.parameters(), *empty.buffers())), name, device, free(device))
    check_size(sum(each.numel() for each in empty.parameters()), files, name)


def _tokenizer(folder: Path, name: str, request: Load) -> Any:
    from transformers import AutoTokenizer

    if not any((folder / file).exists() for file in TOKENIZER_FILES):
        raise ModelError(f"{name} has no tokenizer (no tokenizer.json): save one into the folder")
    with told(f"the tokenizer of {name} cannot be read", "fetch the model again"):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=request.trust_remote_code)


def _model(folder: Path, name: str, request: Load, device: torch.device, dtype: torch.dtype) -> Any:
    """transformers' own. Raises ModelError."""
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager"}
    if request.device_map:
        options["device_map"] = request.device_map
    try:
        with told(f"{name} cannot be read"):
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=request.trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                **options,
            )
            if not request.device_map:
                model = model.to(device)
    except ModelError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            raise ModelError(f"{name} does not fit into the memory of {device}: use a smaller model") from error
        raise
    check_loaded(model, info, name)
    return model.eval()


def _bridge(model: Any, name: str) -> Any:
    """TransformerLens's bridge around it. Raises ModelError."""
    from mechtui.worker.models.bridge import bridged, unknown

    if reason := unknown(model):
        raise ModelError(f"{name} cannot be taken apart: {reason}; choose another model")
    problem = f"TransformerLens does not know the architecture of {name}, {type(model).__name__}"
    with told(problem, "choose a GPT-2-, Llama- or NeoX-like model"):
        return bridged(model, name)


def _shape(bridge: Any) -> ModelShape:
    if isinstance(bridge, DirectModel):
        return bridge.shape
    from transformer_lens.model_bridge.generalized_components.moe import MoEBridge

    cfg = bridge.cfg
    hooks = bridge.hook_dict
    return ModelShape(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=getattr(cfg, "n_key_value_heads", None) or cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_mlp=_d_mlp(bridge),
        d_vocab=cfg.d_vocab,
        n_ctx=cfg.n_ctx,
        has_mid=not getattr(cfg, "attn_only", False)
        and bridge.get_hook_point("blocks.0.hook_resid_mid") is not None
        and not getattr(cfg, "parallel_attn_mlp", False),
        has_pos="pos_embed.hook_out" in hooks,
        has_neurons=not any(isinstance(getattr(block, "mlp", None), MoEBridge) for block in bridge.blocks),
    )


def _d_mlp(bridge: Any) -> int:
    """How many neurons an MLP has. What the bridge's configuration says is four times the stream in some models that
    have another number; the weights know."""
    if getattr(bridge.cfg, "attn_only", False):
        return 0
    weight = getattr(getattr(bridge.blocks[0], "mlp", None), "W_out", None)
    if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
        return int(bridge.cfg.d_mlp or 0)
    return int(W_out(bridge, 0).shape[0])


def _bos_auto(tokenizer: Any, architecture: str) -> bool:
    """GPT-2's kind is read with BOS in front, as TransformerLens and the published results do; for other models
    the tokenizer's own habit holds."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return False
    if "GPT2" in architecture or "Native" in architecture:
        return True
    ids: list[int] = tokenizer.encode("a")
    return ids[:1] == [bos]
