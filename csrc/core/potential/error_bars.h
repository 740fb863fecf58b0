// Error bars of energies and forces, and the novelty of atoms, from the features of the atoms: what they are is said in
// equitensor/models/error_bars.py. In double precision, whatever the features were computed in.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "network.h"
#include "safetensors.h"

namespace equitensor {

class ErrorBars {
 public:
  // Those among the tensors of a model file, of so many elements and features; throws std::runtime_error with the reason.
  ErrorBars(const Tensors& tensors, int64_t elements, int64_t features);

  // Of X: sums of features, of all atoms or by element, and how many atoms each element has.
  int64_t num_sums() const { return sums_; }
  // Adds what atoms put into X, one after another. species (count,), -1 for one that takes no part; features (count, d).
  void add(int64_t count, const int32_t* species, const double* features, double* sums) const;
  // sqrt(X^T W W^T X), eV.
  double energy_std(const double* sums, MatrixProduct product) const;

  // forces_std (eV/Angstrom) and novelty of atoms first .. last - 1, null where not wanted. The same bits wherever `first`
  // is a multiple of `block`.
  static constexpr int64_t block = 16;
  void of_atoms(int64_t first, int64_t last, const int32_t* species, const double* features, MatrixProduct product,
                double* forces_std, double* novelty) const;

 private:
  int64_t elements_, features_, sums_;
  int64_t width_, sums_width_;  // of rows of d and of X, padded
  bool by_element_;
  Aligned<double> energy_;   // W of X (m, sums_width)
  Aligned<double> atoms_;    // W of forces and whitening side by side (d, 2 width)
  Aligned<double> origins_;  // the elements' means, whitened (k, width)
  std::vector<double> forces_scale_, novelty_scale_;
};

}  // namespace equitensor
