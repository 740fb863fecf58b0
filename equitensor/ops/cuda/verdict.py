"""What a proof of a kernel found, as it stays in the cache beside the machine code: for one GPU, driver and runtime."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from equitensor.errors import InputError

VARIABLE = "EQUITENSOR_KERNEL_PROOF"
CHOICES = ("first", "always", "never")


def choice() -> str:
    """When kernels are proved: "first" (at first use, the verdict is kept), "always" (in each process), "never"."""
    chosen = os.environ.get(VARIABLE) or CHOICES[0]
    if chosen not in CHOICES:
        raise InputError(f"{VARIABLE} is {chosen!r}: say {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")
    return chosen


class Verdict(NamedTuple):
    """Of one kernel (`key`, SHA-256 of its machine code and of what launches it) on one device."""

    kernel: str
    key: str
    code: str
    on: dict[str, str]
    difference: float | None
    where: str
    refused: str | None
    not_in_graphs: str | None

    def text(self) -> str:
        """JSON, with the SHA-256 of the rest."""
        fields = self._asdict()
        return json.dumps({**fields, "sha256": _digest(fields)}, indent=1) + "\n"


def parse(text: str) -> Verdict | None:
    """None where this is not a whole verdict."""
    try:
        fields: dict[str, Any] = json.loads(text)
        digest = fields.pop("sha256")
        return Verdict(**fields) if digest == _digest(fields) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _digest(fields: dict) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def digest_of_code(code: bytes) -> str:
    """SHA-256 of machine code and of the Python that launches it."""
    return hashlib.sha256(_launchers() + code).hexdigest()


@functools.cache
def _launchers() -> bytes:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).digest()


@functools.cache
def surroundings(device: torch.device) -> dict[str, str]:
    """What else a verdict depends on: device, compute capability, driver, runtime, and what launches and computes."""
    import cupy

    major, minor = torch.cuda.get_device_capability(device)
    return {
        "device": torch.cuda.get_device_name(device),
        "compute capability": f"{major}.{minor}",
        "driver": _driver(),
        "driver's CUDA": str(cupy.cuda.runtime.driverGetVersion()),
        "runtime": str(cupy.cuda.runtime.runtimeGetVersion()),
        "torch": str(torch.__version__),
        "torch's CUDA": str(torch.version.cuda),
        "CuPy": str(cupy.__version__),
    }


def _driver() -> str:
    """The kernel driver's own words, where the system shows them."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"


def words(on: dict[str, str]) -> str:
    return (
        f"{on['device']} (compute capability {on['compute capability']}, CUDA {on['runtime']}, driver {on['driver']})"
    )


def name_of(on: dict[str, str]) -> str:
    """What tells files of verdicts apart."""
    return hashlib.sha256(json.dumps(on, sort_keys=True).encode()).hexdigest()[:12]
