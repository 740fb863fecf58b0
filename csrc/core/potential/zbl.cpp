#include "zbl.h"

#include <cmath>

namespace equitensor {
namespace {

constexpr double COULOMB = 14.399645478425668;  // e^2 / (4 pi epsilon_0) in eV Angstrom
constexpr double BOHR = 0.529177210903;         // Angstrom
constexpr double COEFFICIENTS[] = {0.18175, 0.50986, 0.28022, 0.02817};
constexpr double EXPONENTS[] = {3.19980, 0.94229, 0.40290, 0.20162};

// Angstrom, by atomic number: Cordero et al. 2008, doi 10.1039/b801115j, as ASE has them.
constexpr double RADII[119] = {0.2,  0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11,
                               1.07, 1.05, 1.02, 1.06, 2.03, 1.76, 1.7,  1.6,  1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32,
                               1.22, 1.22, 1.2,  1.19, 1.2,  1.2,  1.16, 2.2,  1.95, 1.9,  1.75, 1.64, 1.54, 1.47, 1.46,
                               1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.4,  2.44, 2.15, 2.07, 2.04, 2.03,
                               2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.9,  1.87, 1.87, 1.75, 1.7,  1.62,
                               1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.4,  1.5,  1.5,  2.6,  2.21, 2.15,
                               2.06, 2,    1.96, 1.9,  1.87, 1.8,  1.69, 2,    2,    2,    2,    2,    2,    2,    2,
                               2,    2,    2,    2,    2,    2,    2,    2,    2,    2,    2,    2,    2,    2};

}  // namespace

double sum_of_radii(int32_t z_sender, int32_t z_receiver) { return RADII[z_sender] + RADII[z_receiver]; }

void zbl_pair(int32_t z_sender, int32_t z_receiver, double distance, double end, double& energy, double& by_distance) {
  energy = by_distance = 0;
  const double x = distance / end;
  if (x >= 1) return;
  const double screening = 0.8854 * BOHR / (std::pow(z_sender, 0.23) + std::pow(z_receiver, 0.23));
  double phi = 0, dphi = 0;
  for (int k = 0; k < 4; k++) {
    const double term = COEFFICIENTS[k] * std::exp(-EXPONENTS[k] * distance / screening);
    phi += term;
    dphi -= EXPONENTS[k] / screening * term;
  }
  const double x5 = x * x * x * x * x, u = 1 + x5 * x * (-28 + x * (48 - 21 * x)),
               du = -168 * x5 * (1 - x) * (1 - x) / end;
  const double coulomb = 0.5 * COULOMB * z_sender * z_receiver / distance;
  energy = coulomb * phi * u;
  by_distance = coulomb * (dphi * u + phi * du - phi * u / distance);
}

}  // namespace equitensor
