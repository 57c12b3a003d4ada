"""The sphere and its rotations: harmonics, Wigner D, quadratures, Gaunt and bracket tables."""

from equinet.o3.angles import angle_multiples
from equinet.o3.autodiff import contract, is_transformed, matmul
from equinet.o3.edge_rotation import rotation_to_pole
from equinet.o3.gaunt import bracket_tensor, gaunt_tensor
from equinet.o3.harmonics import spherical_harmonics
from equinet.o3.irreps import from_e3nn, to_e3nn
from equinet.o3.layout import degree_index, degree_of, degree_table, degrees, orders
from equinet.o3.legendre import normalized_legendre
from equinet.o3.orientations import OrientationGrid, orientation_grid
from equinet.o3.paths import bracket_gain, gaunt_gain, path_factors
from equinet.o3.powers import power_variance
from equinet.o3.quadrature import (
    SphereQuadrature,
    antipodal_quadrature,
    gauss_legendre_quadrature,
    lebedev_quadrature,
    quadrature,
)
from equinet.o3.tables import Table, constant_table
from equinet.o3.wigner import rotate, wigner_d, wigner_d_blocks
from equinet.o3.zonal import zonal_polynomials

__all__ = [
    "OrientationGrid",
    "SphereQuadrature",
    "Table",
    "angle_multiples",
    "antipodal_quadrature",
    "bracket_gain",
    "bracket_tensor",
    "constant_table",
    "contract",
    "degree_index",
    "degree_of",
    "degree_table",
    "degrees",
    "from_e3nn",
    "gaunt_gain",
    "gaunt_tensor",
    "gauss_legendre_quadrature",
    "is_transformed",
    "lebedev_quadrature",
    "matmul",
    "normalized_legendre",
    "orders",
    "orientation_grid",
    "path_factors",
    "power_variance",
    "quadrature",
    "rotate",
    "rotation_to_pole",
    "spherical_harmonics",
    "to_e3nn",
    "wigner_d",
    "wigner_d_blocks",
    "zonal_polynomials",
]
