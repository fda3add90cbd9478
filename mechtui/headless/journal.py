"""Results on the disk as they are finished, a line each: a run that was killed goes on where it was."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from mechtui.headless.ending import FAILED, MISTAKE, Stop
from mechtui.session.paths import PathError, reason, to_write
from mechtui.visible import json_escaped

FINGERPRINT = "fingerprint"
BEGIN = b'{"fingerprint": "'
# How a file system says that it has no locks: nobody can be kept from the file, and no result is refused for that.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
# What of a model must be the same for all lines of a file.
SAME = ("name", "source", "architecture", "dtype", "weights")


def line_of(result: dict[str, Any]) -> str:
    """A result as JSON on one line."""
    return json_escaped(json.dumps(result, ensure_ascii=False, allow_nan=False))


class Journal:
    """A file with a line for each result, in the order of what is wanted. Nobody else may read it, and no
    other run writes it meanwhile, unless the file system has no locks.

    name: the file, as a user writes it. wanted: the fingerprint of each result that is to stand there. remedy: what
    the user can do where another run's results stand there. kept: how many were there already; a last line that is not
    whole is dropped. Raises Stop where the file holds anything else.
    """

    def __init__(self, name: str, wanted: Sequence[str], remedy: str) -> None:
        self.name = name
        self._wanted = wanted
        self._remedy = remedy
        self._models: dict[str, dict[str, Any]] = {}  # by name
        try:
            self._path = to_write(name)
            self._new = not self._path.exists()
            # It holds prompts, so that nobody else may read it.
            self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb")
        except PathError as error:
            raise Stop(MISTAKE, f"--output {error}") from error
        except OSError as error:
            raise Stop(MISTAKE, f"--output {name} cannot be written: {reason(error)}") from error
        try:
            self._lock()
            self.kept = self._count = self._read()
        except BlockingIOError as error:
            self._file.close()
            raise Stop(MISTAKE, f"another mechtui run is writing {name}; wait for it, or name another file") from error
        except OSError as error:
            self.close()
            raise Stop(MISTAKE, f"--output {name} cannot be read: {reason(error)}") from error
        except Stop:
            self.close()
            raise

    def _lock(self) -> None:
        """Raises BlockingIOError where another program writes the file."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise

    def _read(self) -> int:
        self._file.seek(0)
        whole = kept = 0
        for line in self._file:
            if not line.endswith(b"\n") and line.startswith(BEGIN[: len(line)]):
                os.ftruncate(self._file.fileno(), whole)  # it was being written
                break
            try:
                said = json.loads(line)
                fingerprint, model = said[FINGERPRINT], said["model"]
                self._models[model["name"]] = {key: model[key] for key in SAME}
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                problem = f"{self.name} line {kept + 1} is none that mechtui run --output wrote"
                raise Stop(MISTAKE, f"{problem}: name another file") from error
            if kept == len(self._wanted) or fingerprint != self._wanted[kept]:
                asked = "another session, question or case than is asked for now"
                raise Stop(MISTAKE, f"{self.name} line {kept + 1} is of {asked}: {self._remedy}")
            whole += len(line)
            kept += 1
        return kept

    def add(self, result: dict[str, Any]) -> None:
        """The next result, which the system has when this returns: the end of the program does not lose it. Raises
        Stop."""
        model = {key: result["model"][key] for key in SAME}
        was = self._models.setdefault(model["name"], model)
        if was != model:
            known = ", ".join(f"{key} {was[key]}" for key in SAME if was[key] != model[key])
            raise Stop(MISTAKE, f"{self.name} holds results of another {model['name']} ({known}): {self._remedy}")
        left = memoryview(f"{line_of({FINGERPRINT: self._wanted[self._count], **result})}\n".encode())
        try:
            while left:
                left = left[os.write(self._file.fileno(), left) :]
        except OSError as error:
            # What was written of it is dropped next time.
            raise Stop(FAILED, f"{self.name} cannot be written: {reason(error)}") from error
        self._count += 1

    def sync(self) -> None:
        """All results are on the disk when this returns: the end of the machine does not lose them. Raises Stop."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise Stop(FAILED, f"{self.name} cannot be written: {reason(error)}") from error

    def results(self) -> Iterator[dict[str, Any]]:
        """All that stand there, in their order."""
        self._file.seek(0)
        for line in self._file:
            said = json.loads(line)
            del said[FINGERPRINT]
            yield said

    def remove(self) -> None:
        """The file is not needed any more."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """A file that was made here and that nothing stands in goes."""
        if self._new and os.fstat(self._file.fileno()).st_size == 0:
            self.remove()
        self._file.close()
