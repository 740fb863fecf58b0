// F = sum over atoms i, slots j, components m, channels c of Y_ijm a_ijc b_ijc G_imc, and its derivatives: see
// equitensor/ops/edge_form.py. A block takes one atom or a few, and a tile of channels, a thread a channel.
//
// With p = a b and q = sum_m Y_m G_m the gradient is q b, q a, sum_j Y_j p and sum_c p G; along a tangent p becomes s,
// its derivative, q becomes r, and each term has its mate. Sums over slots stay in registers, those over channels go
// through shuffles; rows a and b lie at their slots or, with `rev`, at those of the reverse edges.
#include "threads.h"

#include "lane_sums.h"
#include "unroll.h"

#include "problem.h"

constexpr bool MOVED_P = MOVED_A || MOVED_B;
constexpr bool NEEDS_G = WANTED_Y || WANTED_A || WANTED_B;
constexpr int WARPS = LANES > 32 ? LANES / 32 : 1;

struct Arrays {
  const T *Y, *a, *b, *G, *h_Y, *h_a, *h_b, *h_G;
};

// What one slot gives: to the sums by G, to the gradient w.r.t. its Y, and the gradients w.r.t. its a and b.
EQUITENSOR_DEVICE void slot_terms(const Arrays& at, Index slot, Index row, int c, const T (&G)[COMPONENTS],
                                  const T (&h_G)[COMPONENTS], T (&sums)[COMPONENTS], T (&of_Y)[COMPONENTS], T* of_a,
                                  T* of_b) {
  const Index place = row * CHANNELS + c;
  const T a = at.a[place], b = at.b[place];
  const T h_a = MOVED_A ? at.h_a[place] : T(0), h_b = MOVED_B ? at.h_b[place] : T(0);
  const T p = a * b, s = FIRST ? p : h_a * b + a * h_b;
  T q = 0, r = 0;
  unroll<0, COMPONENTS>([&](auto m) {
    const T Y = at.Y[slot * COMPONENTS + m], h_Y = MOVED_Y ? at.h_Y[slot * COMPONENTS + m] : T(0);
    q += Y * G[m];
    if (MOVED_Y) r += h_Y * G[m];
    if (MOVED_G) r += Y * h_G[m];
    if (WANTED_G && (FIRST || MOVED_P)) sums[m] += Y * s;
    if (WANTED_G && MOVED_Y) sums[m] += h_Y * p;
    if (WANTED_Y) of_Y[m] = s * G[m] + (MOVED_G ? p * h_G[m] : T(0));
  });
  if (FIRST) r = q;
  if (WANTED_A) of_a[place] = b * r + (MOVED_B ? h_b * q : T(0));
  if (WANTED_B) of_b[place] = a * r + (MOVED_A ? h_a * q : T(0));
}

// The gradient w.r.t. Y in parts (tiles of channels, atoms, width, components); the other gradients like their operands.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    edge_form(Index atoms, Index width, const Index* __restrict__ rev, const T* __restrict__ Y, const T* __restrict__ a,
              const T* __restrict__ b, const T* __restrict__ G, const T* __restrict__ h_Y, const T* __restrict__ h_a,
              const T* __restrict__ h_b, const T* __restrict__ h_G, T* __restrict__ of_Y, T* __restrict__ of_a,
              T* __restrict__ of_b, T* __restrict__ of_G) {
  __shared__ T warps[WANTED_Y ? ROWS * SLOTS * WARPS * COMPONENTS : 1];
  const Arrays at{Y, a, b, G, h_Y, h_a, h_b, h_G};
  const Index atom = Index(blockIdx.x) * ROWS + threadIdx.y;
  const int c = blockIdx.y * LANES + threadIdx.x;
  const bool works = atom < atoms && c < CHANNELS;
  T features[COMPONENTS] = {}, moved[COMPONENTS] = {}, sums[COMPONENTS] = {};
  unroll<0, COMPONENTS>([&](auto m) {
    if (NEEDS_G && works) features[m] = G[(atom * COMPONENTS + m) * CHANNELS + c];
    if (MOVED_G && works) moved[m] = h_G[(atom * COMPONENTS + m) * CHANNELS + c];
  });
  for (Index first = 0; first < width; first += SLOTS) {
    const int count = width - first < SLOTS ? int(width - first) : SLOTS;
    T* own = warps + threadIdx.y * SLOTS * WARPS * COMPONENTS;
    EQUITENSOR_NO_UNROLL
    for (int n = 0; n < count; n++) {
      const Index slot = atom * width + first + n;
      T gradients[COMPONENTS] = {};
      if (works) slot_terms(at, slot, REVERSED ? rev[slot] : slot, c, features, moved, sums, gradients, of_a, of_b);
      if (WANTED_Y)
        sum_lanes<(LANES < 32 ? LANES : 32)>(gradients, threadIdx.x, 0, COMPONENTS, true,
                                             own + (n * WARPS + threadIdx.x / 32) * COMPONENTS);
    }
    if (!WANTED_Y) continue;
    __syncthreads();
    for (int n = threadIdx.x; atom < atoms && n < count * COMPONENTS; n += LANES) {
      T sum = 0;
      for (int warp = 0; warp < WARPS; warp++)
        sum += own[(n / COMPONENTS * WARPS + warp) * COMPONENTS + n % COMPONENTS];
      of_Y[((blockIdx.y * atoms + atom) * width + first) * COMPONENTS + n] = sum;
    }
    __syncthreads();
  }
  unroll<0, COMPONENTS>([&](auto m) {
    if (WANTED_G && works) of_G[(atom * COMPONENTS + m) * CHANNELS + c] = sums[m];
  });
}
