"""Energy, forces and stress: the backbones, the potential around them, the model file."""

from equitensor.lazy import lazy

_LAZY = {
    "ARCHITECTURES": "equitensor.models.architectures",
    "D3": "equitensor.models.dispersion",
    "ErrorBars": "equitensor.models.error_bars",
    "Potential": "equitensor.models.potential",
    "build": "equitensor.models.architectures",
    "d3_of": "equitensor.models.dispersion",
    "extended": "equitensor.models.extension",
    "load": "equitensor.models.model_file",
    "load_pyg_weights": "equitensor.models.dimenet",
    "read_header": "equitensor.models.header",
    "save": "equitensor.models.model_file",
    "to_bytes": "equitensor.models.model_file",
    "write_error_bars": "equitensor.models.error_bars",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)
