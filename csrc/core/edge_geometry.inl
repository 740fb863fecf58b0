// Spherical harmonics of an edge's direction and Bessel functions of its length with and without their envelope, and
// the gradient of what is made of them, for a register of edges at a time, in double precision whatever the arrays
// are. Included once per instruction set.

EQUITENSOR_INLINE Block<double, 1> sine(const Block<double, 1>& x) {
  double all[Block<double, 1>::size];
  x.write(all, Block<double, 1>::size);
  for (double& a : all) a = std::sin(a);
  return Block<double, 1>::read(all, Block<double, 1>::size);
}

EQUITENSOR_INLINE Block<double, 1> root(const Block<double, 1>& x) {
  double all[Block<double, 1>::size];
  x.write(all, Block<double, 1>::size);
  for (double& a : all) a = std::sqrt(a);
  return Block<double, 1>::read(all, Block<double, 1>::size);
}

EQUITENSOR_INLINE Block<double, 1> constant(double value, Block<double, 1>*) {
  Block<double, 1> all;
  all.part[0] = splat(value);
  return all;
}

template <class N>
EQUITENSOR_INLINE Dual<N> constant(double value, Dual<N>*) {
  return {constant(value, static_cast<N*>(nullptr)), N::zero()};
}

template <class N>
EQUITENSOR_INLINE Dual<N> sine(const Dual<N>& x) {
  const N quarter = constant(1.57079632679489661923, static_cast<N*>(nullptr));
  return {sine(x.value), sine(x.value + quarter) * x.tangent};
}

template <class N>
EQUITENSOR_INLINE Dual<N> root(const Dual<N>& x) {
  const N value = root(x.value);
  return {value, 0.5 * (x.tangent / value)};
}

EQUITENSOR_INLINE Block<double, 1> below_one(const Block<double, 1>& x,
                                             const Block<double, 1>& y) {  // y where x < 1, else 0
  Block<double, 1> z;
  z.part[0] = x.part[0] < 1.0 ? y.part[0] : vec<double>{};
  return z;
}

template <class N>
EQUITENSOR_INLINE Dual<N> below_one(const Dual<N>& x, const Dual<N>& y) {
  return {below_one(x.value, y.value), below_one(x.value, y.tangent)};
}

// A register of edges: everything that the forward pass leaves for the gradient.
template <class N>
struct EdgePass {
  const EdgeGeometry& e;
  N *Y, *f, *u, *gY;  // (D,), (R,), one, (D,)
  N direction[3], length;

  EQUITENSOR_INLINE N number(double value) const { return constant(value, static_cast<N*>(nullptr)); }

  EQUITENSOR_INLINE void forward(const N* r) {
    length = root(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    for (int a = 0; a < 3; a++) direction[a] = r[a] / length;
    harmonics();
    // sin(n x) by its recurrence in n
    const N angle = (M_PI / e.cutoff) * length, twice = 2.0 * sine(angle + number(M_PI / 2));
    const N factor = number(std::sqrt(2 / e.cutoff)) / length;
    N before = N::zero(), now = sine(angle);
    for (int64_t n = 0; n < e.num_radial; n++) {
      f[n] = factor * now;
      const N next = twice * now - before;
      before = now;
      now = next;
    }
    *u = envelope();
  }

  EQUITENSOR_INLINE void harmonics() {
    Y[0] = number(1);
    for (int64_t k = 1; k < e.components; k++) Y[k] = N::zero();
    for (const Raising& t : e.raising) Y[t.out] += t.coefficient * (Y[t.in] * direction[t.axis]);
  }

  // u(x) = 1 - 28 x^6 + 48 x^7 - 21 x^8 for x < 1, and its derivative -168 x^5 (1 - x)^2
  EQUITENSOR_INLINE N envelope() const {
    const N x = (1 / e.cutoff) * length, x2 = x * x, x6 = x2 * x2 * x2;
    return below_one(x, number(1) + x6 * (number(-28) + x * (number(48) + -21.0 * x)));
  }
  EQUITENSOR_INLINE N envelope_derivative() const {
    const N x = (1 / e.cutoff) * length, x2 = x * x, rest = number(1) - x;
    return (-168 / e.cutoff) * below_one(x, x2 * x2 * x * rest * rest);
  }

  // The gradient in r of gY . Y + gf . f + gr . (u f).
  EQUITENSOR_INLINE void reverse(const N* gf, const N* gr, N* dr) {
    N by_direction[3] = {N::zero(), N::zero(), N::zero()};
    for (auto t = e.raising.rbegin(); t != e.raising.rend(); ++t) {
      by_direction[t->axis] += t->coefficient * (gY[t->out] * Y[t->in]);
      gY[t->in] += t->coefficient * (gY[t->out] * direction[t->axis]);
    }
    // f_n = s sin(n x) / d: f_n' = (s n pi / c cos(n x) - f_n) / d
    const N angle = (M_PI / e.cutoff) * length, cosine = sine(angle + number(M_PI / 2)), twice = 2.0 * cosine;
    N before = number(1), now = cosine, by_length = N::zero(), by_envelope = N::zero();
    for (int64_t n = 0; n < e.num_radial; n++) {
      const N derivative = ((std::sqrt(2 / e.cutoff) * (n + 1) * M_PI / e.cutoff) * now - f[n]) / length;
      by_length += (gf[n] + *u * gr[n]) * derivative;
      by_envelope += gr[n] * f[n];
      const N next = twice * now - before;
      before = now;
      now = next;
    }
    by_length += by_envelope * envelope_derivative();
    const N radial_part =
        by_direction[0] * direction[0] + by_direction[1] * direction[1] + by_direction[2] * direction[2];
    for (int a = 0; a < 3; a++)
      dr[a] = (by_direction[a] - radial_part * direction[a]) / length + by_length * direction[a];
  }
};

// `width` columns of `count` rows of an array as registers over the rows, and back.
template <class T>
EQUITENSOR_INLINE void columns(const T* rows, int64_t count, int64_t width, Block<double, 1>* out) {
  constexpr int W = Block<double, 1>::size;
  for (int64_t k = 0; k < width; k++) {
    double lane[W];
    for (int64_t i = 0; i < W; i++) lane[i] = rows ? rows[std::min(i, count - 1) * width + k] : 0.0;
    out[k] = Block<double, 1>::read(lane, W);
  }
}

template <class T>
EQUITENSOR_INLINE void columns(const T* rows, int64_t count, int64_t width, Dual<Block<double, 1>>* out) {
  std::vector<Block<double, 1>> values(width);
  columns(rows, count, width, values.data());
  for (int64_t k = 0; k < width; k++) out[k] = {values[k], Block<double, 1>::zero()};
}

template <class T, class N>
EQUITENSOR_INLINE void rows_of(const N* in, int64_t count, int64_t width, T* rows) {
  constexpr int W = Block<double, 1>::size;
  for (int64_t k = 0; rows && k < width; k++) {
    double lane[W];
    result(in[k]).write(lane, W);
    for (int64_t i = 0; i < count; i++) rows[i * width + k] = static_cast<T>(lane[i]);
  }
}

template <class N, class T>
void geometry_pass(const EdgeGeometry& e, int64_t first, int64_t last, const GeometryArrays<T>& at) {
  constexpr int W = Block<double, 1>::size;
  const int64_t D = e.components, R = e.num_radial;
  std::vector<N> memory(2 * D + 4 * R + 7);
  N *Y = memory.data(), *gY = Y + D, *f = gY + D, *r = f + R, *gf = r + R, *gr = gf + R, *u = gr + R;
  N *vector = u + 1, *dr = vector + 3;
  EdgePass<N> pass{e, Y, f, u, gY, {}, {}};
  auto row = [](auto* p, int64_t i, int64_t width) { return p ? p + i * width : p; };
  for (int64_t i = first; i < last; i += W) {
    const int64_t count = std::min<int64_t>(W, last - i);
    columns(row(at.vectors, i, 3), count, 3, vector);
    if constexpr (!std::is_same_v<N, Block<double, 1>>) {
      Block<double, 1> tangent[3];
      columns(row(at.tangent, i, 3), count, 3, tangent);
      for (int a = 0; a < 3; a++) vector[a].tangent = tangent[a];
    }
    pass.forward(vector);
    for (int64_t n = 0; at.radial && n < R; n++) r[n] = *u * f[n];
    rows_of(Y, count, D, row(at.harmonics, i, D));
    rows_of(f, count, R, row(at.functions, i, R));
    rows_of(r, count, R, row(at.radial, i, R));
    if (!at.dvectors) continue;
    columns(row(at.g_harmonics, i, D), count, D, gY);
    columns(row(at.g_functions, i, R), count, R, gf);
    columns(row(at.g_radial, i, R), count, R, gr);
    pass.reverse(gf, gr, dr);
    rows_of(dr, count, 3, row(at.dvectors, i, 3));
  }
}

template <class T>
void edge_geometry(const EdgeGeometry& e, int64_t first, int64_t last, const GeometryArrays<T>& at) {
  geometry_pass<Block<double, 1>, T>(e, first, last, at);
}

template <class T>
void edge_geometry_tangents(const EdgeGeometry& e, int64_t first, int64_t last, const GeometryArrays<T>& at) {
  geometry_pass<Dual<Block<double, 1>>, T>(e, first, last, at);
}
