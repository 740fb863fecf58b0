// Densities of messages, mixed by degree and multiplied with themselves: a = m V, b = R W, A = gather(Y, a, b), B = A M
// by degree, and the product P(B).

#include "layers.h"

using namespace equitensor;

namespace {

struct Sizes {
  int64_t atoms, slots, degrees, edge_channels, num_radial, gathered, channels;
  int64_t components() const { return degrees * degrees; }
  int64_t rows() const { return slots * gathered; }
  int64_t sums() const { return atoms * components() * gathered; }
  int64_t mixed() const { return atoms * components() * channels; }
};

// Three arrays that lie one after the other: a, b and B, or the gradients w.r.t. them.
template <class T>
struct Inner {
  T *a, *b, *mixed;
  Inner(const Sizes& n, T* start) {
    Consecutive<T> parts(start);
    a = parts.take(n.rows());
    b = parts.take(n.rows());
    mixed = parts.take(n.mixed());
  }
};

// P, its gradients and the derivatives of these, at B.
struct Product {
  int precision;
  int64_t elements, order, paths, entries, invariants, symmetric;
  const void *weight, *mix;
  const int64_t* species;
  const int32_t* index;
  const double* coefficients;
  int threads;

  void operator()(const Sizes& n, const void* x, const void* g, const void* h_x, void* out, void* dx, void* dweight,
                  void* dmix) const {
    const int64_t degrees = invariants ? 1 : n.degrees;
    done(equitensor_density_product(precision, n.atoms, n.components(), n.channels, elements, order, degrees, paths,
                                    entries, invariants, symmetric, h_x != nullptr, x, weight, mix, g, h_x, nullptr,
                                    nullptr, species, index, coefficients, out, dx, dweight, dmix, threads));
  }
};

}  // namespace

int equitensor_message_density(int precision, int64_t atoms, int64_t slots, int64_t degrees, int64_t edge_channels,
                               int64_t num_radial, int64_t gathered, int64_t channels, int64_t elements, int64_t order,
                               int64_t paths, int64_t entries, int64_t invariants, int64_t symmetric,
                               const void* messages, const void* radial, const void* harmonics, const void* w_messages,
                               const void* w_radial, const void* matrices, const void* weight, const void* mix,
                               const int64_t* species, const int32_t* index, const double* coefficients,
                               const int64_t* start, void* out, void* inner, void* sum, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, degrees, edge_channels, num_radial, gathered, channels};
    const Layers<T> layers{threads};
    const Inner<T> at(n, into<T>(inner));
    const Product product{precision, elements, order,   paths, entries,      invariants, symmetric,
                          weight,    mix,      species, index, coefficients, threads};
    layers.linear(n.slots, 1, edge_channels, gathered, from<T>(messages), from<T>(w_messages), at.a);
    layers.linear(n.slots, 1, num_radial, gathered, from<T>(radial), from<T>(w_radial), at.b);
    done(equitensor_edge_gather(precision, atoms, slots, n.components(), gathered, harmonics, at.a, at.b, start, sum,
                                threads));
    layers.linear(atoms, degrees, gathered, channels, into<T>(sum), from<T>(matrices), at.mixed);
    product(n, at.mixed, nullptr, nullptr, out, nullptr, nullptr, nullptr);
  });
}

int equitensor_message_density_first(int precision, int64_t atoms, int64_t slots, int64_t degrees,
                                     int64_t edge_channels, int64_t num_radial, int64_t gathered, int64_t channels,
                                     int64_t elements, int64_t order, int64_t paths, int64_t entries,
                                     int64_t invariants, int64_t symmetric, const void* messages, const void* radial,
                                     const void* harmonics, const void* w_messages, const void* w_radial,
                                     const void* matrices, const void* weight, const void* mix, const int64_t* species,
                                     const int32_t* index, const double* coefficients, const int64_t* start,
                                     const void* inner, const void* sum, const void* g, const void* more_inner,
                                     void* dmessages, void* dradial, void* dharmonics, void* dw_messages,
                                     void* dw_radial, void* dmatrices, void* dweight, void* dmix, void* back,
                                     void* back_sum, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, degrees, edge_channels, num_radial, gathered, channels};
    const Layers<T> layers{threads};
    const Inner<const T> at(n, from<T>(inner)), more(n, from<T>(more_inner));
    const Inner<T> by(n, into<T>(back));
    const Product product{precision, elements, order,   paths, entries,      invariants, symmetric,
                          weight,    mix,      species, index, coefficients, threads};
    T* by_sum = into<T>(back_sum);
    product(n, at.mixed, g, nullptr, nullptr, by.mixed, dweight, dmix);
    layers.add(n.mixed(), more.mixed, by.mixed);
    layers.outer(atoms, degrees, gathered, channels, from<T>(sum), by.mixed, into<T>(dmatrices));
    layers.linear_back(atoms, degrees, gathered, channels, by.mixed, from<T>(matrices), by_sum);
    done(equitensor_edge_gradient(precision, atoms, slots, n.components(), gathered, 0, harmonics, at.a, at.b, by_sum,
                                  start, nullptr, nullptr, nullptr, nullptr, nullptr, dharmonics, by.a, by.b, nullptr,
                                  threads));
    layers.add(n.rows(), more.a, by.a);
    layers.add(n.rows(), more.b, by.b);
    layers.linear_back(n.slots, 1, edge_channels, gathered, by.a, from<T>(w_messages), into<T>(dmessages));
    layers.outer(n.slots, 1, edge_channels, gathered, from<T>(messages), by.a, into<T>(dw_messages));
    layers.linear_back(n.slots, 1, num_radial, gathered, by.b, from<T>(w_radial), into<T>(dradial));
    layers.outer(n.slots, 1, num_radial, gathered, from<T>(radial), by.b, into<T>(dw_radial));
  });
}

int equitensor_message_density_second(int precision, int64_t atoms, int64_t slots, int64_t degrees,
                                      int64_t edge_channels, int64_t num_radial, int64_t gathered, int64_t channels,
                                      int64_t elements, int64_t order, int64_t paths, int64_t entries,
                                      int64_t invariants, int64_t symmetric, const void* harmonics,
                                      const void* w_messages, const void* w_radial, const void* matrices,
                                      const void* weight, const void* mix, const int64_t* species, const int32_t* index,
                                      const double* coefficients, const int64_t* start, const void* inner,
                                      const void* g, const void* back, const void* back_sum, const void* h_messages,
                                      const void* h_radial, const void* h_harmonics, void* dharmonics,
                                      void* dw_messages, void* dw_radial, void* dmatrices, void* dweight, void* dmix,
                                      void* dinner, void* dg, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Sizes n{atoms, slots, degrees, edge_channels, num_radial, gathered, channels};
    const Layers<T> layers{threads};
    const Inner<const T> at(n, from<T>(inner)), by(n, from<T>(back));
    const Inner<T> gradient(n, into<T>(dinner));
    const Product product{precision, elements, order,   paths, entries,      invariants, symmetric,
                          weight,    mix,      species, index, coefficients, threads};
    const Buffer<T> rows(2 * n.rows()), sums(n.sums()), h_mixed(n.mixed());
    T *h_a = h_messages ? rows.data() : nullptr, *h_b = h_radial ? rows.data() + n.rows() : nullptr;
    layers.linear(n.slots, 1, edge_channels, gathered, from<T>(h_messages), from<T>(w_messages), h_a);
    layers.linear(n.slots, 1, num_radial, gathered, from<T>(h_radial), from<T>(w_radial), h_b);
    done(equitensor_edge_gradient(precision, atoms, slots, n.components(), gathered, 1, harmonics, at.a, at.b, back_sum,
                                  start, nullptr, h_harmonics, h_a, h_b, nullptr, dharmonics, gradient.a, gradient.b,
                                  sums.data(), threads));
    layers.linear(atoms, degrees, gathered, channels, sums.data(), from<T>(matrices), h_mixed.data());
    layers.outer(atoms, degrees, gathered, channels, sums.data(), by.mixed, into<T>(dmatrices));
    product(n, at.mixed, g, h_mixed.data(), dg, gradient.mixed, dweight, dmix);
    layers.outer(n.slots, 1, edge_channels, gathered, from<T>(h_messages), by.a, into<T>(dw_messages));
    layers.outer(n.slots, 1, num_radial, gathered, from<T>(h_radial), by.b, into<T>(dw_radial));
  });
}
