"""Machine code on disk, under a key that holds all that it depends on.

An entry is a line of magic, the key, the SHA-256 of the code, and the code; beside it lie the verdicts on it, one for
each device. Files appear whole or not at all: processes that compile or prove the same kernel at once write the same
ones, one after the other.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import tempfile
from pathlib import Path

from equitensor.ops.cuda import verdict
from equitensor.ops.cuda.verdict import Verdict

MAGIC = b"equitensor cubin\n"
_log = logging.getLogger(__name__)


def default_folder() -> Path:
    """`equitensor/cuda` in the user's cache folder: $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "equitensor" / "cuda"


class Cache:
    """Entries by name and key in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str, key: str) -> Path:
        return self.folder / f"{Path(name).stem}-{key[:24]}.cubin"

    def read(self, name: str, key: str) -> bytes | None:
        """The code, or None where it is not there; an entry that is damaged or another key's counts as not there."""
        try:
            entry = self.path(name, key).read_bytes()
        except OSError:
            return None
        head = len(MAGIC) + len(key)
        digest, code = entry[head : head + 32], entry[head + 32 :]
        if entry[:head] == MAGIC + key.encode() and hashlib.sha256(code).digest() == digest:
            return code
        _log.warning("%s is damaged or stale: its kernel is compiled again", self.path(name, key))
        return None

    def write(self, name: str, key: str, code: bytes) -> None:
        """Keep the code; where the folder cannot be written, say so once and go on without."""
        entry = MAGIC + key.encode() + hashlib.sha256(code).digest() + code
        self._write_whole(self.path(name, key), entry)

    def verdict_path(self, name: str, key: str, on: dict[str, str]) -> Path:
        return self.folder / f"{Path(name).stem}-{key[:24]}-{verdict.name_of(on)}.json"

    def read_verdict(self, name: str, key: str, code: str, on: dict[str, str]) -> Verdict | None:
        """The verdict on this very machine code in these surroundings; damaged or stale ones count as not there."""
        path = self.verdict_path(name, key, on)
        try:
            stored = verdict.parse(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return None
        if stored is not None and (stored.kernel, stored.key, stored.code, stored.on) == (name, key, code, on):
            return stored
        _log.warning("%s is damaged or stale: its kernel is compared with plain torch again", path)
        return None

    def write_verdict(self, judged: Verdict) -> None:
        """Keep a verdict beside the code."""
        self._write_whole(self.verdict_path(judged.kernel, judged.key, judged.on), judged.text().encode())

    def _write_whole(self, path: Path, content: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=self.folder, suffix=".partial")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(partial, path)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise
        except OSError as error:
            _warn_once(self.folder, error.strerror or str(error))


@functools.cache
def _warn_once(folder: Path, reason: str) -> None:
    _log.warning(
        "CUDA kernels cannot be kept in %s (%s): each process compiles and compares them again; set XDG_CACHE_HOME to "
        "a folder that can be written to",
        folder,
        reason,
    )
