"""What a model that was read directly is compared with, made beside the thread that answers."""

from __future__ import annotations

import threading

import torch

from mechtui.worker.check import Plain
from mechtui.worker.models.loaded import LoadedModel


class Preparing(threading.Thread):
    """Imports transformers, which takes seconds, and lets it read the model."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(name="preparing", daemon=True)
        self.model = model
        self._made: Plain | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            import transformers

            _ = transformers.AutoModelForCausalLM, transformers.AutoTokenizer  # which are imported when asked for
            # While it reads another type, that is torch's own default in all threads: then the one that answers reads.
            if self.model.dtype == torch.float32:
                self._made = self._make()
        except Exception as error:  # noqa: BLE001 - it is raised where what was made is asked for
            self._error = error

    def made(self) -> Plain:
        """Once it has ended. Raises what `compared_with` raises."""
        if self._error is not None:
            raise self._error
        return self._made or self._make()

    def _make(self) -> Plain:
        assert self.model.compared_with is not None
        return self.model.compared_with()
