"""Mathematics of O(3) in float64: quadrature, harmonics, coupling tensors and rotations."""

from equitensor.o3.cp import CPFactors
from equitensor.o3.cp_fit import fit_cp
from equitensor.o3.gaunt import gaunt, gaunt_coefficient
from equitensor.o3.gaunt_grid import gaunt_grid
from equitensor.o3.irreps import as_irreps
from equitensor.o3.paths import PRODUCTS, find_paths
from equitensor.o3.poisson import poisson, poisson_coefficient, poisson_grid
from equitensor.o3.quadrature import half_quadrature, quadrature
from equitensor.o3.rotation import random_rotation, representation, wigner_D
from equitensor.o3.spherical_harmonics import raising_tables, spherical_harmonics
from equitensor.o3.wigner import CONVENTION, wigner_3j

__all__ = [
    "CONVENTION",
    "PRODUCTS",
    "CPFactors",
    "as_irreps",
    "find_paths",
    "fit_cp",
    "gaunt",
    "gaunt_coefficient",
    "gaunt_grid",
    "half_quadrature",
    "poisson",
    "poisson_coefficient",
    "poisson_grid",
    "quadrature",
    "raising_tables",
    "random_rotation",
    "representation",
    "spherical_harmonics",
    "wigner_3j",
    "wigner_D",
]
