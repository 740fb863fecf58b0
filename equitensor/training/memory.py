"""How much memory a process has needed, on Linux, macOS and Windows."""

import sys


def peak_memory(children: bool = False) -> float:
    """Largest resident memory so far, in MB (10^6 bytes), of this process or of any of its `children` that has ended.

    Raises NotImplementedError for the children of a process on Windows, which keeps no such count.
    """
    if sys.platform == "win32":
        if children:
            raise NotImplementedError("Windows does not count the memory of processes that have ended")
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
