// Weighted powers of the density A of an atom, P_1 = A, P_k = P_{k-1} (x) A, a thread for each atom and channel:
//   features    B_m = sum_k w_k,l(m) P_k,m
//   invariants  I   = w_1 A_00 + sum_k w_k sum_m P_a,m P_b,m, a + b = k
// and their gradients, or, with dual numbers, the tangents of those: see
// equitensor/ops/density_product.py. Gradients w.r.t. weights are written for each atom, then summed, in one order.
#include "threads.h"

#include "dual.h"
#include "unroll.h"

// The groups of a component of the result; the entries of one component of the first operand and path in it.
struct Range {
  int first, last;
};
struct Group {
  int x, first, last, path;
};

#include "problem.h"

using N = Number<TANGENT, T>::type;

constexpr bool ANY_GRADIENT = WANTED_X || WANTED_WEIGHT || WANTED_MIX;
constexpr int PAIRED = ORDER - ORDER / 2;  // the highest power that invariants need
constexpr int POWERS = INVARIANTS && PAIRED > 0 ? PAIRED : ORDER;
constexpr int WEIGHTS = ORDER * (INVARIANTS ? 1 : DEGREES);
constexpr int WIDTH_OUT = INVARIANTS ? 1 : COMPONENTS;
// Of features whose values and gradients w.r.t. weights are not wanted, the highest power enters nothing.
constexpr int RAISED = INVARIANTS || WANTED_OUT || WANTED_WEIGHT ? POWERS : POWERS - 1;

// One atom and channel: all powers, the gradients w.r.t. them, weights and gradients w.r.t. weights.
struct Pass {
  N P[POWERS][COMPONENTS], gradient[POWERS][COMPONENTS], w[WEIGHTS], of_w[WEIGHTS], mix[PATHS], of_mix[PATHS];

  // z (+)= factor times the product of x and y into the plan's slot, its paths weighed.
  template <class Plan, bool ADD>
  EQUITENSOR_DEVICE void couple(const N* x, const N* y, N* z, T factor) const {
    unroll<0, COMPONENTS>([&](auto k) {
      static constexpr Range groups = Plan::RESULT[k.value];
      N sum{};
      unroll<groups.first, groups.last>([&](auto g) {
        static constexpr Group group = Plan::GROUP[g.value];
        N inner = gather<Plan, group.first, group.last>(y);
        if (MIXED) inner = mix[group.path] * inner;
        sum += x[group.x] * inner;
      });
      z[k] = ADD ? z[k] + factor * sum : factor * sum;
    });
  }

  template <class Plan, int FIRST, int LAST>
  static EQUITENSOR_DEVICE N gather(const N* y) {
    N inner{};
    unroll<FIRST, LAST>([&](auto t) { inner += Plan::FACTOR[t.value] * y[Plan::COLUMN[t.value]]; });
    return inner;
  }

  // What each path's weight does to g . (x (x) y).
  EQUITENSOR_DEVICE void couple_by_mix(const N* x, const N* y, const N* g) {
    unroll<0, COMPONENTS>([&](auto k) {
      static constexpr Range groups = Product::RESULT[k.value];
      unroll<groups.first, groups.last>([&](auto n) {
        static constexpr Group group = Product::GROUP[n.value];
        of_mix[group.path] += g[k] * (x[group.x] * gather<Product, group.first, group.last>(y));
      });
    });
  }

  EQUITENSOR_DEVICE void raise() {
    unroll<1, RAISED>([&](auto k) { couple<Product, false>(P[k - 1], P[0], P[k], T(1)); });
  }

  template <int K>
  EQUITENSOR_DEVICE N overlap() const {  // of the two powers whose orders add up to K + 1
    constexpr int A = (K + 1) / 2 - 1, B = K - (K + 1) / 2;
    N sum{};
    unroll<0, COMPONENTS>([&](auto m) { sum += P[A][m] * P[B][m]; });
    return sum;
  }

  EQUITENSOR_DEVICE void output(N* out) const {
    if constexpr (INVARIANTS) {
      out[0] = w[0] * P[0][0];
      unroll<1, ORDER>([&](auto k) { out[0] += w[k] * overlap<k.value>(); });
    } else {
      unroll<0, COMPONENTS>([&](auto m) {
        static constexpr int L = DEGREE_OF[m.value];
        N sum{};
        unroll<0, POWERS>([&](auto k) { sum += w[k * DEGREES + L] * P[k][m]; });
        out[m] = sum;
      });
    }
  }

  EQUITENSOR_DEVICE void reverse(const N* g) {
    unroll<0, POWERS * COMPONENTS>([&](auto n) { gradient[n / COMPONENTS][n % COMPONENTS] = N{}; });
    if constexpr (INVARIANTS)
      reverse_invariants(g[0]);
    else
      reverse_features(g);
    unroll<1, POWERS>([&](auto n) {
      static constexpr int k = POWERS - n.value;  // the highest first
      if constexpr (WANTED_MIX) couple_by_mix(P[k - 1], P[0], gradient[k]);
      if constexpr (WANTED_X && k == 1 && SYMMETRIC)
        couple<ByFirst, true>(P[0], gradient[1], gradient[0], T(2));
      else if constexpr (WANTED_X || (WANTED_MIX && k > 1))
        couple<ByFirst, true>(P[0], gradient[k], gradient[k - 1], T(1));
      if constexpr (WANTED_X && !(k == 1 && SYMMETRIC))
        couple<BySecond, true>(P[k - 1], gradient[k], gradient[0], T(1));
    });
  }

  EQUITENSOR_DEVICE void reverse_features(const N* g) {
    unroll<0, COMPONENTS>([&](auto m) {
      static constexpr int L = DEGREE_OF[m.value];
      unroll<0, POWERS>([&](auto k) {
        gradient[k][m] = w[k * DEGREES + L] * g[m];
        if (WANTED_WEIGHT) of_w[k * DEGREES + L] += g[m] * P[k][m];
      });
    });
  }

  EQUITENSOR_DEVICE void reverse_invariants(const N& g) {
    gradient[0][0] = w[0] * g;
    of_w[0] += g * P[0][0];
    unroll<1, ORDER>([&](auto k) {
      static constexpr int A = (k.value + 1) / 2 - 1, B = k.value - (k.value + 1) / 2;
      const N weighted = w[k] * g;
      unroll<0, COMPONENTS>([&](auto m) {
        gradient[A][m] += weighted * P[B][m];
        gradient[B][m] += weighted * P[A][m];
      });
      if (WANTED_WEIGHT) of_w[k] += g * overlap<k.value>();
    });
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    density_product(Index atoms, const Index* __restrict__ species, const T* __restrict__ x,
                    const T* __restrict__ weight, const T* __restrict__ mix, const T* __restrict__ g,
                    const T* __restrict__ h_x, const T* __restrict__ h_weight, const T* __restrict__ h_mix,
                    T* __restrict__ out, T* __restrict__ of_x, T* __restrict__ of_weight, T* __restrict__ of_mix) {
  const Index place = Index(blockIdx.x) * THREADS + threadIdx.x;
  if (place >= atoms * CHANNELS) return;
  const Index atom = place / CHANNELS, c = place % CHANNELS, row = species[atom] * WEIGHTS;
  Pass pass{};
  unroll<0, COMPONENTS>([&](auto m) { take(pass.P[0][m], x, h_x, (atom * COMPONENTS + m) * CHANNELS + c); });
  unroll<0, WEIGHTS>([&](auto k) { take(pass.w[k], weight, h_weight, (row + k) * CHANNELS + c); });
  unroll<0, MIXED ? PATHS : 0>([&](auto p) { take(pass.mix[p], mix, h_mix, p * CHANNELS + c); });
  pass.raise();
  if constexpr (WANTED_OUT) {
    N values[WIDTH_OUT];
    pass.output(values);
    unroll<0, WIDTH_OUT>([&](auto m) { out[(atom * WIDTH_OUT + m) * CHANNELS + c] = result(values[m]); });
  }
  if constexpr (ANY_GRADIENT) {
    N h_out[WIDTH_OUT];
    const T* const zero = nullptr;
    unroll<0, WIDTH_OUT>([&](auto m) { take(h_out[m], g, zero, (atom * WIDTH_OUT + m) * CHANNELS + c); });
    pass.reverse(h_out);
    unroll<0, WANTED_X ? COMPONENTS : 0>(
        [&](auto m) { of_x[(atom * COMPONENTS + m) * CHANNELS + c] = result(pass.gradient[0][m]); });
    unroll<0, WANTED_WEIGHT ? WEIGHTS : 0>(
        [&](auto k) { of_weight[(atom * WEIGHTS + k) * CHANNELS + c] = result(pass.of_w[k]); });
    unroll<0, WANTED_MIX ? PATHS : 0>(
        [&](auto p) { of_mix[(atom * PATHS + p) * CHANNELS + c] = result(pass.of_mix[p]); });
  }
}
