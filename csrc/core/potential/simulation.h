// A system of one precision or the other: its arrays, and the order of the stages.
#pragma once

#include <cstdint>
#include <memory>

#include "../potential.h"
#include "system.h"

namespace equitensor {

// All functions throw std::runtime_error with the reason; see potential.h.
class Simulation {
 public:
  virtual ~Simulation() = default;
  virtual void neighbors(int64_t owned, int64_t total, const int32_t* z, const int64_t* start,
                         const int32_t* sender) = 0;
  virtual void evaluate(const double* pos, const double* shift, const equitensor_exchange* exchange,
                        equitensor_result& result) = 0;
};

std::unique_ptr<Simulation> simulation(const Model& model, int precision, int threads,
                                       const InstructionSet& instructions);

}  // namespace equitensor
