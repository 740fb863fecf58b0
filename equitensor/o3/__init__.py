"""True on paper: quadrature, harmonics, coupling tensors and rotations, in float64 and without a device."""

from equitensor.o3.quadrature import quadrature
from equitensor.o3.spherical_harmonics import spherical_harmonics

__all__ = ["quadrature", "spherical_harmonics"]
