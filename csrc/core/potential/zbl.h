// The screened nuclear repulsion of Ziegler, Biersack and Littmark between two atoms: see equitensor/models/zbl.py.
#pragma once

#include <cstdint>

namespace equitensor {

// Half of a pair's energy in eV, that of one of its atoms, and its derivative by the distance; it ends at the sum of
// the covalent radii, or at the cutoff.
void zbl_pair(int32_t z_sender, int32_t z_receiver, double distance, double cutoff, double& energy,
              double& by_distance);

}  // namespace equitensor
