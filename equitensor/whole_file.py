"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from equitensor.errors import WriteError


@contextlib.contextmanager
def whole_file(path, ending: str = "") -> Iterator[Path]:
    """A path beside `path` to write to; what was written there becomes `path` at the end, on the disk before it does.

    Its name is that of `path` with ".partial" and the `ending`, for writers that go by it. Where anything fails, that
    file is removed and `path` is as it was. Raises WriteError where the disk is full or the folder cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial{ending}")
    try:
        yield partial
        if not partial.is_dir():  # some formats of ASE's are folders
            with partial.open("rb+") as file:
                os.fsync(file.fileno())  # or a power failure leaves a file with the final name and half its content
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(
            error, OSError | RuntimeError | SafetensorError
        ):  # of the system, of torch's and safetensors' writers
            raise WriteError(f"{path} could not be written ({reason(error)}): is the disk full or read-only?") from None
        raise


def write_whole(path, text: str) -> None:
    """Write a text as a `whole_file`."""
    with whole_file(path) as partial:
        partial.write_text(text)


def reason(error: Exception) -> str:
    """What the system objected to, in one line: libraries wrap it in pages."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
