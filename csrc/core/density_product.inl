// Weighted powers of the density A of an atom, P_1 = A, P_k = P_{k-1} (x) A, in one pass over channels:
//   features    B_m = sum_k w_k,l(m) P_k,m
//   invariants  I   = w_1 A_00 + sum_k w_k sum_m P_a,m P_b,m, a + b = k
// where (x) may weigh its paths, channel by channel ("mix"); and their gradients, with blocks of channels or duals of
// them. Included once per instruction set.

// z (+)= factor times the product of x and y into the plan's slot, its paths weighed by `mix` (null: ones).
template <class N, class T>
EQUITENSOR_INLINE void couple(const ProductPlan<T>& plan, const N* mix, const N* x, const N* y, N* z, T factor,
                              bool add) {
  const Entry<T>* entry = plan.entries.data();
  const Group* group = plan.groups.data();
  for (int64_t k = 0; k < plan.size_out; k++) {
    N sum = N::zero();
    for (const Group* end = plan.groups.data() + plan.row[k + 1]; group < end; group++) {
      N inner = N::zero();
      for (const Entry<T>* stop = plan.entries.data() + group->end; entry < stop; entry++)
        inner += entry->coefficient * y[entry->second];
      sum += x[group->first] * (mix ? mix[group->path] * inner : inner);
    }
    z[k] = add ? z[k] + factor * sum : factor * sum;
  }
}

// Adds to dmix what each path's weight does to g . z.
template <class N, class T>
EQUITENSOR_INLINE void couple_by_mix(const ProductPlan<T>& plan, const N* x, const N* y, const N* g, N* dmix) {
  const Entry<T>* entry = plan.entries.data();
  const Group* group = plan.groups.data();
  for (int64_t k = 0; k < plan.size_out; k++)
    for (const Group* end = plan.groups.data() + plan.row[k + 1]; group < end; group++) {
      N inner = N::zero();
      for (const Entry<T>* stop = plan.entries.data() + group->end; entry < stop; entry++)
        inner += entry->coefficient * y[entry->second];
      dmix[group->path] += g[k] * (x[group->first] * inner);
    }
}

// One atom, one block of channels: powers P and, where `g` is given, gP = d(g . output)/dP.
template <class N, class T>
struct PowerPass {
  const DensityProduct<T>& d;
  N *P, *gP, *w, *dw;  // (powers, D), the same, (order, degrees) twice
  N *mix, *dmix;       // (paths,) or null

  EQUITENSOR_INLINE N* power(int64_t k) const { return P + k * d.components; }
  EQUITENSOR_INLINE N* gradient(int64_t k) const { return gP + k * d.components; }
  EQUITENSOR_INLINE int64_t powers() const {
    return d.invariants ? std::max<int64_t>(1, d.order - d.order / 2) : d.order;
  }
  EQUITENSOR_INLINE int64_t weights() const { return d.order * (d.invariants ? 1 : d.degrees); }

  // All powers; without `highest` (features and no gradient in the weights) the last one enters nothing.
  EQUITENSOR_INLINE void raise(bool highest) const {
    for (int64_t k = 1; k < powers() - !(highest || d.invariants); k++)
      couple(d.plans[2], mix, power(k - 1), P, power(k), T(1), false);
  }

  EQUITENSOR_INLINE N overlap(int64_t k) const {  // sum_m P_a,m P_b,m, a + b = k + 1 for the k-th weight
    const N *a = power((k + 1) / 2 - 1), *b = power(k + 1 - (k + 1) / 2 - 1);
    N sum = N::zero();
    for (int64_t m = 0; m < d.components; m++) sum += a[m] * b[m];
    return sum;
  }

  EQUITENSOR_INLINE void output(N* out) const {
    if (d.invariants) {
      out[0] = w[0] * P[0];
      for (int64_t k = 1; k < d.order; k++) out[0] += w[k] * overlap(k);
      return;
    }
    for (int64_t m = 0; m < d.components; m++) {
      N sum = N::zero();
      for (int64_t k = 0; k < d.order; k++) sum += w[k * d.degrees + d.degree[m]] * power(k)[m];
      out[m] = sum;
    }
  }

  EQUITENSOR_INLINE void reverse(const N* g, bool weights_too) const {
    for (int64_t i = 0; i < powers() * d.components; i++) gP[i] = N::zero();
    if (d.invariants)
      reverse_invariants(g[0], weights_too);
    else
      reverse_features(g, weights_too);
    for (int64_t k = powers() - 1; k > 0; k--) {
      if (dmix) couple_by_mix(d.plans[2], power(k - 1), P, gradient(k), dmix);
      if (k == 1 && d.symmetric) {
        couple(d.plans[0], mix, P, gradient(1), gP, T(2), true);
      } else {
        couple(d.plans[0], mix, P, gradient(k), gradient(k - 1), T(1), true);
        couple(d.plans[1], mix, power(k - 1), gradient(k), gP, T(1), true);
      }
    }
  }

  EQUITENSOR_INLINE void reverse_features(const N* g, bool weights_too) const {
    for (int64_t k = 0; k < d.order; k++)
      for (int64_t m = 0; m < d.components; m++) {
        gradient(k)[m] = w[k * d.degrees + d.degree[m]] * g[m];
        if (weights_too) dw[k * d.degrees + d.degree[m]] += g[m] * power(k)[m];
      }
  }

  EQUITENSOR_INLINE void reverse_invariants(const N& g, bool weights_too) const {
    gP[0] = w[0] * g;
    if (weights_too) dw[0] += g * P[0];
    for (int64_t k = 1; k < d.order; k++) {
      const int64_t a = (k + 1) / 2 - 1, b = k + 1 - (k + 1) / 2 - 1;
      const N weighted = w[k] * g;
      for (int64_t m = 0; m < d.components; m++) {
        gradient(a)[m] += weighted * power(b)[m];
        gradient(b)[m] += weighted * power(a)[m];
      }
      if (weights_too) dw[k] += g * overlap(k);
    }
  }
};

// Atoms first..last. Without `g` the outputs; else the gradients in x, weight and mix, or (duals) their derivatives
// with the tangents, and that of the output. The gradients in weight and mix are added to what is there.
template <class N, class T>
void density_pass(const DensityProduct<T>& d, int64_t first, int64_t last, const DensityArrays<T>& at) {
  std::vector<N> memory(2 * d.order * d.components + 2 * d.order * d.degrees + 2 * d.components + 2 * d.paths);
  N *P = memory.data(), *gP = P + d.order * d.components, *w = gP + d.order * d.components;
  N *dw = w + d.order * d.degrees, *g = dw + d.order * d.degrees, *out = g + d.components;
  N *mix = at.mix ? out + d.components : nullptr, *dmix = at.dmix ? out + d.components + d.paths : nullptr;
  const PowerPass<N, T> pass{d, P, gP, w, dw, mix, dmix};
  const bool gradients = at.dx || at.dweight || at.dmix;
  const int64_t D = d.components, C = d.channels, K = pass.weights(), width_out = d.invariants ? 1 : D;
  for (int64_t i = first; i < last; i++) {
    const int64_t row = d.species[i] * K * C;
    for (int64_t c = 0; c < C; c += N::size) {
      const int64_t count = std::min<int64_t>(N::size, C - c);
      for (int64_t m = 0; m < D; m++) P[m] = Reader<N>::read(at.x, at.h_x, (i * D + m) * C + c, count);
      for (int64_t k = 0; k < K; k++) w[k] = Reader<N>::read(at.weight, at.h_weight, row + k * C + c, count);
      for (int64_t p = 0; mix && p < d.paths; p++) mix[p] = Reader<N>::read(at.mix, at.h_mix, p * C + c, count);
      pass.raise(at.out || at.dweight);
      if (at.out) {
        pass.output(out);
        for (int64_t m = 0; m < width_out; m++) result(out[m]).write(at.out + (i * width_out + m) * C + c, count);
      }
      if (!gradients) continue;
      const T* none = nullptr;
      for (int64_t m = 0; m < width_out; m++) g[m] = Reader<N>::read(at.g, none, (i * width_out + m) * C + c, count);
      for (int64_t k = 0; k < K; k++) dw[k] = N::zero();
      for (int64_t p = 0; dmix && p < d.paths; p++) dmix[p] = N::zero();
      pass.reverse(g, at.dweight != nullptr);
      for (int64_t m = 0; at.dx && m < D; m++) result(gP[m]).write(at.dx + (i * D + m) * C + c, count);
      for (int64_t k = 0; at.dweight && k < K; k++) result(dw[k]).add_to(at.dweight + row + k * C + c, count);
      for (int64_t p = 0; dmix && p < d.paths; p++) result(dmix[p]).add_to(at.dmix + p * C + c, count);
    }
  }
}

template <class T>
void density_product(const DensityProduct<T>& d, int64_t first, int64_t last, const DensityArrays<T>& at) {
  density_pass<Block<T, 4>, T>(d, first, last, at);
}

template <class T>
void density_product_tangents(const DensityProduct<T>& d, int64_t first, int64_t last, const DensityArrays<T>& at) {
  density_pass<Dual<Block<T, 2>>, T>(d, first, last, at);
}
