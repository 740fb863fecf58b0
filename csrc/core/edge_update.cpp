// New messages on edges: m + silu(x) V, x = read(Y, P A, f) + m W + s S + bias, f = R F, with the scalars s of P.

#include "layers.h"

using namespace equitensor;

namespace {

struct Sizes {
  int64_t atoms, slots, degrees, channels, edge_channels, num_radial;
  int64_t components() const { return degrees * degrees; }
  int64_t rows() const { return slots * edge_channels; }
  int64_t mixed() const { return atoms * components() * edge_channels; }
};

// Three arrays that lie one after the other: f, P A and x, or the gradients w.r.t. them.
template <class T>
struct Inner {
  T *factor, *mixed, *before;
  Inner(const Sizes& n, T* start) {
    Consecutive<T> parts(start);
    factor = parts.take(n.rows());
    mixed = parts.take(n.mixed());
    before = parts.take(n.rows());
  }
};

// The same, with the gradients w.r.t. silu(x) and the part of x that all slots of an atom share.
template <class T>
struct Back : Inner<T> {
  T *hidden, *shared;
  Back(const Sizes& n, T* start) : Inner<T>(n, start), hidden(this->before + n.rows()), shared(hidden + n.rows()) {}
};

template <class T>
Buffer<T> scalars(const Sizes& n, const void* features) {
  Buffer<T> result(n.atoms * n.channels);
  take_scalars(n.atoms, n.components(), n.channels, from<T>(features), result.data());
  return result;
}

// to (slots, channels) += x (atoms, channels) of each slot's atom
template <class T>
void add_to_slots(const Sizes& n, const int64_t* start, const T* x, T* to) {
  for (int64_t i = 0; i < n.atoms; i++)
    for (int64_t slot = start[i]; slot < start[i + 1]; slot++)
      for (int64_t c = 0; c < n.edge_channels; c++) to[slot * n.edge_channels + c] += x[i * n.edge_channels + c];
}

}  // namespace

int equitensor_edge_update(int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t channels,
                           int64_t edge_channels, int64_t num_radial, const void* messages, const void* features,
                           const void* radial, const void* harmonics, const void* w_radial, const void* matrices,
                           const void* w_messages, const void* w_scalars, const void* bias, const void* out,
                           const int64_t* start, const int64_t* rev, void* updated, void* inner, void* hidden,
                           int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, degrees, channels, edge_channels, num_radial};
    const Layers<T> layers{threads};
    const Inner<T> at(n, into<T>(inner));
    const Buffer<T> s = scalars<T>(n, features), shared(atoms * edge_channels);
    layers.linear(n.slots, 1, num_radial, edge_channels, from<T>(radial), from<T>(w_radial), at.factor);
    layers.linear(atoms, degrees, channels, edge_channels, from<T>(features), from<T>(matrices), at.mixed);
    done(equitensor_edge_read(precision, atoms, slots, n.components(), edge_channels, harmonics, at.mixed, at.factor,
                              start, rev, at.before, threads));
    layers.linear(atoms, 1, channels, edge_channels, s.data(), from<T>(w_scalars), shared.data());
    for (int64_t i = 0; i < atoms; i++)
      for (int64_t c = 0; c < edge_channels; c++) shared.data()[i * edge_channels + c] += from<T>(bias)[c];
    layers.linear(n.slots, 1, edge_channels, edge_channels, from<T>(messages), from<T>(w_messages), at.before, true);
    add_to_slots(n, start, shared.data(), at.before);
    done(equitensor_silu(precision, n.rows(), at.before, hidden, threads));
    std::copy_n(from<T>(messages), n.rows(), into<T>(updated));
    layers.linear(n.slots, 1, edge_channels, edge_channels, into<T>(hidden), from<T>(out), into<T>(updated), true);
  });
}

int equitensor_edge_update_first(int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t channels,
                                 int64_t edge_channels, int64_t num_radial, const void* messages, const void* features,
                                 const void* radial, const void* harmonics, const void* w_radial, const void* matrices,
                                 const void* w_messages, const void* w_scalars, const void* out, const int64_t* start,
                                 const int64_t* rev, const void* inner, const void* hidden, const void* g,
                                 const void* more_inner, void* dmessages, void* dfeatures, void* dradial,
                                 void* dharmonics, void* dw_radial, void* dmatrices, void* dw_messages,
                                 void* dw_scalars, void* dbias, void* dout, void* back, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, degrees, channels, edge_channels, num_radial};
    const int64_t c = edge_channels;
    const Layers<T> layers{threads};
    const Inner<const T> at(n, from<T>(inner)), more(n, from<T>(more_inner));
    const Back<T> by(n, into<T>(back));
    layers.linear_back(slots, 1, c, c, from<T>(g), from<T>(out), by.hidden);
    layers.outer(slots, 1, c, c, from<T>(hidden), from<T>(g), into<T>(dout));
    done(equitensor_silu_backward(precision, n.rows(), at.before, by.hidden, by.before, threads));
    layers.add(n.rows(), more.before, by.before);

    if (dmessages) std::copy_n(from<T>(g), n.rows(), into<T>(dmessages));
    layers.linear_back(slots, 1, c, c, by.before, from<T>(w_messages), into<T>(dmessages), true);
    layers.outer(slots, 1, c, c, from<T>(messages), by.before, into<T>(dw_messages));
    done(equitensor_edge_gradient(precision, atoms, slots, n.components(), c, 0, harmonics, at.factor, by.before,
                                  at.mixed, start, rev, nullptr, nullptr, nullptr, nullptr, dharmonics, by.factor,
                                  nullptr, by.mixed, threads));
    sum_over_slots(atoms, start, c, by.before, by.shared);
    sum_of_rows(atoms, c, by.shared, into<T>(dbias));
    if (dw_scalars) layers.outer(atoms, 1, channels, c, scalars<T>(n, features).data(), by.shared, into<T>(dw_scalars));
    layers.add(n.rows(), more.factor, by.factor);
    layers.add(n.mixed(), more.mixed, by.mixed);
    layers.linear_back(slots, 1, num_radial, c, by.factor, from<T>(w_radial), into<T>(dradial));
    layers.outer(slots, 1, num_radial, c, from<T>(radial), by.factor, into<T>(dw_radial));
    layers.linear_back(atoms, degrees, channels, c, by.mixed, from<T>(matrices), into<T>(dfeatures));
    layers.outer(atoms, degrees, channels, c, from<T>(features), by.mixed, into<T>(dmatrices));
    if (!dfeatures) return;
    const Buffer<T> of_scalars(atoms * channels);
    layers.linear_back(atoms, 1, channels, c, by.shared, from<T>(w_scalars), of_scalars.data());
    for (int64_t i = 0; i < atoms; i++)
      layers.add(channels, of_scalars.data() + i * channels, into<T>(dfeatures) + i * n.components() * channels);
  });
}

int equitensor_edge_update_second(int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t channels,
                                  int64_t edge_channels, int64_t num_radial, const void* harmonics,
                                  const void* w_radial, const void* matrices, const void* w_messages,
                                  const void* w_scalars, const void* out, const int64_t* start, const int64_t* rev,
                                  const void* inner, const void* g, const void* back, const void* h_messages,
                                  const void* h_features, const void* h_radial, const void* h_harmonics,
                                  void* dharmonics, void* dw_radial, void* dmatrices, void* dw_messages,
                                  void* dw_scalars, void* dout, void* dinner, void* dg, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, degrees, channels, edge_channels, num_radial};
    const int64_t c = edge_channels;
    const Layers<T> layers{threads};
    const Inner<const T> at(n, from<T>(inner));
    const Back<const T> by(n, from<T>(back));
    const Inner<T> gradient(n, into<T>(dinner));
    const Buffer<T> scratch(3 * n.rows() + n.mixed());
    Consecutive<T> parts(scratch.data());
    T* h_factor = h_radial ? parts.take(n.rows()) : nullptr;
    T* h_mixed = h_features ? parts.take(n.mixed()) : nullptr;
    T *h_before = parts.take(n.rows()), *rows = parts.take(n.rows());
    if (h_radial) layers.linear(slots, 1, num_radial, c, from<T>(h_radial), from<T>(w_radial), h_factor);
    if (h_features) layers.linear(atoms, degrees, channels, c, from<T>(h_features), from<T>(matrices), h_mixed);
    done(equitensor_edge_gradient(precision, atoms, slots, n.components(), c, 1, harmonics, at.factor, by.before,
                                  at.mixed, start, rev, h_harmonics, h_factor, nullptr, h_mixed, dharmonics,
                                  gradient.factor, h_before, gradient.mixed, threads));
    if (h_messages) layers.linear(slots, 1, c, c, from<T>(h_messages), from<T>(w_messages), h_before, true);
    Buffer<T> h_scalars;
    if (h_features) {
      h_scalars = scalars<T>(n, h_features);
      const Buffer<T> shared(atoms * c);
      layers.linear(atoms, 1, channels, c, h_scalars.data(), from<T>(w_scalars), shared.data());
      add_to_slots(n, start, shared.data(), h_before);
    }
    done(equitensor_silu_second(precision, n.rows(), at.before, by.hidden, h_before, rows, gradient.before, threads));
    layers.outer(slots, 1, c, c, rows, from<T>(g), into<T>(dout));
    layers.outer(slots, 1, num_radial, c, from<T>(h_radial), by.factor, into<T>(dw_radial));
    layers.outer(atoms, degrees, channels, c, from<T>(h_features), by.mixed, into<T>(dmatrices));
    layers.outer(slots, 1, c, c, from<T>(h_messages), by.before, into<T>(dw_messages));
    layers.outer(atoms, 1, channels, c, h_scalars.data(), by.shared, into<T>(dw_scalars));
    layers.linear(slots, 1, c, c, rows, from<T>(out), into<T>(dg));
    if (dg) layers.add(n.rows(), from<T>(h_messages), into<T>(dg));
  });
}
