// The arrays of one simulation, and the stages of an evaluation, which work on ranges of atoms.
//
// An edge j -> i arrives at i and leaves j. Its values lie in two places: at a slot of i's row of arriving edges
// (densities, messages) and at a place of j's row of leaving ones (what is read out along them). Rows have room for all
// neighbours of the list, and are a whole number of registers long.
#pragma once

#include "network.h"

namespace equitensor {

// Atoms that a thread takes together: their matrices' rows share each load of a weight.
constexpr int BLOCK = 8;

// What one thread needs for the atoms of a block; see engine.inl.
template <class T>
struct Scratch {
  int64_t longest = 0;  // row of an atom that the buffers can hold
  Aligned<T> harmonics, by_harmonics, turned, by_distance, basis;
  Aligned<const Spline*> tables;
  Aligned<int32_t> knot;
  Aligned<float> between;
  Aligned<T> state, by_state, x_gradient, silu_gradient, read, read_gradient, hidden;
  Aligned<T> radial, radial_gradient, message, product, by_product;
  Aligned<T> gathered, by_gathered, by_gathered_t, padded_rows, density, by_density, features, by_features;
  Aligned<T> by_read_features;
  Aligned<T> small, lengths;
  Aligned<T> powers, by_powers;
};

// By (sender, receiver), of the pairs that there are: the mixed functions (L+1, C) of the first density; M x0 and R V
// x0 of the second round.
struct PairSplines {
  std::vector<Spline> density, messages;
};

template <class T>
struct System {
  const Network<T>* network = nullptr;
  const PairSplines* pairs = nullptr;
  int threads = 1;
  int64_t border = 0;  // atoms before it (whole blocks) are given what their ghosts return

  // Set with the neighbours. row (owned + 1) and leaving_row (total + 1): first slot and first place of each atom;
  // edges (start[owned],) by sender: leaving[leaving_start[j]] ..
  int64_t owned = 0, total = 0, slots = 0, places = 0;
  std::vector<int32_t> species, sender, leaving;
  std::vector<int64_t> start, leaving_start, row, leaving_row;

  // Per evaluation. Directions and lengths of edges, by slot and by place.
  const double *pos = nullptr, *shift = nullptr;
  std::vector<int32_t> count, leaving_count, slot_of;
  Aligned<int32_t> from, place, slot;  // sender and place of each slot; slot of each place
  Aligned<T> direction[3], distance, leaving_direction[3], leaving_inverse;
  Aligned<T> length, stretch,
      push;  // by slot, where pairs repel: lengths that are true, their derivatives of those that
             // are seen, and of the repulsion
  Aligned<T> edge, gradient, leaving_gradient;  // four values each: direction and length by slot; dE/dr by slot, and
                                                // its part that read-outs have, by place

  // Per round: density (owned, D, C), what neighbours read (total, D, c) and ghosts' gradient w.r.t. it, scalars put into
  // messages and their gradient (owned, c), what is read (places, c) and then its gradient, hidden values of messages
  // (slots, c) and gradients of their activations.
  std::vector<Aligned<T>> density, read_features, by_read_features, scalars, by_scalars, read, hidden, by_activation;
  Aligned<double> energies, virials;  // (owned,), (owned, 6): added up in the end, in order
  Aligned<T> crowding, by_crowding;   // (owned,): 1 + sum_j u(d_j / c), where densities are divided by it
  double *forces = nullptr, *features = nullptr, *atom_virials = nullptr;
  std::vector<Scratch<T>> scratch;
  std::vector<int64_t> coincident;  // per thread: an atom with a neighbour in its place, or -1
};

enum class Stage { arrive, leave, forward, read, last, unread, backward, forces };

// One stage of one round for atoms first .. last - 1, where `first` is a multiple of BLOCK.
template <class T>
using Run = void (*)(System<T>&, Stage, int round, int thread, int64_t first, int64_t last);

// What is compiled for one instruction set.
struct InstructionSet {
  const char* name;
  Run<float> run_float;
  Run<double> run_double;
  MatrixProduct product;
  // Multiply-adds in registers, to measure what the processor can do, and operations in each round of them.
  float (*adds_float)(int64_t rounds);
  double (*adds_double)(int64_t rounds);
  int64_t operations[2];
};
namespace baseline {
extern const InstructionSet instructions;
}
namespace avx2 {
extern const InstructionSet instructions;
}
namespace avx512 {
extern const InstructionSet instructions;
}

}  // namespace equitensor
