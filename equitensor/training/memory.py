"""How much memory a process has needed, on Linux, macOS and Windows."""

import sys
from pathlib import Path


def peak_memory(children: bool = False) -> float:
    """Largest resident memory so far, in MB (10^6 bytes), of this process or of any of its `children` that has ended.

    Raises NotImplementedError for the children of a process on Windows, which keeps no such count.
    """
    if sys.platform == "win32":
        if children:
            raise NotImplementedError("Windows does not count the memory of processes that have ended")
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    if sys.platform == "linux" and not children:
        return _high_water_mark()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _high_water_mark() -> float:
    """In MB; what Linux counts as resource usage begins at the memory of the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
