// z_k = sum of c x_i y_j over the entries (k, i, j, c) of a sparse tensor, a thread for each item and channel: see
// equitensor/ops/channel_product.py. Arrays (items, components, channels).
#include "threads.h"

#include "unroll.h"

// The groups of a component of z; the entries of one x_i and path in it.
struct Range {
  int first, last;
};
struct Group {
  int x, first, last, path;
};

#include "problem.h"

extern "C" __global__ void __launch_bounds__(THREADS)
    channel_product(Index items, const T* __restrict__ x, const T* __restrict__ y, T* __restrict__ z) {
  const Index n = Index(blockIdx.x) * THREADS + threadIdx.x;
  if (n >= items * CHANNELS) return;
  const Index item = n / CHANNELS, c = n % CHANNELS;
  T first[WIDTH_X], second[WIDTH_Y];
  unroll<0, WIDTH_X>([&](auto i) { first[i] = x[(item * WIDTH_X + i) * CHANNELS + c]; });
  unroll<0, WIDTH_Y>([&](auto j) { second[j] = y[(item * WIDTH_Y + j) * CHANNELS + c]; });
  unroll<0, WIDTH_Z>([&](auto k) {
    static constexpr Range groups = Product::RESULT[k.value];
    T sum = 0;
    unroll<groups.first, groups.last>([&](auto g) {
      static constexpr Group group = Product::GROUP[g.value];
      T inner = 0;
      unroll<group.first, group.last>(
          [&](auto t) { inner += Product::FACTOR[t.value] * second[Product::COLUMN[t.value]]; });
      sum += first[group.x] * inner;
    });
    z[(item * WIDTH_Z + k) * CHANNELS + c] = sum;
  });
}
