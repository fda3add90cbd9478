"""Models: find them, fetch them, load them.

names.py  what a name means: embedded, package, folder, file, hub id
load.py   a place with weights -> Model
gguf.py   a .gguf file -> a folder with safetensors, once
hub.py    the local Hugging Face cache, and downloads into it
"""

from __future__ import annotations

from mechtui.engine.errors import ModelError
from mechtui.worker.models.hub import download_size, fetch
from mechtui.worker.models.load import load
from mechtui.worker.models.names import default_model, find

__all__ = ["ModelError", "default_model", "download_size", "fetch", "find", "load"]
