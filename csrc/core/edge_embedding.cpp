// m = silu(b W + S[species of the sender] + T[species of the receiver] + bias) V for the slots of atoms.

#include "layers.h"

using namespace equitensor;

namespace {

struct Sizes {
  int64_t atoms, slots, num_radial, elements, channels;
  int64_t hidden() const { return slots * channels; }
};

void check(const Sizes& n, const int64_t* species, const int64_t* sender, const int64_t* receiver) {
  for (int64_t i = 0; i < n.atoms; i++)
    require(0 <= species[i] && species[i] < n.elements, "edge_embedding: species ", species[i], " is beyond the ",
            n.elements, " elements of the tables");
  for (int64_t slot = 0; slot < n.slots; slot++)
    for (const int64_t atom : {sender[slot], receiver[slot]})
      require(0 <= atom && atom < n.atoms, "edge_embedding: the sender or receiver ", atom, " is beyond the ", n.atoms,
              " atoms");
}

// Adds the row of each slot to that of the element of an atom of it in `sums`.
template <class T>
void add_by_element(const Sizes& n, const int64_t* species, const int64_t* atom, const T* rows, T* sums) {
  clear(sums, n.elements * n.channels);
  for (int64_t slot = 0; sums && slot < n.slots; slot++) {
    T* sum = sums + species[atom[slot]] * n.channels;
    for (int64_t c = 0; c < n.channels; c++) sum[c] += rows[slot * n.channels + c];
  }
}

}  // namespace

int equitensor_edge_embedding(int precision, int64_t atoms, int64_t slots, int64_t num_radial, int64_t elements,
                              int64_t channels, const void* functions, const void* radial, const void* senders,
                              const void* receivers, const void* bias, const void* out, const int64_t* species,
                              const int64_t* sender, const int64_t* receiver, void* messages, void* before,
                              void* hidden, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, num_radial, elements, channels};
    check(n, species, sender, receiver);
    const Layers<T> layers{threads};
    T* x = into<T>(before);
    layers.linear(n.slots, 1, num_radial, channels, from<T>(functions), from<T>(radial), x);
    for (int64_t slot = 0; slot < n.slots; slot++) {
      const T* s = from<T>(senders) + species[sender[slot]] * channels;
      const T* t = from<T>(receivers) + species[receiver[slot]] * channels;
      for (int64_t c = 0; c < channels; c++) x[slot * channels + c] += s[c] + t[c] + from<T>(bias)[c];
    }
    done(equitensor_silu(precision, n.hidden(), x, hidden, threads));
    layers.linear(n.slots, 1, channels, channels, from<T>(hidden), from<T>(out), into<T>(messages));
  });
}

int equitensor_edge_embedding_first(int precision, int64_t atoms, int64_t slots, int64_t num_radial, int64_t elements,
                                    int64_t channels, const void* functions, const void* radial, const void* out,
                                    const int64_t* species, const int64_t* sender, const int64_t* receiver,
                                    const void* before, const void* hidden, const void* g, const void* more_before,
                                    void* dfunctions, void* dradial, void* dsenders, void* dreceivers, void* dbias,
                                    void* dout, void* back, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, num_radial, elements, channels};
    check(n, species, sender, receiver);
    const Layers<T> layers{threads};
    Consecutive<T> parts(into<T>(back));
    T *by_hidden = parts.take(n.hidden()), *by_before = parts.take(n.hidden());
    layers.linear_back(n.slots, 1, channels, channels, from<T>(g), from<T>(out), by_hidden);
    layers.outer(n.slots, 1, channels, channels, from<T>(hidden), from<T>(g), into<T>(dout));
    done(equitensor_silu_backward(precision, n.hidden(), before, by_hidden, by_before, threads));
    layers.add(n.hidden(), from<T>(more_before), by_before);
    layers.linear_back(n.slots, 1, num_radial, channels, by_before, from<T>(radial), into<T>(dfunctions));
    layers.outer(n.slots, 1, num_radial, channels, from<T>(functions), by_before, into<T>(dradial));
    add_by_element(n, species, sender, by_before, into<T>(dsenders));
    add_by_element(n, species, receiver, by_before, into<T>(dreceivers));
    sum_of_rows(n.slots, channels, by_before, into<T>(dbias));
  });
}

int equitensor_edge_embedding_second(int precision, int64_t slots, int64_t num_radial, int64_t channels,
                                     const void* radial, const void* out, const void* before, const void* g,
                                     const void* back, const void* h_functions, void* dradial, void* dout,
                                     void* dbefore, void* dg, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const int64_t size = slots * channels;
    const Layers<T> layers{threads};
    Consecutive<const T> parts(from<T>(back));
    const T *by_hidden = parts.take(size), *by_before = parts.take(size);
    const Buffer<T> h_before(size), h_hidden(size);
    layers.linear(slots, 1, num_radial, channels, from<T>(h_functions), from<T>(radial), h_before.data());
    done(
        equitensor_silu_second(precision, size, before, by_hidden, h_before.data(), h_hidden.data(), dbefore, threads));
    layers.linear(slots, 1, channels, channels, h_hidden.data(), from<T>(out), into<T>(dg));
    layers.outer(slots, 1, channels, channels, h_hidden.data(), from<T>(g), into<T>(dout));
    layers.outer(slots, 1, num_radial, channels, from<T>(h_functions), by_before, into<T>(dradial));
  });
}
