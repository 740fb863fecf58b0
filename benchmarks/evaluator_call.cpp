// Microseconds of calls of the compiled evaluator from C++: benchmarks/evaluator.py compiles and runs it.
//
//     evaluator_call MODEL CALLS BLOCKS < numbers
//
// The numbers are those of atoms, edges and sets of positions, then atomic numbers, starts, senders, shifts and positions.
// Prints the CPU seconds of a call in each block.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <vector>

#include "potential.h"

template <class T>
std::vector<T> numbers(int64_t count) {
  std::vector<T> values(count);
  for (T& value : values) std::cin >> value;
  return values;
}

double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

void require(int failed) {
  if (!failed) return;
  std::fprintf(stderr, "%s\n", equitensor_message());
  std::exit(1);
}

int main(int count, char** words) {
  if (count != 4) return 2;
  const int calls = std::atoi(words[2]), blocks = std::atoi(words[3]);
  const auto sizes = numbers<int64_t>(3);
  const int64_t atoms = sizes[0], edges = sizes[1], sets = sizes[2];
  const auto z = numbers<int32_t>(atoms);
  const auto start = numbers<int64_t>(atoms + 1);
  const auto sender = numbers<int32_t>(edges);
  const auto shift = numbers<double>(3 * edges), pos = numbers<double>(3 * atoms * sets);
  equitensor_model* model = nullptr;
  equitensor_system* system = nullptr;
  require(equitensor_model_open(words[1], &model));
  require(equitensor_system_new(model, 32, 1, &system));
  require(equitensor_system_neighbors(system, atoms, atoms, z.data(), start.data(), sender.data()));
  for (int block = -2; block < blocks; block++) {
    const double began = seconds();
    for (int k = 0; k < calls; k++) {
      std::vector<double> forces(3 * atoms);
      equitensor_result result = {};
      result.forces = forces.data();
      require(equitensor_system_evaluate(system, &pos[k % sets * 3 * atoms], shift.data(), nullptr, &result));
    }
    if (block >= 0) std::printf("%.9g\n", (seconds() - began) / calls);  // the first warm up
  }
  equitensor_system_free(system);
  equitensor_model_close(model);
}
