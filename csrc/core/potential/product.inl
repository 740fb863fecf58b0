// Powers of an atom's density, P_1 = A, P_k = P_{k-1} (x) A, weighted: see equitensor/nn/density_product.py. A block of
// B registers of channels at a time. Included once per instruction set.

template <class T, int B>
struct Block {
  vec<T> part[B];
  INLINE static Block zero() {
    Block out;
    for (int b = 0; b < B; b++) out.part[b] = vec<T>{};
    return out;
  }
  INLINE static Block read(const T* p) {
    Block out;
#pragma GCC unroll 4
    for (int b = 0; b < B; b++) out.part[b] = load(p + b * W<T>);
    return out;
  }
  INLINE void write(T* p) const {
#pragma GCC unroll 4
    for (int b = 0; b < B; b++) store(p + b * W<T>, part[b]);
  }
  INLINE void add(const Block& x, const Block& y) {
#pragma GCC unroll 4
    for (int b = 0; b < B; b++) part[b] += x.part[b] * y.part[b];
  }
  INLINE void add(T x, const Block& y) {
#pragma GCC unroll 4
    for (int b = 0; b < B; b++) part[b] += x * y.part[b];
  }
  INLINE Block times(const Block& y) const {
    Block out;
#pragma GCC unroll 4
    for (int b = 0; b < B; b++) out.part[b] = part[b] * y.part[b];
    return out;
  }
};

// z (+)= factor times x (x) y into this slot, its paths weighed by those at `paths` (null: ones). Rows B registers
// long.
template <class T, int B>
INLINE void couple(const Coupled<T>& c, int D, const T* paths, int64_t path_row, const T* x, const T* y, T* z, T factor,
                   bool add) {
  constexpr int S = B * W<T>;
  const auto* group = c.groups.data();
  const auto* entry = c.entries.data();
  for (int k = 0; k < D; k++) {
    Block<T, B> total = Block<T, B>::zero();
    for (const auto* end = c.groups.data() + c.row[k + 1]; group < end; group++) {
      Block<T, B> inner = Block<T, B>::zero();
      for (const auto* stop = c.entries.data() + group->end; entry < stop; entry++)
        inner.add(entry->coefficient, Block<T, B>::read(y + entry->second * S));
      if (paths) inner = inner.times(Block<T, B>::read(paths + group->path * path_row));
      total.add(Block<T, B>::read(x + group->first * S), inner);
    }
    Block<T, B> out = add ? Block<T, B>::read(z + k * S) : Block<T, B>::zero();
    out.add(factor, total);
    out.write(z + k * S);
  }
}

// Entry t of the Gaunt tensor of degree L: z_k += T_ijk (x_i y_j + x_j y_i), whose sum of products entries of a pair
// share.
template <class T, int L, size_t t>
INLINE void couple_entry(const vec<T>* x, const vec<T>* y, vec<T>& pair, vec<T>* z) {
  constexpr GauntEntry now = Gaunt<L>::entries[t];
  constexpr GauntEntry last = Gaunt<L>::entries[t ? t - 1 : 0];
  if constexpr (t == 0 || last.i != now.i || last.j != now.j) {
    if constexpr (now.i == now.j)
      pair = x[now.i] * y[now.i];
    else
      pair = x[now.i] * y[now.j] + x[now.j] * y[now.i];
  }
  z[now.k] += static_cast<T>(now.value) * pair;
}
template <class T, int L, size_t t>
INLINE void square_entry(const vec<T>* x, vec<T>& pair, vec<T>* z) {
  constexpr GauntEntry now = Gaunt<L>::entries[t];
  constexpr GauntEntry last = Gaunt<L>::entries[t ? t - 1 : 0];
  if constexpr (t == 0 || last.i != now.i || last.j != now.j) pair = x[now.i] * x[now.j];
  z[now.k] += static_cast<T>(now.i == now.j ? now.value : 2 * now.value) * pair;
}
template <class T, int L, size_t... t>
INLINE void couple_entries(const vec<T>* x, const vec<T>* y, vec<T>* z, std::index_sequence<t...>) {
  vec<T> pair;
  (couple_entry<T, L, t>(x, y, pair, z), ...);
}
template <class T, int L, size_t... t>
INLINE void square_entries(const vec<T>* x, vec<T>* z, std::index_sequence<t...>) {
  vec<T> pair;
  (square_entry<T, L, t>(x, pair, z), ...);
}

// The same product with the Gaunt tensor, unrolled, one register of channels: z (+)= factor times x (x) y. Rows of x
// are sx values apart.
template <class T, int L>
__attribute__((noinline)) void couple_gaunt(const T* x, int64_t sx, const T* y, T* z, T factor, bool add) {
  constexpr int D = (L + 1) * (L + 1);
  vec<T> a[D], b[D], sum[D];
#pragma GCC unroll 25
  for (int m = 0; m < D; m++)
    a[m] = load(x + m * sx), b[m] = factor * load(y + m * W<T>), sum[m] = add ? load(z + m * W<T>) : vec<T>{};
  couple_entries<T, L>(a, b, sum, std::make_index_sequence<Gaunt<L>::count>());
#pragma GCC unroll 25
  for (int m = 0; m < D; m++) store(z + m * W<T>, sum[m]);
}
template <class T, int L>
__attribute__((noinline)) void square_gaunt(const T* x, int64_t sx, T* z) {
  constexpr int D = (L + 1) * (L + 1);
  vec<T> a[D], sum[D];
#pragma GCC unroll 25
  for (int m = 0; m < D; m++) a[m] = load(x + m * sx), sum[m] = vec<T>{};
  square_entries<T, L>(a, sum, std::make_index_sequence<Gaunt<L>::count>());
#pragma GCC unroll 25
  for (int m = 0; m < D; m++) store(z + m * W<T>, sum[m]);
}

// Powers of a block of B registers of channels; gaunt > 0: with the Gaunt tensor of that degree, unrolled. The first
// power is where it lies, its rows `row` values apart, the others' rows are together.
template <class T, int B, int gaunt = 0>
struct Powers {
  static constexpr int S = B * W<T>;
  const Network<T>& n;
  const T* paths;
  const T* first;
  int64_t row;
  T *P,
      *gP;  // (powers, D, S): the powers and their gradients; P's first is unused where the first lies elsewhere

  INLINE const T* at(int k, int m) const { return k == 0 ? first + m * row : P + (int64_t(k) * n.D + m) * S; }
  INLINE T* by(int k, int m) const { return gP + (int64_t(k) * n.D + m) * S; }

  INLINE void raise(int powers) const {
    for (int k = 1; k < powers; k++) {
      T* const to = P + int64_t(k) * n.D * S;
      if constexpr (gaunt > 0) {
        if (k == 1)
          square_gaunt<T, gaunt>(first, row, to);
        else
          couple_gaunt<T, gaunt>(first, row, at(k - 1, 0), to, T(1), false);
      } else {
        couple<T, B>(n.coupled[2], n.D, paths, n.Cp, at(k - 1, 0), P, to, T(1), false);
      }
    }
  }
  INLINE void lower(int powers) const {
    for (int k = powers - 1; k > 0; k--) {
      if constexpr (gaunt > 0) {
        if (k == 1) {
          couple_gaunt<T, gaunt>(first, row, by(1, 0), gP, T(2), true);
        } else {
          couple_gaunt<T, gaunt>(at(k - 1, 0), S, by(k, 0), gP, T(1), true);
          couple_gaunt<T, gaunt>(first, row, by(k, 0), by(k - 1, 0), T(1), true);
        }
      } else if (k == 1 && n.symmetric) {
        couple<T, B>(n.coupled[0], n.D, paths, n.Cp, P, by(1, 0), gP, T(2), true);
      } else {
        couple<T, B>(n.coupled[0], n.D, paths, n.Cp, P, by(k, 0), by(k - 1, 0), T(1), true);
        couple<T, B>(n.coupled[1], n.D, paths, n.Cp, at(k - 1, 0), by(k, 0), gP, T(1), true);
      }
    }
  }
};

// The density's channels (D, C), a block after the other: body(Powers, first channel). Each block has a part of P of
// its own, so that powers raised once can be used again.
template <class T, int B, int gaunt, class F>
INLINE void block(const Network<T>& n, const T* paths, const T* density, int c, T* P, T* gP, const F& body) {
  constexpr int S = B * W<T>;
  T* const own = P + int64_t(c) * n.order * n.D;
  if constexpr (gaunt > 0) {
    body(Powers<T, B, gaunt>{n, nullptr, density + c, n.Cp, own, gP}, c);
  } else {
    for (int m = 0; m < n.D; m++) Block<T, B>::read(density + m * n.Cp + c).write(own + m * S);
    body(Powers<T, B>{n, paths ? paths + c : nullptr, own, S, own, gP}, c);
  }
}
template <class T, int gaunt, class F>
INLINE void gaunt_blocks(const Network<T>& n, const T* density, T* P, T* gP, const F& body) {
  for (int c = 0; c < n.Cp; c += W<T>) block<T, 1, gaunt>(n, nullptr, density, c, P, gP, body);
}
template <class T, class F>
INLINE void blocks(const Network<T>& n, const Product<T>& product, const T* density, T* P, T* gP, const F& body) {
  switch (n.gaunt) {
    case 1: return gaunt_blocks<T, 1>(n, density, P, gP, body);
    case 2: return gaunt_blocks<T, 2>(n, density, P, gP, body);
    case 3: return gaunt_blocks<T, 3>(n, density, P, gP, body);
    case 4: return gaunt_blocks<T, 4>(n, density, P, gP, body);
  }
  constexpr int B = EQUITENSOR_BYTES == 64 ? 2 : 4;
  const T* paths = product.paths.size() ? product.paths.data() : nullptr;
  int c = 0;
  for (; c + B * W<T> <= n.Cp; c += B * W<T>) block<T, B, 0>(n, paths, density, c, P, gP, body);
  for (; c < n.Cp; c += W<T>) block<T, 1, 0>(n, paths, density, c, P, gP, body);
}

// B_m = sum_k w_k,l(m) P_k,m: features (D, C) of the density (D, C).
template <class T>
void product_features(const Network<T>& n, const Product<T>& product, int species, const T* density, T* P,
                      T* features) {
  const T* const weights = product.coefficients.data() + int64_t(species) * n.order * (n.L + 1) * n.Cp;
  blocks(n, product, density, P, P, [&](auto powers, int c) {
    using Powers = decltype(powers);
    using Block = equitensor::EQUITENSOR_SET::Block<T, Powers::S / W<T>>;
    powers.raise(n.order);
    for (int l = 0; l <= n.L; l++)
      for (int m = l * l; m < (l + 1) * (l + 1); m++) {
        Block total = Block::zero();
        for (int k = 0; k < n.order; k++)
          total.add(Block::read(weights + (k * (n.L + 1) + l) * n.Cp + c), Block::read(powers.at(k, m)));
        total.write(features + m * n.Cp + c);
      }
  });
}

template <class T>
void product_gradient(const Network<T>& n, const Product<T>& product, int species, const T* density,
                      const T* by_features, T* P, T* gP, T* by_density) {
  const T* const weights = product.coefficients.data() + int64_t(species) * n.order * (n.L + 1) * n.Cp;
  blocks(n, product, density, P, gP, [&](auto powers, int c) {
    using Powers = decltype(powers);
    using Block = equitensor::EQUITENSOR_SET::Block<T, Powers::S / W<T>>;
    powers.raise(n.order - 1);
    for (int l = 0; l <= n.L; l++)
      for (int m = l * l; m < (l + 1) * (l + 1); m++) {
        const Block g = Block::read(by_features + m * n.Cp + c);
        for (int k = 0; k < n.order; k++)
          Block::read(weights + (k * (n.L + 1) + l) * n.Cp + c).times(g).write(powers.by(k, m));
      }
    powers.lower(n.order);
    for (int m = 0; m < n.D; m++) Block::read(gP + m * Powers::S).write(by_density + m * n.Cp + c);
  });
}

// I = w_1 A_00 + sum_k w_k sum_m P_a,m P_b,m, a + b = k, a <= b: invariants (C,). The powers stay in P.
template <class T>
void invariants(const Network<T>& n, int species, const T* density, T* P, T* out) {
  const T* const weights = n.invariants.coefficients.data() + int64_t(species) * n.order * n.Cp;
  blocks(n, n.invariants, density, P, P, [&](auto powers, int c) {
    using Powers = decltype(powers);
    using Block = equitensor::EQUITENSOR_SET::Block<T, Powers::S / W<T>>;
    powers.raise(n.order - n.order / 2);
    Block total = Block::read(weights + c).times(Block::read(powers.at(0, 0)));
    for (int k = 2; k <= n.order; k++) {
      const int a = k / 2 - 1, b = k - k / 2 - 1;
      Block scalar = Block::zero();
      for (int m = 0; m < n.D; m++) scalar.add(Block::read(powers.at(a, m)), Block::read(powers.at(b, m)));
      total.add(Block::read(weights + (k - 1) * n.Cp + c), scalar);
    }
    total.write(out + c);
  });
}

// By the density, from the powers that `invariants` left in P. With the Gaunt tensor all terms of orders up to 3 are
// multiples of A and P_2: d(P_2 . A) = 3 P_2 . dA, the tensor being totally symmetric.
template <class T>
void invariants_gradient(const Network<T>& n, int species, const T* density, const T* by_invariants, T* P, T* gP,
                         T* by_density) {
  const T* const weights = n.invariants.coefficients.data() + int64_t(species) * n.order * n.Cp;
  blocks(n, n.invariants, density, P, gP, [&](auto powers, int c) {
    using Powers = decltype(powers);
    using Block = equitensor::EQUITENSOR_SET::Block<T, Powers::S / W<T>>;
    const Block g = Block::read(by_invariants + c), first = Block::read(weights + c).times(g);
    if (n.gaunt && n.order == 3) {
      Block second = Block::read(weights + n.Cp + c).times(g), third = Block::read(weights + 2 * n.Cp + c).times(g);
      for (int b = 0; b < Powers::S / W<T>; b++) second.part[b] *= T(2), third.part[b] *= T(3);
      for (int m = 0; m < n.D; m++) {
        Block by = m ? Block::zero() : first;
        by.add(second, Block::read(powers.at(0, m)));
        by.add(third, Block::read(powers.at(1, m)));
        by.write(by_density + m * n.Cp + c);
      }
      return;
    }
    const int count = n.order == 1 ? 1 : n.order - n.order / 2;
    for (int i = 0; i < count * n.D; i++) Block::zero().write(gP + i * Powers::S);
    first.write(gP);
    for (int k = 2; k <= n.order; k++) {
      const int a = k / 2 - 1, b = k - k / 2 - 1;
      const Block weighted = Block::read(weights + (k - 1) * n.Cp + c).times(g);
      for (int m = 0; m < n.D; m++) {
        Block by_a = Block::read(powers.by(a, m));
        by_a.add(weighted, Block::read(powers.at(b, m)));
        by_a.write(powers.by(a, m));
        Block by_b = Block::read(powers.by(b, m));
        by_b.add(weighted, Block::read(powers.at(a, m)));
        by_b.write(powers.by(b, m));
      }
    }
    powers.lower(count);
    for (int m = 0; m < n.D; m++) Block::read(gP + m * Powers::S).write(by_density + m * n.Cp + c);
  });
}
