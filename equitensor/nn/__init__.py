"""Layers: parameters and buffers around the operators of `ops` and the tables of `o3`."""

from equitensor.nn.convolution import Convolution
from equitensor.nn.gate import Gate
from equitensor.nn.harmonics import SphericalHarmonics
from equitensor.nn.interaction import Interaction
from equitensor.nn.layout import to_channels_last, to_flat
from equitensor.nn.linear import Linear
from equitensor.nn.many_body import ManyBody
from equitensor.nn.norm import LayerNorm, Norm
from equitensor.nn.zonal_convolution import ZonalConvolution

__all__ = [
    "Convolution",
    "Gate",
    "Interaction",
    "LayerNorm",
    "Linear",
    "ManyBody",
    "Norm",
    "SphericalHarmonics",
    "ZonalConvolution",
    "to_channels_last",
    "to_flat",
]
