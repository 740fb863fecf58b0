// Splines of what depends on a pair of elements and their distance alone, made when a pair first occurs.
#pragma once

#include <memory>
#include <vector>

#include "model.h"
#include "system.h"

namespace equitensor {

class PairTables {
 public:
  PairTables(const Model& model, MatrixProduct product);
  // Those of all pairs of these species (-1: none), with as many knots as the network's own spline, which is made finer
  // where pairs need it; null where the model has no such splines, or they would take more than MOST_BYTES.
  const PairSplines* of(const std::vector<int32_t>& species, Network<float>& network);

 private:
  struct Functions;
  std::shared_ptr<const Functions> functions_;
  PairSplines splines_;
};

}  // namespace equitensor
