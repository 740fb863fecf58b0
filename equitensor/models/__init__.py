"""Models of energy, forces and stress: backbones, the potential around them, model files."""

from typing import TYPE_CHECKING

from equitensor.lazy import lazy

if TYPE_CHECKING:  # what editors and type checkers see of the names below
    from equitensor.models.adaptation import enlarged as enlarged
    from equitensor.models.adaptation import extended as extended
    from equitensor.models.architectures import ARCHITECTURES as ARCHITECTURES
    from equitensor.models.architectures import build as build
    from equitensor.models.backbone import Backbone as Backbone
    from equitensor.models.backbone import GrowingBackbone as GrowingBackbone
    from equitensor.models.by_name import model_path as model_path
    from equitensor.models.by_name import own_file as own_file
    from equitensor.models.by_name import shipped_models as shipped_models
    from equitensor.models.card import card_lines as card_lines
    from equitensor.models.card import write_card as write_card
    from equitensor.models.dimenet import load_pyg_weights as load_pyg_weights
    from equitensor.models.dispersion import D3 as D3
    from equitensor.models.dispersion import d3_of as d3_of
    from equitensor.models.error_bars import ErrorBars as ErrorBars
    from equitensor.models.error_bars import write_error_bars as write_error_bars
    from equitensor.models.header import read_header as read_header
    from equitensor.models.model_file import load as load
    from equitensor.models.model_file import save as save
    from equitensor.models.model_file import to_bytes as to_bytes
    from equitensor.models.potential import Potential as Potential

_LAZY = {
    "ARCHITECTURES": "equitensor.models.architectures",
    "Backbone": "equitensor.models.backbone",
    "D3": "equitensor.models.dispersion",
    "ErrorBars": "equitensor.models.error_bars",
    "GrowingBackbone": "equitensor.models.backbone",
    "Potential": "equitensor.models.potential",
    "build": "equitensor.models.architectures",
    "card_lines": "equitensor.models.card",
    "d3_of": "equitensor.models.dispersion",
    "enlarged": "equitensor.models.adaptation",
    "extended": "equitensor.models.adaptation",
    "load": "equitensor.models.model_file",
    "load_pyg_weights": "equitensor.models.dimenet",
    "model_path": "equitensor.models.by_name",
    "own_file": "equitensor.models.by_name",
    "read_header": "equitensor.models.header",
    "save": "equitensor.models.model_file",
    "shipped_models": "equitensor.models.by_name",
    "to_bytes": "equitensor.models.model_file",
    "write_card": "equitensor.models.card",
    "write_error_bars": "equitensor.models.error_bars",
}

__all__ = sorted(_LAZY)
__getattr__, __dir__ = lazy(__name__, _LAZY)
