"""GGUF files: dequantised once, kept as a folder with safetensors that loads in a second."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from mechtui.engine.errors import ModelError, first_line, told
from mechtui.session.paths import cache_dir, reason
from mechtui.worker.models.said import Progress
from mechtui.worker.models.weights import check_count, check_held, check_loaded


def folder_for(file: Path) -> Path:
    """Where the dequantised model of this very file (path, size, time) is kept. Raises OSError."""
    status = file.stat()
    mark = f"{file.resolve()}:{status.st_size}:{status.st_mtime_ns}"
    key = hashlib.sha256(mark.encode()).hexdigest()[:12]
    return cache_dir() / "gguf" / f"{file.stem}-{key}"


def dequantised(file: Path, progress: Progress) -> Path:
    """A Hugging Face folder with the file's model, dequantised to float32.

    Raises ModelError.
    """
    with _writing(file):
        kept = folder_for(file)
    if _whole(kept):
        return kept
    from transformers import AutoModelForCausalLM, AutoTokenizer

    progress("dequantising, once", None, file.name)
    with told(f"{file} cannot be read as a GGUF language model", "it may be cut off: fetch it again"):
        layers, tensors, held = _sizes(file)
        check_count(layers, tensors, file.name)
        check_held(_asked(file), held, file.name)
        model, info = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            gguf_file=file.name,
            dtype="float32",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    check_loaded(model, info, file.name)
    with _writing(file, kept.parent):
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(kept, ignore_errors=True)  # one that is damaged
        # Written beside and renamed, so that a process that dies leaves nothing half-written behind.
        fresh = Path(tempfile.mkdtemp(dir=kept.parent))
        try:
            _as_plain(model)
            model.save_pretrained(fresh)
            tokenizer.save_pretrained(fresh)
            try:
                os.replace(fresh, kept)
            except OSError:
                if not _whole(kept):  # else another process was first, with the same content
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return kept


def _whole(kept: Path) -> bool:
    """Whether a folder that was written here is there, and no file of it is cut off."""
    try:
        if not (kept / "config.json").exists():
            return False
        for weights in kept.glob("*.safetensors"):
            with safe_open(weights, "pt"):  # which looks whether the file is as long as it says
                pass
        return all(_ends(text) for text in kept.glob("*.json"))
    except (OSError, SafetensorError):
        return False


def _ends(text: Path) -> bool:
    """Whether a file with a JSON object goes on to its end."""
    with text.open("rb") as file:
        file.seek(-min(16, text.stat().st_size), os.SEEK_END)
        return file.read().rstrip().endswith(b"}")


@contextmanager
def _writing(file: Path, folder: Path | None = None) -> Iterator[None]:
    """Within, what this file becomes is written. Raises ModelError where it cannot be."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        where = folder or getattr(error, "filename", None) or "the cache folder"
        why = reason(error) if isinstance(error, OSError) else first_line(error)
        raise ModelError(
            f"{file.name} is dequantised into {where}, which cannot be written ({why}): make room there, or name "
            "another folder with XDG_CACHE_HOME"
        ) from error


def _asked(file: Path) -> int:
    """Numbers of the model that the file describes."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        config = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
        return sum(each.numel() for each in AutoModelForCausalLM.from_config(config).parameters())


def _sizes(file: Path) -> tuple[int, int, int]:
    """(layers, tensors, numbers) that the file names."""
    from gguf import GGUFReader

    class Reader(GGUFReader):  # type: ignore[misc]
        """Reads no further than the file goes: a count that is too large would make an endless list of nothing."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            end = int(offset) + int(count) * int(np.dtype(dtype).itemsize)
            if end > len(self.data):
                raise ValueError(f"it has {len(self.data):,} bytes and says that it goes on to byte {end:,}")
            return super()._get(offset, dtype, count, override_order)

    reader = Reader(file)
    kind = reader.fields["general.architecture"].contents()
    numbers = sum(int(tensor.n_elements) for tensor in reader.tensors)
    return int(reader.fields[f"{kind}.block_count"].contents()), len(reader.tensors), numbers


def _as_plain(model: Any) -> None:
    """transformers remembers that the weights came quantised and then will not save what are plain floats now."""
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
