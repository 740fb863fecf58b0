"""Compressed files and others as one stream of bytes, which says whether the compressed one was cut off."""

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path

SUFFIXES = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

DAMAGED = (gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError)


def decompressed(path) -> io.BufferedReader:
    """The content of a file, compressed or not, up to its end; `.raw.is_cut` says at the end whether that was missing.

    Raises one of DAMAGED where the compressed stream is damaged in the middle.
    """
    opened = SUFFIXES.get(Path(path).suffix.lower(), open)(path, "rb")
    return io.BufferedReader(_UpToTheCut(opened), 1 << 16)


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
