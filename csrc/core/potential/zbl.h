// The screened nuclear repulsion of Ziegler, Biersack and Littmark between two atoms: see equitensor/models/zbl.py.
#pragma once

#include <cstdint>

namespace equitensor {

// The sum of the covalent radii of two elements, in Angstrom.
double sum_of_radii(int32_t z_sender, int32_t z_receiver);

// Half of a pair's energy in eV, that of one of its atoms, and its derivative w.r.t. the distance; it ends at `end`.
void zbl_pair(int32_t z_sender, int32_t z_receiver, double distance, double end, double& energy, double& by_distance);

}  // namespace equitensor
