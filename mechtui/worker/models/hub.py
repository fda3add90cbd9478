"""The Hugging Face hub: the local cache, read without a network; downloads, only when asked for.

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT are huggingface_hub's own business and hold.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mechtui.engine.errors import ModelError, first_line, shown
from mechtui.engine.hub_parts import WEIGHTS, hub_parts
from mechtui.worker.models.said import Progress, megabytes

WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "merges.txt", "vocab.json"]
# Of a dictionary of features, in its own folder.
OF_DICTIONARY = ["*.json", "*.csv", *WEIGHTS]


def cached(id: str, revision: str | None = None) -> Path:
    """The snapshot folder of a hub id in the local cache. Raises ModelError."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    # One file is looked for and not the whole snapshot: what else a repository holds (other formats, other
    # frameworks) need not be here.
    try:
        config = try_to_load_from_cache(id, "config.json", revision=revision)
    except HFValidationError as error:
        raise ModelError(f"{shown(id)} is no model: name a folder, a .gguf file or a hub id such as gpt2") from error
    if isinstance(config, str):
        return Path(config).parent
    at = f"@{revision}" if revision else ""
    how = f"fetch it with ctrl+f in the model picker (M) or with mechtui fetch {id}{at}"
    raise ModelError(f"{id}{at} is not on this machine: {how}")


def is_cached(id: str) -> bool:
    """Whether a hub id's snapshot with weights lies in the local cache."""
    try:
        return any(cached(id).glob("*.safetensors")) or any(cached(id).glob("*.bin"))
    except ModelError:
        return False


def cached_models() -> list[tuple[str, int]]:
    """(id, bytes) of the models with a causal language model's weights in the local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        info = scan_cache_dir()
    except CacheNotFound:
        return []
    return sorted(
        (repo.repo_id, repo.size_on_disk)
        for repo in info.repos
        if repo.repo_type == "model"
        and any(file.file_name.endswith((".safetensors", ".bin")) for rev in repo.revisions for file in rev.files)
    )


def download_size(name: str) -> int:
    """Bytes of the files that `fetch` would download, those included that are here already; 0 where the hub does
    not say. Raises ModelError."""
    with _hub_errors(name):
        id, _, revision = _model_parts(name)
        return _files(id, revision)[1]


def fetch(name: str, progress: Progress, cancelled: Callable[[], bool], dictionary: bool = False) -> None:
    """Download a model into the local cache, or a dictionary of features, whose name has a folder in it. Files that are
    there already are not asked for again, and a connection that breaks is taken up where it broke.

    Raises ModelError, and Cancelled between two looks at `cancelled`.
    """
    from huggingface_hub import snapshot_download

    id, within, revision = hub_parts(name) if dictionary else _model_parts(name)
    failure: list[BaseException] = []
    bars = _bars(cancelled)
    with _hub_errors(name):
        patterns, total = _files(id, revision, within if dictionary else None)
        if dictionary and not total:
            raise ModelError(f"{name} holds no dictionary of features: name its folder, as in {id}/FOLDER")

        def download() -> None:
            try:
                snapshot_download(id, revision=revision or None, allow_patterns=patterns, tqdm_class=bars.kind)
            except BaseException as error:  # noqa: BLE001 - carried to the thread that waits, which raises it
                failure.append(error)

        thread = threading.Thread(target=download, daemon=True)
        began = time.monotonic()
        thread.start()
        while thread.is_alive():
            thread.join(0.25)
            progress("downloading", bars.done / total if total else None, _speed(bars.done, total, began))
        if failure:
            raise failure[0]


def _model_parts(name: str) -> tuple[str, str, str]:
    """(hub id, nothing, revision) of a model's name."""
    id, _, revision = name.partition("@")
    return id, "", revision


def _files(id: str, revision: str, folder: str | None = None) -> tuple[list[str], int]:
    """Patterns of the files that are to be had, and their bytes, as the hub says. folder: of a dictionary of features,
    or its weights; None: a model's."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(id, revision=revision or None, files_metadata=True)
    files = [(file.rfilename, file.size or 0) for file in info.siblings or ()]
    if folder is not None:
        place = PurePosixPath(folder).parent if folder.endswith(tuple(WEIGHTS)) else PurePosixPath(folder)
        files = [
            (name, size)
            for name, size in files
            if PurePosixPath(name).parent == place and any(PurePosixPath(name).match(each) for each in OF_DICTIONARY)
        ]
        return [name for name, _ in files], sum(size for _, size in files)
    patterns = list(WANTED)
    if not any(name.endswith(".safetensors") for name, _ in files):
        patterns.append("pytorch_model*.bin")
    return patterns, sum(size for name, size in files if any(Path(name).match(pattern) for pattern in patterns))


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """What goes wrong with the hub, as a ModelError."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    from mechtui.engine.errors import Cancelled

    id = name.partition("@")[0]
    try:
        yield
    except Cancelled:
        raise
    except HFValidationError as error:
        raise ModelError(
            f"{shown(id)} is no model on the hub: name one such as gpt2 or EleutherAI/pythia-70m"
        ) from error
    except GatedRepoError as error:
        raise ModelError(f"{id} is gated: accept its terms on the hub and set HF_TOKEN") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no model {id} on the hub, or it is private: check the name, or set HF_TOKEN"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ModelError(f"{id} cannot be fetched because HF_HUB_OFFLINE is set: unset it") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"{id} cannot be fetched, the hub does not answer ({first_line(error)}): try later") from error
    except Exception as error:
        # huggingface_hub lets its HTTP library's own errors through, and that library changes between versions.
        if "connect" not in type(error).__name__.lower() and "timeout" not in type(error).__name__.lower():
            raise
        raise ModelError(f"{id} cannot be fetched, there is no network to the hub: try later") from error


class _Bars:
    """Counts the bytes of all files, from the progress bars that the hub library would draw."""

    def __init__(self) -> None:
        self.done = 0
        self.kind: type | None = None


def _bars(cancelled: Callable[[], bool]) -> _Bars:
    from tqdm import tqdm

    from mechtui.engine.errors import Cancelled

    bars = _Bars()

    class Counting(tqdm):  # type: ignore[misc]
        def __init__(self, *args: object, **kwargs: object) -> None:
            kwargs["disable"] = True
            self._bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **{k: v for k, v in kwargs.items() if k != "name"})

        def update(self, n: float | None = 1) -> bool | None:
            if cancelled():
                raise Cancelled
            if self._bytes:
                bars.done += int(n or 0)
            return None

    bars.kind = Counting
    return bars


def _speed(done: int, total: int, began: float) -> str:
    seconds = max(time.monotonic() - began, 1e-3)
    rate = done / seconds
    left = f", {(total - done) / rate:.0f} s left" if rate and total else ""
    return f"{megabytes(done)} of {megabytes(total)}, {megabytes(rate)}/s{left}"
