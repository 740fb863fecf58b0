"""Compressed files and others as one stream of bytes, which says whether the compressed one was cut off."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUFFIXES: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

DAMAGED = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError)


class Decompressed(io.BufferedReader):
    """The content of a file, compressed or not, up to its end.

    Reading raises one of DAMAGED where the compressed stream is damaged in the middle.
    """

    def __init__(self, path) -> None:
        self._stream = _UpToTheCut(SUFFIXES.get(Path(path).suffix.lower(), open)(path, "rb"))
        super().__init__(self._stream, 1 << 16)

    @property
    def is_cut(self) -> bool:
        """At the end of what there is, whether the end of the compressed stream was missing."""
        return self._stream.is_cut


class _UpToTheCut(io.RawIOBase):
    def __init__(self, file) -> None:
        self._file, self.is_cut = file, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._file.read1(len(buffer))
        except EOFError:  # the compressed stream has no end
            self.is_cut, data = True, b""
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
