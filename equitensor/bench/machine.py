"""What a figure depends on: machine, threads, load, versions, dtype and date."""

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from equitensor.cores import usable_cores

PACKAGES = (
    "equitensor",
    "torch",
    "numpy",
    "e3nn",
    "ase",
    "lightning",
    "vesin",
    "mace-torch",
    "nequip",
    "matscipy",
)


def environment(dtype: str, **extra) -> dict:
    """Gather what a timing or an accuracy depends on; no host name and no path goes in.

    `load` is the load average of the last 1, 5 and 15 minutes (None on Windows): a timing made beside other work is
    not one.
    `dtype` is the precision that was measured ("float32", "float64"); `extra` is added as it is.
    """
    import torch

    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions(),
        "dtype": dtype,
        **extra,
    }


def machine() -> dict:
    """CPU model, cores that this process may use, memory in GiB, and the accelerator if torch sees one."""
    import torch

    facts = {"cpu": cpu_model(), "cores": usable_cores(), "memory_gib": memory_gib(), "system": platform.system()}
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def cpu_model() -> str:
    """Name of the processor as the kernel gives it, with family and model where the name alone is vague."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in cpuinfo.read_text().splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, _, value in lines}
    name = fields.get("model name", platform.machine())
    return f"{name} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def memory_gib() -> float | None:
    """Physical memory of the machine, GiB."""
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def versions() -> dict[str, str]:
    """Versions of the packages that matter here, those that are installed."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed
