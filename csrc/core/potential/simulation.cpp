#include "simulation.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "../parallel.h"
#include "error_bars.h"
#include "pairs.h"

namespace equitensor {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

template <class T>
class Typed : public Simulation {
 public:
  Typed(const Model& model, int threads, const InstructionSet& instructions)
      : network_(fold<T>(model)),
        run_(run_of(instructions, static_cast<T*>(nullptr))),
        product_(instructions.product),
        tables_(model, instructions.product),
        error_bars_(model.error_bars) {
    s_.network = &network_;
    s_.threads = threads;
    s_.scratch.resize(threads);
    s_.coincident.resize(threads);
    const int rounds = network_.layers - 1;
    for (auto* arrays : {&s_.density, &s_.read_features, &s_.by_read_features, &s_.scalars, &s_.by_scalars, &s_.read,
                         &s_.hidden, &s_.by_activation})
      arrays->resize(rounds);
  }

  void neighbors(int64_t owned, int64_t total, const int32_t* z, const int64_t* start, const int32_t* sender) override {
    if (owned < 0 || total < owned || total > INT32_MAX)
      fail("there are " + std::to_string(owned) + " owned atoms of " + std::to_string(total));
    s_.owned = -1;  // until all is set
    take_species(total, z);
    s_.pairs = nullptr;
    if constexpr (std::is_same<T, float>::value) s_.pairs = tables_.of(s_.species, network_);
    take_edges(owned, total, start, sender);
    lay_out(owned, total);
    allocate(owned, total);
    s_.owned = owned, s_.total = total;
  }

  void evaluate(const double* pos, const double* shift, const equitensor_exchange* exchange,
                equitensor_result& result) override {
    if (s_.owned < 0) fail("the system has no neighbours yet");
    for (int64_t k = 0; k < 3 * s_.total; k++)
      if (!std::isfinite(pos[k])) fail("the position of atom " + std::to_string(k / 3) + " is not finite");
    s_.pos = pos, s_.shift = shift;
    divide(exchange ? exchange->border : 0, exchange);
    s_.forces = result.forces, s_.atom_virials = result.virials;
    s_.features = features_of(result);
    for (auto& atom : s_.coincident) atom = -1;
    const int rounds = network_.layers - 1;
    stage(Stage::arrive, bounds_owned_);
    for (const auto& atom : s_.coincident)
      if (atom >= 0) fail("atom " + std::to_string(atom) + " and a neighbour of it are in the same place");
    stage(Stage::leave, bounds_total_);
    for (int r = 0; r < rounds; r++) {
      stage(Stage::forward, bounds_border_, r);
      if (exchange) start(exchange->forward, exchange, s_.read_features[r].data());
      stage(Stage::forward, bounds_inner_, r);
      if (exchange) wait(exchange);
      stage(Stage::read, bounds_ghosts_, r);
    }
    for (int r = rounds; r >= 0; r--) {
      const Stage gradient = r == rounds ? Stage::last : Stage::backward;
      stage(gradient, bounds_border_, r);
      if (r > 0) {  // all that was read of ghosts has its gradient
        std::fill_n(s_.by_read_features[r - 1].data(), s_.border * network_.D * network_.cp, T(0));
        stage(Stage::unread, bounds_ghosts_, r - 1);
        if (exchange) start(exchange->reverse, exchange, s_.by_read_features[r - 1].data());
      }
      stage(gradient, bounds_inner_, r);
      if (r > 0 && exchange) wait(exchange);
    }
    stage(Stage::forces, bounds_total_);
    collect(result);
    if (wants_error_bars(result)) add_error_bars(result);
  }

 private:
  static Run<float> run_of(const InstructionSet& instructions, float*) { return instructions.run_float; }
  static Run<double> run_of(const InstructionSet& instructions, double*) { return instructions.run_double; }

  Network<T> network_;
  Run<T> run_;
  MatrixProduct product_;
  System<T> s_;
  PairTables tables_;
  std::shared_ptr<const ErrorBars> error_bars_;
  Aligned<double> features_;  // where error bars alone want them
  // Of each thread's atoms. Owned ones are those of the border and inner ones.
  std::vector<int64_t> bounds_owned_, bounds_border_, bounds_inner_, bounds_ghosts_, bounds_total_;
  int64_t needed_border_ = 0;  // atoms up to the last that has a ghost as neighbour

  void take_species(int64_t total, const int32_t* z) {
    s_.species.resize(total);
    std::vector<int32_t> of(119, -2);
    of[0] = -1;
    for (int k = 0; k < network_.elements; k++) of[network_.z[k]] = k;
    for (int64_t i = 0; i < total; i++) {
      if (z[i] < 0 || z[i] > 118 || of[z[i]] == -2)
        fail("the model does not know the element " + std::to_string(z[i]) + " of atom " + std::to_string(i));
      s_.species[i] = of[z[i]];
    }
  }

  void take_edges(int64_t owned, int64_t total, const int64_t* start, const int32_t* sender) {
    if (owned > 0 && start[0] != 0) fail("the neighbours of the first atom do not start at 0");
    for (int64_t i = 0; i < owned; i++)
      if (start[i + 1] < start[i]) fail("the neighbours of atom " + std::to_string(i) + " end before they start");
    const int64_t edges = owned > 0 ? start[owned] : 0;
    if (edges > INT32_MAX - 64 * total) fail("there are too many edges: " + std::to_string(edges));
    s_.start.assign(owned + 1, 0);
    if (owned > 0) s_.start.assign(start, start + owned + 1);
    s_.sender.clear();
    if (edges) s_.sender.assign(sender, sender + edges);
    s_.leaving_start.assign(total + 1, 0);
    for (int32_t j : s_.sender) {
      if (j < 0 || j >= total) fail("an edge comes from atom " + std::to_string(j) + ", which does not exist");
      s_.leaving_start[j + 1]++;
    }
    for (int64_t j = 0; j < total; j++) s_.leaving_start[j + 1] += s_.leaving_start[j];
    s_.leaving.resize(edges);
    std::vector<int64_t> next(s_.leaving_start.begin(), s_.leaving_start.end() - 1);
    for (int64_t e = 0; e < edges; e++) s_.leaving[next[s_.sender[e]]++] = static_cast<int32_t>(e);
    needed_border_ = 0;
    for (int64_t i = 0; i < owned; i++)
      for (int64_t e = s_.start[i]; e < s_.start[i + 1]; e++)
        if (s_.sender[e] >= owned) needed_border_ = i + 1;
  }

  static std::vector<int64_t> rows(const std::vector<int64_t>& start) {
    std::vector<int64_t> row(start.size(), 0);
    for (size_t i = 0; i + 1 < start.size(); i++) row[i + 1] = row[i] + padded<T>(start[i + 1] - start[i]);
    return row;
  }

  // Atoms first .. last - 1 for each thread, whole blocks with about the same number of edges.
  std::vector<int64_t> shares(const std::vector<int64_t>& row, int64_t first, int64_t last) const {
    std::vector<int64_t> bounds(s_.threads + 1, last);
    bounds[0] = first;
    const auto work = [&](int64_t i) { return double(row[i] - row[first]) + 8.0 * (i - first); };
    int64_t i = first;
    for (int t = 1; t < s_.threads; t++) {
      while (i < last && work(i) < work(last) * t / s_.threads) i = std::min<int64_t>(i + BLOCK, last);
      bounds[t] = i;
    }
    return bounds;
  }

  void divide(int64_t border, bool exchanges) {
    if (exchanges && (border < needed_border_ || border > s_.owned))
      fail("the border is " + std::to_string(border) + " of " + std::to_string(s_.owned) + " owned atoms, of which " +
           std::to_string(needed_border_) + " reach to the last that has a ghost as neighbour");
    s_.border = std::min<int64_t>((border + BLOCK - 1) / BLOCK * BLOCK, s_.owned);
    bounds_border_ = shares(s_.row, 0, s_.border);
    bounds_inner_ = shares(s_.row, s_.border, s_.owned);
  }

  void lay_out(int64_t owned, int64_t total) {
    s_.row = rows(s_.start);
    s_.leaving_row = rows(s_.leaving_start);
    s_.slots = s_.row[owned], s_.places = s_.leaving_row[total];
    bounds_owned_ = shares(s_.row, 0, owned);
    bounds_ghosts_ = shares(s_.leaving_row, owned, total);
    bounds_total_ = shares(s_.leaving_row, 0, total);
    s_.count.assign(owned, 0);
    s_.leaving_count.assign(total, 0);
    s_.slot_of.assign(s_.sender.size(), -1);
  }

  void allocate(size_t owned, size_t total) {
    const Network<T>& n = network_;
    const size_t slots = s_.slots + 64 + s_.threads, places = s_.places + 64;
    for (int a = 0; a < 3; a++) {
      s_.direction[a].grow(slots);
      s_.leaving_direction[a].grow(places);
    }
    s_.edge.grow(4 * slots), s_.gradient.grow(4 * slots), s_.leaving_gradient.grow(4 * places);
    s_.distance.grow(slots), s_.leaving_inverse.grow(places);
    if (!n.begins.empty()) s_.length.grow(slots), s_.stretch.grow(slots), s_.push.grow(slots);
    s_.from.grow(slots), s_.place.grow(slots), s_.slot.grow(places);
    s_.energies.grow(owned), s_.virials.grow(6 * owned), s_.crowding.grow(owned), s_.by_crowding.grow(owned);
    for (int r = 0; r + 1 < n.layers; r++) {
      s_.density[r].grow(owned * n.D * n.Cp);
      s_.read_features[r].grow(total * n.D * n.cp), s_.by_read_features[r].grow(total * n.D * n.cp);
      s_.scalars[r].grow(owned * n.cp), s_.by_scalars[r].grow(owned * n.cp);
      s_.read[r].grow(places * n.cp);
      if (n.layers > 2) s_.hidden[r].grow(slots * n.cp);
      if (r < n.layers - 2) s_.by_activation[r].grow(slots * n.cp);
    }
    int64_t longest = 16;
    for (size_t i = 0; i < owned; i++) longest = std::max(longest, s_.row[i + 1] - s_.row[i]);
    for (size_t j = 0; j < total; j++) longest = std::max(longest, s_.leaving_row[j + 1] - s_.leaving_row[j]);
    for (Scratch<T>& w : s_.scratch) allocate(w, longest);
  }

  void allocate(Scratch<T>& w, int64_t longest) {
    const Network<T>& n = network_;
    constexpr int lanes = PAD_BYTES / sizeof(T);
    const size_t e = longest, G = std::max(n.Gp, n.cp), C = std::max(n.Cp, n.cp);
    w.harmonics.grow(n.D * e), w.by_harmonics.grow(n.Dp * e), w.turned.grow(n.Dp * e), w.by_distance.grow(lanes * e),
        w.basis.grow(4 * n.R * e);
    w.tables.grow(e), w.knot.grow(e), w.between.grow(e);
    w.longest = longest;
    for (auto* array : {&w.state, &w.by_state}) array->grow(n.layers * n.cp * e);
    for (auto* array : {&w.read_gradient, &w.hidden}) array->grow(n.cp * e);
    for (auto* array : {&w.x_gradient, &w.silu_gradient, &w.read}) array->grow(BLOCK * n.cp * e);
    for (auto* array : {&w.message, &w.by_product}) array->grow(G * e);
    for (auto* array : {&w.radial, &w.radial_gradient, &w.product}) array->grow(BLOCK * G * e);
    for (auto* array : {&w.gathered, &w.by_gathered, &w.density, &w.by_density, &w.features, &w.by_features})
      array->grow(BLOCK * n.D * std::max(G, C));
    w.by_read_features.grow(BLOCK * n.D * n.cp);
    for (auto* array : {&w.by_gathered_t, &w.padded_rows}) array->grow(n.Dp * std::max(G, C));
    w.small.grow(2 * BLOCK * C), w.lengths.grow(2 * e);
    w.powers.grow(size_t(BLOCK) * n.order * n.D * n.Cp), w.by_powers.grow(n.order * n.D * 4 * lanes);
  }

  void stage(Stage which, const std::vector<int64_t>& bounds, int round = 0) {
#ifdef _OPENMP
    if (s_.threads > 1) {
#pragma omp parallel for num_threads(s_.threads) schedule(static, 1)
      for (int t = 0; t < s_.threads; t++) run_(s_, which, round, t, bounds[t], bounds[t + 1]);
      return;
    }
#endif
    for (int t = 0; t < s_.threads; t++) run_(s_, which, round, t, bounds[t], bounds[t + 1]);
  }

  void start(int (*function)(void*, void*, int, int), const equitensor_exchange* exchange, T* rows) {
    if (function && function(exchange->context, rows, network_.D * network_.cp, 8 * sizeof(T)) != 0)
      fail("the exchange with ghosts failed");
  }

  void wait(const equitensor_exchange* exchange) {
    if (exchange->wait && exchange->wait(exchange->context) != 0) fail("the exchange with ghosts failed");
  }

  void collect(equitensor_result& result) {
    result.energy = 0;
    for (double& part : result.virial) part = 0;
    for (int64_t i = 0; i < s_.owned; i++) {
      result.energy += s_.energies[i];
      if (result.energies) result.energies[i] = s_.energies[i];
      for (int k = 0; k < 6; k++) result.virial[k] += s_.virials[6 * i + k];
    }
    if (!std::isfinite(result.energy)) fail("the energy is not finite: atoms are too close to each other");
  }

  static bool wants_error_bars(const equitensor_result& result) {
    return result.forces_std || result.novelty || result.sums;
  }

  // Where features go: what error bars are made of.
  double* features_of(const equitensor_result& result) {
    if (!wants_error_bars(result)) return result.features;
    if (!error_bars_) fail("the model has no error bars: equitensor uncertainty MODEL TRAIN puts them in");
    if (result.features) return result.features;
    features_.grow(s_.owned * network_.layers * network_.C);
    return features_.data();
  }

  void add_error_bars(equitensor_result& result) {
    const ErrorBars& bars = *error_bars_;
    const int32_t* const species = s_.species.data();
    if (result.sums) {  // one atom after another, so that threads change no bit
      std::fill_n(result.sums, bars.num_sums(), 0.0);
      bars.add(s_.owned, species, s_.features, result.sums);
    }
    if (!result.forces_std && !result.novelty) return;
    const int64_t blocks = (s_.owned + bars.block - 1) / bars.block;
    parallel_for(blocks, 1, s_.threads, [&](int64_t first, int64_t last) {
      bars.of_atoms(bars.block * first, std::min(bars.block * last, s_.owned), species, s_.features, product_,
                    result.forces_std, result.novelty);
    });
  }
};

}  // namespace

std::unique_ptr<Simulation> simulation(const Model& model, int precision, int threads,
                                       const InstructionSet& instructions) {
  if (precision == 32) return std::make_unique<Typed<float>>(model, threads, instructions);
  return std::make_unique<Typed<double>>(model, threads, instructions);
}

}  // namespace equitensor
