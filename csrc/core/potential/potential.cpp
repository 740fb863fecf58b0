// The C face: models and systems.

#include "../potential.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "error_bars.h"
#include "simulation.h"

namespace {
thread_local std::string message;

// Runs body(); 0, or 1 with the reason of its failure kept.
template <class F>
int guarded(const F& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an unknown failure";
  }
  return 1;
}
}  // namespace

struct equitensor_model {
  equitensor::Model model;
};

namespace equitensor {
namespace {

// What this processor has, the widest first.
std::vector<const InstructionSet*> instruction_sets() {
  std::vector<const InstructionSet*> sets;
#if defined(__x86_64__)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
    sets.push_back(&avx512::instructions);
  if (has_avx2) sets.push_back(&avx2::instructions);
#endif
  sets.push_back(&baseline::instructions);
  return sets;
}

}  // namespace
}  // namespace equitensor

struct equitensor_system {
  std::unique_ptr<equitensor::Simulation> simulation;
};

namespace {

equitensor::Model read_bytes(const void* bytes, int64_t size) {
  if (size < 0) throw std::runtime_error("its size is " + std::to_string(size));
  return equitensor::read_model(static_cast<const char*>(bytes), size);
}

void require_whole(const equitensor::Model& model) {
  if (!model.d3.empty())
    throw std::runtime_error(
        "learned labels without their dispersion (D3 of " + model.d3 +
        "), which its energies and forces lack: open it with equitensor_model_read_without_d3 and " +
        "add that dispersion");
}

}  // namespace

const char* equitensor_message(void) { return message.c_str(); }

int equitensor_model_read(const void* bytes, int64_t size, equitensor_model** model) {
  return guarded([&] {
    auto read = std::make_unique<equitensor_model>(equitensor_model{read_bytes(bytes, size)});
    require_whole(read->model);
    *model = read.release();
  });
}

int equitensor_model_read_without_d3(const void* bytes, int64_t size, equitensor_model** model) {
  return guarded([&] { *model = new equitensor_model{read_bytes(bytes, size)}; });
}

int equitensor_model_open(const char* path, equitensor_model** model) {
  return guarded([&] {
    try {
      const std::string bytes = equitensor::read_file(path);
      auto read = std::make_unique<equitensor_model>(equitensor_model{read_bytes(bytes.data(), bytes.size())});
      require_whole(read->model);
      *model = read.release();
    } catch (const std::exception& error) {
      throw std::runtime_error(std::string(path) + ": " + error.what());
    }
  });
}

void equitensor_model_close(equitensor_model* model) { delete model; }
double equitensor_model_cutoff(const equitensor_model* model) { return model->model.cutoff; }
int equitensor_model_num_elements(const equitensor_model* model) { return model->model.num_elements(); }
const int32_t* equitensor_model_elements(const equitensor_model* model) { return model->model.elements.data(); }
int equitensor_model_num_features(const equitensor_model* model) { return model->model.num_features(); }
const char* equitensor_model_d3(const equitensor_model* model) {
  return model->model.d3.empty() ? nullptr : model->model.d3.c_str();
}
int equitensor_model_num_sums(const equitensor_model* model) {
  return model->model.error_bars ? static_cast<int>(model->model.error_bars->num_sums()) : 0;
}
double equitensor_model_energy_std(const equitensor_model* model, const double* sums) {
  const auto& bars = model->model.error_bars;
  return bars ? bars->energy_std(sums, equitensor::instruction_sets().front()->product) : std::nan("");
}
const char* equitensor_model_header(const equitensor_model* model) { return model->model.header.c_str(); }

const char* equitensor_instructions(int which) {
  const auto sets = equitensor::instruction_sets();
  return which >= 0 && which < static_cast<int>(sets.size()) ? sets[which]->name : nullptr;
}

double equitensor_peak(int precision) {
  const auto& set = *equitensor::instruction_sets().front();
  const int64_t rounds = 200000;
  double best = 0, kept = 0;
  for (int trial = 0; trial < 20; trial++) {
    const std::clock_t start = std::clock();
    kept += precision == 32 ? set.adds_float(rounds) : set.adds_double(rounds);
    const double seconds = double(std::clock() - start) / CLOCKS_PER_SEC;
    if (seconds > 0) best = std::max(best, rounds * set.operations[precision == 32 ? 0 : 1] / seconds);
  }
  return std::isfinite(kept) ? best : 0;
}

int equitensor_system_new(const equitensor_model* model, int precision, int threads, equitensor_system** system) {
  return equitensor_system_new_with(model, precision, threads, nullptr, system);
}

int equitensor_system_new_with(const equitensor_model* model, int precision, int threads, const char* instructions,
                               equitensor_system** system) {
  return guarded([&] {
    const equitensor::InstructionSet* chosen = nullptr;
    for (const auto* set : equitensor::instruction_sets())
      if (!chosen && (!instructions || std::string(instructions) == set->name)) chosen = set;
    if (!chosen) throw std::runtime_error(std::string("this processor has no instructions \"") + instructions + "\"");
    if (precision != 32 && precision != 64)
      throw std::runtime_error("precision is " + std::to_string(precision) + ": 32 or 64");
    if (threads < 1 || threads > 4096) throw std::runtime_error("threads is " + std::to_string(threads));
    auto made = std::make_unique<equitensor_system>();
    made->simulation = equitensor::simulation(model->model, precision, threads, *chosen);
    *system = made.release();
  });
}

void equitensor_system_free(equitensor_system* system) { delete system; }

int equitensor_system_neighbors(equitensor_system* system, int64_t owned, int64_t total, const int32_t* z,
                                const int64_t* start, const int32_t* sender) {
  return guarded([&] { system->simulation->neighbors(owned, total, z, start, sender); });
}

int equitensor_system_evaluate(equitensor_system* system, const double* pos, const double* shift,
                               const equitensor_exchange* exchange, equitensor_result* result) {
  return guarded([&] { system->simulation->evaluate(pos, shift, exchange, *result); });
}
