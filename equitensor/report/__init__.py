"""`equitensor report`: a run as one page of HTML that needs no network, and the same live while the run goes on."""

from equitensor.lazy import lazy

_LAZY = {
    "watched": "equitensor.report.watch",
    "write_report": "equitensor.report.report",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)
