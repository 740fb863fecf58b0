"""Layers: parameters and buffers around the functions of `ops` and the tables of `o3`."""

from equitensor.nn.convolution import Convolution
from equitensor.nn.interaction import Interaction
from equitensor.nn.layout import to_channels_last, to_flat
from equitensor.nn.zonal_convolution import ZonalConvolution

__all__ = ["Convolution", "Interaction", "ZonalConvolution", "to_channels_last", "to_flat"]
