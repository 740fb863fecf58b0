// The two rounds of a model of two densities, in single precision, with what depends on a pair of elements and their
// distance alone taken from splines: the first density's functions f_lc(d), mixed; M x0, which enters the update; R V
// x0, which enters the second density. Included once per instruction set.

// Tiles as in `columns`, handed to done(row, first column's register, registers of the tile's row) instead of stored.
template <class T, int V, class F>
INLINE void columns_then(int64_t M, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb,
                         const F& done) {
  constexpr int most = EQUITENSOR_REGISTERS == 32 ? 24 / V : 12 / V;
  T out[most * V * W<T>] __attribute__((aligned(PAD_BYTES)));
  for (int64_t m = 0, tiles = (M + most - 1) / most; tiles > 0; tiles--) {
    const int64_t rows = (M - m + tiles - 1) / tiles;
    columns<T, V>(rows, K, a + m * am, am, ak, b, ldb, out, V * W<T>, false);
    for (int64_t r = 0; r < rows; r++) done(m + r, out + r * V * W<T>);
    m += rows;
  }
}

// By blocks of columns: done(row, column, values of V registers, V).
template <class T, class F>
INLINE void multiply_then(int64_t M, int64_t N, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb,
                          const F& done) {
  int64_t n = 0;
  if constexpr (EQUITENSOR_REGISTERS == 32)
    for (; n + 4 * W<T> <= N; n += 4 * W<T>)
      columns_then<T, 4>(M, K, a, am, ak, b + n, ldb,
                         [&](int64_t r, const T* v) { done(r, n, v, std::integral_constant<int, 4>()); });
  for (; n + 2 * W<T> <= N; n += 2 * W<T>)
    columns_then<T, 2>(M, K, a, am, ak, b + n, ldb,
                       [&](int64_t r, const T* v) { done(r, n, v, std::integral_constant<int, 2>()); });
  for (; n < N; n += W<T>)
    columns_then<T, 1>(M, K, a, am, ak, b + n, ldb,
                       [&](int64_t r, const T* v) { done(r, n, v, std::integral_constant<int, 1>()); });
}

// Degrees from .. to of a register of channels: sums over the row of Y_lm f_l.
template <class T>
template <int from, int to, class Width>
INLINE void Engine<T>::sum_degrees(const Row& row, const Spline* const* tables, int64_t c, T* out) const {
  constexpr int first = from * from, count = (to + 1) * (to + 1) - first;
  const int64_t Cp = Width::C ? Width::C : n.Cp, length = row.length;
  const T* const harmonics = w.harmonics.data();
  vec<T> total[count];
#pragma GCC unroll 25
  for (int m = 0; m < count; m++) total[m] = vec<T>{};
  for (int64_t e = 0; e < row.n; e++) {
    const Between at = between(e);
    const float* table = at.row(*tables[e], 0);
    const T* Y = harmonics + e;
#pragma GCC unroll 5
    for (int l = from; l <= to; l++) {
      const vec<T> f = at.value(table, l * Cp + c);
#pragma GCC unroll 11
      for (int m = l * l; m < (l + 1) * (l + 1); m++) total[m - first] += splat(Y[m * length]) * f;
    }
  }
#pragma GCC unroll 25
  for (int m = 0; m < count; m++) store(out + (first + m) * Cp + c, total[m]);
}

template <class T>
const Spline* const* Engine<T>::tables_of(const Row& row, int64_t i, const std::vector<Spline>& tables) const {
  const Spline** const out = w.tables.data();
  const int32_t *from = s.from.data() + row.first, *species = s.species.data();
  const Spline* const own = tables.data() + species[i];
  for (int64_t e = 0; e < row.n; e++) out[e] = own + int64_t(species[from[e]]) * n.elements;
  return out;
}

template <class T>
template <int L, class Width>
void Engine<T>::paired_forward(Atoms atoms) const {
  constexpr int most = EQUITENSOR_REGISTERS == 32 ? 3 : 2;  // degrees whose sums fit into registers
  for (int64_t i = atoms.first; i < atoms.end; i++) {
    if (s.species[i] < 0) continue;
    const Row row = arriving(i);
    T* density = s.density[0].data() + i * n.D * n.Cp;
    harmonics(row, s.direction);
    locate(row);
    const Spline* const* tables = tables_of(row, i, s.pairs->density);
    for (int64_t c = 0; c < n.Cp; c += W<T>) {
      sum_degrees<0, (L < most ? L : most), Width>(row, tables, c, density);
      if constexpr (L > most) sum_degrees<most + 1, most + 1, Width>(row, tables, c, density);
      if constexpr (L > most + 1) sum_degrees<most + 2, most + 2, Width>(row, tables, c, density);
    }
  }
  shape(0, atoms);
}

// Of the b-th atom of a block.
template <class T>
PairedEdges<T> Engine<T>::edges_of(int64_t b) const {
  const int64_t G = b * w.longest * n.Gp, c = b * w.longest * n.cp;
  return {w.product.data() + G,       w.radial.data() + G,     w.radial_gradient.data() + G,
          w.silu_gradient.data() + c, w.x_gradient.data() + c, w.read.data() + c};
}

// a = silu(h), h = M x0 + R'(d) g + S b + bias, in `state`. The next atom's data are fetched meanwhile.
template <class T>
template <class Width>
void Engine<T>::paired_activate(const Row& row, int64_t i, const Spline* const* tables,
                                const PairedEdges<T>& to) const {
  const UpdateMatrices<T>& update = n.updates[0];
  const int64_t cp = Width::c ? Width::c : n.cp;
  const T* const scalars = s.scalars[0].data() + i * cp;
  T* const activation = w.state.data();
  const T* const all_read = s.read[0].data();
  const int32_t* const place = s.place.data() + row.first;
  const Row next = i + 1 < s.owned ? arriving(i + 1) : Row{row.first, 0, 0};
  const int32_t* const next_place = s.place.data() + next.first;
  for (int64_t e = 0; e < row.n; e++) {
    if (e < next.n)
      for (int64_t c = 0; c < cp; c += PAD_BYTES / sizeof(T))
        __builtin_prefetch(all_read + int64_t(next_place[e]) * cp + c, 1, 2);
    const Between at = between(e);
    const T* const read = all_read + int64_t(place[e]) * cp;
    const float *pair = at.row(*tables[e], 0), *common = at.row(n.spline, update.radial.offset);
    constexpr int pack = PAD_BYTES / EQUITENSOR_BYTES > 1 ? 2 : 1;  // registers in a chunk's width come in twos
    for (int64_t c = 0; c < cp; c += 2 * W<T>) {
      const bool two = pack == 2 || c + W<T> < cp;
      vec<T> radial[2], dh[2], h[2], p[2];
#pragma GCC unroll 2
      for (int k = 0; k < 2; k++) {
        const int64_t v = two ? c + k * W<T> : c;
        vec<T> message, dmessage, dradial;
        at.both(pair, v, message, dmessage);
        at.both(common, v, radial[k], dradial);
        const vec<T> g = load(read + v);
        h[k] = message + radial[k] * g + load(scalars + v);
        dh[k] = dmessage + dradial * g;
      }
      sigmoids(h, p);
#pragma GCC unroll 2
      for (int k = 0; k < 2; k++) {
        const int64_t at = e * cp + (two ? c + k * W<T> : c);
        const vec<T> gradient = p[k] * (T(1) + h[k] * (T(1) - p[k]));
        store(activation + at, h[k] * p[k]);
        store(to.to_scalars + at, gradient);
        store(to.to_distance + at, gradient * dh[k]);
        store(to.to_read + at, gradient * radial[k]);
      }
    }
  }
}

template <class T>
template <class Width>
void Engine<T>::paired_last(Atoms atoms) const {
  const int64_t size = n.D * n.Gp;
  const DensityMatrices<T>& density = n.densities[1];
  for (int64_t i = atoms.first; i < atoms.end; i++)
    if (s.species[i] >= 0)
      paired_messages<Width>(i, edges_of(i - atoms.first), w.gathered.data() + (i - atoms.first) * size);
  by_degree(atoms, w.gathered.data(), n.Gp, density.mix.data(), w.density.data(), n.Cp);
  head(atoms);
  by_degree(atoms, w.by_density.data(), n.Cp, density.mix_t.data(), w.by_gathered.data(), n.Gp);
  for (int64_t i = atoms.first; i < atoms.end; i++)
    if (s.species[i] >= 0)
      paired_messages_gradient<Width>(i, edges_of(i - atoms.first), w.by_gathered.data() + (i - atoms.first) * size);
}

// product = R V x0 + R (O V a), summed with Y over the row: gathered (D, G).
template <class T>
template <class Width>
void Engine<T>::paired_messages(int64_t i, const PairedEdges<T>& to, T* gathered) const {
  const Row row = arriving(i);
  const DensityMatrices<T>& density = n.densities[1];
  const int64_t cp = Width::c ? Width::c : n.cp, Gp = Width::G ? Width::G : n.Gp;
  harmonics(row, s.direction);
  locate(row);
  const Spline* const* const tables = tables_of(row, i, s.pairs->messages);
  paired_activate<Width>(row, i, tables, to);
  const T* const OV = density.message.data() + cp * Gp;  // beyond the block of x0
  multiply_then<T>(row.n, Gp, cp, w.state.data(), cp, 1, OV, Gp,
                   [&](int64_t e, int64_t g, const T* values, auto count) {
                     const Between at = between(e);
                     const float *pair = at.row(*tables[e], cp), *common = at.row(n.spline, density.radial.offset);
#pragma GCC unroll 4
                     for (int v = 0; v < decltype(count)::value; v++) {
                       const int64_t column = g + v * W<T>;
                       vec<T> from_pair, dfrom_pair, r, dr;
                       at.both(pair, column, from_pair, dfrom_pair);
                       at.both(common, column, r, dr);
                       const vec<T> message = load(values + v * W<T>);
                       store(to.product + e * Gp + column, from_pair + r * message);
                       store(to.radial_gradient + e * Gp + column, dfrom_pair + dr * message);
                       store(to.radial + e * Gp + column, r);
                     }
                   });
  gather(row, to.product, gathered);
}

template <class T>
template <class Width>
void Engine<T>::paired_messages_gradient(int64_t i, const PairedEdges<T>& from, const T* by_gathered) const {
  const Row row = arriving(i);
  const DensityMatrices<T>& density = n.densities[1];
  const int64_t cp = Width::c ? Width::c : n.cp, Gp = Width::G ? Width::G : n.Gp;
  harmonics(row, s.direction);
  T *const by_distance = w.by_distance.data(), *const by_product = w.by_product.data();
  for (int64_t k = 0; k < row.n * W<T>; k += W<T>) store(by_distance + k, vec<T>{});
  multiply_then<T>(row.n, Gp, n.D, w.harmonics.data(), 1, row.length, by_gathered, Gp,
                   [&](int64_t e, int64_t g, const T* values, auto count) {
                     vec<T> distance_gradient = load(by_distance + e * W<T>);
#pragma GCC unroll 4
                     for (int v = 0; v < decltype(count)::value; v++) {
                       const int64_t at = e * Gp + g + v * W<T>;
                       const vec<T> by = load(values + v * W<T>);
                       distance_gradient += by * load(from.radial_gradient + at);
                       store(by_product + at, by * load(from.radial + at));
                     }
                     store(by_distance + e * W<T>, distance_gradient);
                   });
  turn_rows(by_gathered, Gp, w.by_gathered_t.data());
  multiply<T>(row.n, n.Dp, Gp, from.product, Gp, 1, w.by_gathered_t.data(), n.Dp, w.by_harmonics.data(), n.Dp);

  T *const by_scalars = s.by_scalars[0].data() + i * cp, *const all_read = s.read[0].data();
  const int32_t* const place = s.place.data() + row.first;
  for (int64_t c = 0; c < cp; c += W<T>) store(by_scalars + c, vec<T>{});
  multiply_then<T>(row.n, cp, Gp, by_product, Gp, 1, density.message_t.data() + cp, 2 * cp,
                   [&](int64_t e, int64_t c, const T* values, auto count) {
                     T* const read = all_read + int64_t(place[e]) * cp + c;
                     vec<T> distance_gradient = load(by_distance + e * W<T>);
#pragma GCC unroll 4
                     for (int v = 0; v < decltype(count)::value; v++) {
                       const int64_t at = e * cp + c + v * W<T>;
                       T* const scalar = by_scalars + c + v * W<T>;
                       const vec<T> by = load(values + v * W<T>);
                       distance_gradient += by * load(from.to_distance + at);
                       store(scalar, load(scalar) + by * load(from.to_scalars + at));
                       store(read + v * W<T>, by * load(from.to_read + at));
                     }
                     store(by_distance + e * W<T>, distance_gradient);
                   });
  lengths(row);
}

template <class T>
template <int L, class Width>
void Engine<T>::paired_backward(Atoms atoms) const {
  unshape(0, atoms);
  for (int64_t i = atoms.first; i < atoms.end; i++)
    if (s.species[i] >= 0) paired_density_gradient<L, Width>(i, w.by_density.data() + (i - atoms.first) * n.D * n.Cp);
}

template <class T>
template <int L, class Width>
void Engine<T>::paired_density_gradient(int64_t i, const T* by_density) const {
  const Row row = arriving(i);
  constexpr int D = (L + 1) * (L + 1), lanes = W<T>, Dw = (D + lanes - 1) / lanes * lanes;
  const int64_t Cp = Width::C ? Width::C : n.Cp, length = row.length;
  harmonics(row, s.direction);
  locate(row);
  const Spline* const* const tables = tables_of(row, i, s.pairs->density);
  const T* const harmonics = w.harmonics.data();
  T *const by_distance = w.by_distance.data(), *const by_harmonics = w.by_harmonics.data();
  T by[Dw * lanes] __attribute__((aligned(PAD_BYTES)));
  for (int m = D; m < Dw; m++) store(by + m * lanes, vec<T>{});
  for (int64_t e = 0; e < row.n; e++) {
    const Between at = between(e);
    const float* const table = at.row(*tables[e], 0);
    const T* const Y = harmonics + e;
    vec<T> distance_gradient = vec<T>{};
    // One degree after another, so that the sums over channels of Y's gradient stay in registers.
#pragma GCC unroll 5
    for (int l = 0; l <= L; l++) {
      vec<T> total[2 * L + 1];
#pragma GCC unroll 11
      for (int k = 0; k <= 2 * l; k++) total[k] = vec<T>{};
#pragma GCC unroll 2
      for (int64_t c = 0; c < Cp; c += lanes) {
        vec<T> f, df, sum = vec<T>{};
        at.both(table, l * Cp + c, f, df);
#pragma GCC unroll 11
        for (int k = 0; k <= 2 * l; k++) {
          const vec<T> g = load(by_density + (l * l + k) * Cp + c);
          total[k] += f * g;
          sum += splat(Y[(l * l + k) * length]) * g;
        }
        distance_gradient += sum * df;
      }
#pragma GCC unroll 11
      for (int k = 0; k <= 2 * l; k++) store(by + (l * l + k) * lanes, total[k]);
    }
    store(by_distance + e * lanes, distance_gradient);
#pragma GCC unroll 4
    for (int m = 0; m < D; m += lanes) store(by_harmonics + e * n.Dp + m, sums(by + m * lanes));
  }
  lengths(row);
}
