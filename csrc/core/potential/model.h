// A model file (safetensors with a JSON header) as arrays in double precision: see equitensor/models/directional.py.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace equitensor {

using Array = std::vector<double>;
class ErrorBars;

// One non-zero coupling: z_out += coefficient w_path x_first y_second.
struct Coupling {
  int out, first, second, path;
  double coefficient;
};

// A_lm = W_l sum_j Y_lm R(d) (V m): radial (num_radial, G), message (c, G), mix (L+1, G, C).
struct DensityWeights {
  Array radial, message, mix;
};

// m += silu(M m + R'(d) Y . W_l B + S b + bias) O
struct UpdateWeights {
  Array radial, angular, message, scalars, bias, out;
};

// Weights of the powers of a density (elements, order, degrees or 1, C), of the paths (paths, C) or empty.
struct ProductWeights {
  Array coefficients, paths, energy;
};

struct Model {
  std::string header, d3;
  double cutoff = 0, scale = 1, shift = 0;
  bool zbl = false, normalized = false, repulsion = false;
  double num_neighbors = 1;
  Array begins;  // (elements, elements), Angstrom: where repulsion begins and the network sees no less; or empty
  std::vector<int32_t> elements;
  Array e0s;
  int lmax = 0, channels = 0, edge_channels = 0, gathered = 0, num_radial = 0, layers = 0, correlation = 0;
  int paths = 0;  // of the coupling that have a weight
  std::vector<Coupling> coupling;
  Array sender, receiver, radial, bias, out;  // of the first messages
  std::vector<DensityWeights> densities;      // layers
  std::vector<UpdateWeights> updates;         // layers - 1
  std::vector<ProductWeights> products;       // layers - 1
  ProductWeights invariants;
  Array mix, head, head_out;
  std::shared_ptr<const ErrorBars> error_bars;  // null where the file has none

  int components() const { return (lmax + 1) * (lmax + 1); }
  int num_elements() const { return static_cast<int>(elements.size()); }
  int num_features() const { return layers * channels; }
};

// Throws std::runtime_error with the reason where the bytes are not a model that this evaluates.
Model read_model(const char* bytes, size_t size);

// The bytes of a file; throws std::runtime_error where it cannot be read.
std::string read_file(const std::string& path);

}  // namespace equitensor
