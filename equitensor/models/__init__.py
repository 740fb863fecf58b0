"""Energy, forces and stress: the backbones, the potential around them, the model file."""

from equitensor.models.architectures import ARCHITECTURES, build
from equitensor.models.dimenet import load_pyg_weights
from equitensor.models.model_file import load, read_header, save
from equitensor.models.potential import Potential

__all__ = ["ARCHITECTURES", "Potential", "build", "load", "load_pyg_weights", "read_header", "save"]
