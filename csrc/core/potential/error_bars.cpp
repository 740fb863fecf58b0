#include "error_bars.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace equitensor {
namespace {

// A matrix (rows, columns) into columns `at` and on of one with rows of `width`.
void put(const Array& matrix, int64_t rows, int64_t columns, int64_t width, int64_t at, Aligned<double>& out) {
  for (int64_t i = 0; i < rows; i++) std::copy_n(&matrix[i * columns], columns, out.data() + i * width + at);
}

// |x|, in eight sums: a chain of additions waits for each.
double length(const double* x, int64_t width) {
  double sum[8] = {};
  for (int64_t c = 0; c < width; c += 8)
    for (int k = 0; k < 8; k++) sum[k] += x[c + k] * x[c + k];
  return std::sqrt(((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7])));
}

}  // namespace

ErrorBars::ErrorBars(const Tensors& tensors, int64_t k, int64_t d)
    : elements_(k),
      features_(d),
      sums_(tensors.length("error_bars.energy")),
      width_(padded<double>(d)),
      sums_width_(padded<double>(sums_)),
      by_element_(sums_ > k + d) {
  if (sums_ != k * d + k && sums_ != d + k)
    throw std::runtime_error("its error bars are of " + std::to_string(sums_) + " sums, but it has " +
                             std::to_string(k) + " elements and " + std::to_string(d) +
                             " features; `equitensor uncertainty MODEL TRAIN --remove` takes them out");
  const auto read = [&](const char* name, std::initializer_list<int64_t> shape, bool finite = true) {
    return tensors.read(std::string("error_bars.") + name, shape, finite);
  };
  energy_.grow(sums_ * sums_width_);
  put(read("energy", {sums_, sums_}), sums_, sums_, sums_width_, 0, energy_);
  const Array whitening = read("whitening", {d, d}), means = read("means", {k, d});
  atoms_.grow(2 * d * width_), origins_.grow(k * width_);
  put(read("forces", {d, d}), d, d, 2 * width_, 0, atoms_);
  put(whitening, d, d, 2 * width_, width_, atoms_);
  put(multiply(means, whitening, k, d, d), k, d, width_, 0, origins_);
  forces_scale_ = read("forces_scale", {k});
  novelty_scale_ = read("novelty_scale", {k}, false);  // infinite for an element that training has not seen
}

void ErrorBars::add(int64_t count, const int32_t* species, const double* features, double* sums) const {
  double* const atoms = sums + sums_ - elements_;
  for (int64_t i = 0; i < count; i++) {
    if (species[i] < 0) continue;
    const double* const f = features + i * features_;
    double* const own = sums + (by_element_ ? species[i] * features_ : 0);
    for (int64_t c = 0; c < features_; c++) own[c] += f[c];
    atoms[species[i]] += 1;
  }
}

double ErrorBars::energy_std(const double* sums, MatrixProduct product) const {
  Array whole(sums_width_);
  product(1, sums_width_, sums_, sums, energy_.data(), whole.data());
  return length(whole.data(), sums_width_);
}

void ErrorBars::of_atoms(int64_t first, int64_t last, const int32_t* species, const double* features,
                         MatrixProduct product, double* forces_std, double* novelty) const {
  Array rows(2 * block * width_);
  for (; first < last; first += block) {
    const int64_t count = std::min(block, last - first);
    product(count, 2 * width_, features_, features + first * features_, atoms_.data(), rows.data());
    for (int64_t b = 0; b < count; b++) {
      const int64_t i = first + b;
      const int32_t own = species[i];
      double *const forces = &rows[2 * b * width_], *const white = forces + width_;
      if (own >= 0)
        for (int64_t c = 0; c < width_; c++) white[c] -= origins_[own * width_ + c];
      if (forces_std) forces_std[i] = own < 0 ? 0 : length(forces, width_) * forces_scale_[own];
      if (novelty) novelty[i] = own < 0 ? 0 : length(white, width_) * novelty_scale_[own];
    }
  }
}

}  // namespace equitensor
