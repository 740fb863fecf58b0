// z_k = sum over paths of w_p sum_ij W_ijk x_i y_j, channel by channel, a thread for each item and channel, and its
// gradients, or, with dual numbers, the tangents of those: see
// equitensor/ops/uuu_product.py. Gradients w.r.t. weights are written for each item and channel, and then summed where
// items or channels share them.
#include "threads.h"

#include "dual.h"
#include "unroll.h"

// The weights of a path and its terms; the groups of one component of z; the entries of one component of x.
struct Path {
  int weight, first, last;
};
struct Term {
  int out, first, last;
};
struct Group {
  int x, first, last;
};
// Where a component of the first channel lies in a row, and how far the next channel is.
struct Component {
  int start, stride;
};

#include "problem.h"

using N = Number<TANGENT, T>::type;
constexpr bool ANY_GRADIENT = WANTED_X || WANTED_Y || WANTED_W;

EQUITENSOR_DEVICE Index place(Index item, int components, Component m, Index c) {
  return item * components * CHANNELS + m.start + c * m.stride;
}

// One item and channel.
struct Pass {
  N x[WIDTH_X], y[WIDTH_Y], g[WIDTH_Z], z[WIDTH_Z], of_x[WIDTH_X], of_y[WIDTH_Y];

  // One component of z on one path of weight w; returns the gradient w.r.t. the weight.
  template <int T_>
  EQUITENSOR_DEVICE N term(const N& w) {
    static constexpr Term at = TERM[T_];
    N sum{}, w_g{};
    if constexpr (ANY_GRADIENT) w_g = w * g[at.out];
    unroll<at.first, at.last>([&](auto n) {
      static constexpr Group group = GROUP[n.value];
      N inner{};
      unroll<group.first, group.last>([&](auto t) { inner += FACTOR[t.value] * y[COLUMN[t.value]]; });
      sum += x[group.x] * inner;
      if constexpr (WANTED_X) of_x[group.x] += w_g * inner;
      if constexpr (WANTED_Y) {
        const N back = w_g * x[group.x];
        unroll<group.first, group.last>([&](auto t) { of_y[COLUMN[t.value]] += FACTOR[t.value] * back; });
      }
    });
    if constexpr (WANTED_Z) z[at.out] += w * sum;
    if constexpr (WANTED_W) return g[at.out] * sum;
    return N{};
  }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    uuu_product(Index items, const T* __restrict__ x, const T* __restrict__ y, const T* __restrict__ w,
                const T* __restrict__ g, const T* __restrict__ h_x, const T* __restrict__ h_y,
                const T* __restrict__ h_w, T* __restrict__ z, T* __restrict__ of_x, T* __restrict__ of_y,
                T* __restrict__ of_w) {
  const Index n = Index(blockIdx.x) * THREADS + threadIdx.x;
  if (n >= items * CHANNELS) return;
  const Index item = n / CHANNELS, c = n % CHANNELS;
  Pass pass{};
  unroll<0, WIDTH_X>([&](auto m) { take(pass.x[m], x, h_x, place(item, WIDTH_X, PLACE_X[m.value], c)); });
  unroll<0, WIDTH_Y>([&](auto m) { take(pass.y[m], y, h_y, place(item, WIDTH_Y, PLACE_Y[m.value], c)); });
  if constexpr (ANY_GRADIENT)
    unroll<0, WIDTH_Z>(
        [&](auto m) { take(pass.g[m], g, static_cast<const T*>(nullptr), place(item, WIDTH_Z, PLACE_Z[m.value], c)); });
  unroll<0, PATHS>([&](auto p) {
    static constexpr Path path = PATH[p.value];
    const Index row = (path.weight * (OWN ? items : 1) + (OWN ? item : 0)) * (EACH ? CHANNELS : 1) + (EACH ? c : 0);
    N weight, of_weight{};
    take(weight, w, h_w, row);
    unroll<path.first, path.last>([&](auto t) { of_weight += pass.template term<t.value>(weight); });
    if constexpr (WANTED_W) of_w[(path.weight * items + item) * CHANNELS + c] = result(of_weight);
  });
  const auto write = [&](T* out, const auto& values, auto width, const Component* places) {
    unroll<0, decltype(width)::value>([&](auto m) { out[place(item, width, places[m.value], c)] = result(values[m]); });
  };
  if constexpr (WANTED_Z) write(z, pass.z, Int<WIDTH_Z>{}, PLACE_Z);
  if constexpr (WANTED_X) write(of_x, pass.of_x, Int<WIDTH_X>{}, PLACE_X);
  if constexpr (WANTED_Y) write(of_y, pass.of_y, Int<WIDTH_Y>{}, PLACE_Y);
}
