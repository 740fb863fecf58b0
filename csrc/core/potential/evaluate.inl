// The stages of an evaluation for one atom after another. Included once per instruction set.
//
// Every derivative is dE/d(what is named): by_x. MATHS.md section 7 has the scheme; names are those of nn/density.py.

// The row of edges that arrive at an atom, or leave it: n of them, `length` with its padding, from `first` on.
struct Row {
  int64_t first, n, length;
};

// An edge between two knots of splines that have the same: `weights` (10, length) are those of the rise, of both first and
// both second derivatives, in values and in derivatives.
struct Between {
  static constexpr int chunk = PAD_BYTES / sizeof(float), rows = SPLINE_ROWS;
  int64_t knot;
  vec<float> w[5], dw[5];

  INLINE Between(int64_t knot, const float* weights, int64_t length) : knot(knot) {
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) w[k] = splat(weights[k * length]), dw[k] = splat(weights[(k + 5) * length]);
  }

  // The row of the knot, from function v of a chunk's start on.
  INLINE const float* row(const Spline& spline, int64_t v) const { return spline.data.data() + (knot * spline.width + v) * rows; }

  // Functions v, v + 1, ... of a row, as many as a register holds.
  INLINE vec<float> value(const float* row, int64_t stride, int64_t v) const {
    const float *at = row + v / chunk * rows * chunk + v % chunk, *next = at + stride;
    return load(at) + load(at + chunk) * w[0] + load(at + 2 * chunk) * w[1] + load(next + 2 * chunk) * w[2] + load(at + 3 * chunk) * w[3] + load(next + 3 * chunk) * w[4];
  }
  INLINE void both(const float* row, int64_t stride, int64_t v, vec<float>& value, vec<float>& derivative) const {
    const float *at = row + v / chunk * rows * chunk + v % chunk, *next = at + stride;
    const vec<float> part[5] = {load(at + chunk), load(at + 2 * chunk), load(next + 2 * chunk), load(at + 3 * chunk), load(next + 3 * chunk)};
    value = load(at), derivative = part[0] * dw[0];
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) {
      value += part[k] * w[k];
      if (k) derivative += part[k] * dw[k];
    }
  }
};

template <class T>
class Engine {
 public:
  Engine(System<T>& system, int thread) : s(system), n(*system.network), w(system.scratch[thread]), thread_(thread) {}

  void arrive(int64_t i) const;
  void leave(int64_t j) const;
  void forward(int r, int64_t i) const;
  void read(int q, int64_t j) const;
  void last(int64_t i) const;
  void unread(int q, int64_t j) const;
  void backward(int r, int64_t i) const;
  void forces(int64_t j) const;

  // Rounds of two with splines of pairs: see paired.inl.
  template <int L>
  void paired_forward(int64_t i) const;
  void paired_last(int64_t i) const;
  template <int L>
  void paired_backward(int64_t i) const;

 private:
  System<T>& s;
  const Network<T>& n;
  Scratch<T>& w;
  int thread_;

  Row arriving(int64_t i) const { return {s.row[i], s.count[i], whole<T>(s.count[i])}; }
  Row departing(int64_t j) const { return {s.leaving_row[j], s.leaving_count[j], whole<T>(s.leaving_count[j])}; }

  void harmonics(const Row& row, const Aligned<T>* direction) const;
  template <int degree>
  void harmonics_of(const Row& row, const Aligned<T>* direction) const;
  template <int degree>
  void direction_gradient_of(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance, T* out) const;
  void radial(const Segment& segment, const Row& row, T* values, T* gradients) const;
  void bessel(const Row& row) const;
  void locate(const Row& row) const;
  INLINE Between between(const Row& row, int64_t e) const { return Between(w.knot[e], w.weights.data() + e, row.length); }
  void embed(const Row& row, int species) const;
  void activate(int q, const Row& row, int64_t i, bool first) const;
  void state(int r, const Row& row, int64_t i, bool forward) const;
  void carry(int r, const Row& row) const;
  void gather(const Row& row) const;
  void density_gradient(int r, const Row& row) const;
  void update_gradient(int q, const Row& row, int64_t i) const;
  void direction_gradient(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance, T* out) const;
  void shape(int r, int64_t i) const;
  void unshape(int r, int64_t i) const;
  void head(int64_t i) const;
  void collect(const Row& row, int64_t i) const;
  void finish(const Row& row) const;
  void lengths(const Row& row) const;
  void coordination(const Row& row, int64_t i) const;
  void repulsion(const Row& row, int64_t i) const;
  void paired_activate(const Row& row, int64_t i, const Spline* const* tables) const;
  const Spline* const* tables_of(const Row& row, int64_t i, const std::vector<Spline>& tables) const;
  template <int from, int to>
  void sum_degrees(const Row& row, const Spline* const* tables, int64_t c, T* out) const;
  void by_degree(const T* in, int64_t width_in, const T* matrices, T* out, int64_t width_out) const;
  void begin(const Row& row, int64_t i) const;
};

// ------------------------------------------------------------------------------------------------------- geometry

template <class T>
void Engine<T>::arrive(int64_t i) const {
  const double *at = s.pos + 3 * i, reach = n.cutoff * n.cutoff;
  const int64_t first = s.row[i];
  int64_t slot = first;
  T *const x = s.direction[0].data(), *const y = s.direction[1].data(), *const z = s.direction[2].data();
  const double *const pos = s.pos, *const shift = s.shift;
  const int32_t *const sender = s.sender.data(), *const species = s.species.data();
  int32_t *const from = s.from.data(), *const slot_of = s.slot_of.data();
  const bool takes_part = species[i] >= 0;
  double closest = reach;
  for (int64_t e = s.start[i], end = s.start[i + 1]; e < end; e++) {
    const int32_t j = sender[e];
    const double* other = pos + 3 * int64_t(j);
    double dx = at[0] - other[0], dy = at[1] - other[1], dz = at[2] - other[2];
    if (shift) dx += shift[3 * e], dy += shift[3 * e + 1], dz += shift[3 * e + 2];
    const double square = dx * dx + dy * dy + dz * dz;
    const bool near = (square < reach) & (species[j] >= 0) & takes_part;
    closest = near && square < closest ? square : closest;
    x[slot] = static_cast<T>(dx), y[slot] = static_cast<T>(dy), z[slot] = static_cast<T>(dz);
    from[slot] = j;
    slot_of[e] = near ? static_cast<int32_t>(slot) : -1;
    slot += near;
  }
  if (closest < 1e-8) s.coincident[thread_] = i;
  s.count[i] = static_cast<int32_t>(slot - first);
  const Row row = arriving(i);
  for (; slot < first + row.length; slot++) x[slot] = static_cast<T>(n.cutoff), y[slot] = z[slot] = 0, s.from[slot] = static_cast<int32_t>(i);
  T* const d = s.distance.data();
  for (slot = first; slot < first + row.length; slot++) {
    d[slot] = std::sqrt(x[slot] * x[slot] + y[slot] * y[slot] + z[slot] * z[slot]);
    const T inverse = 1 / d[slot];
    x[slot] *= inverse, y[slot] *= inverse, z[slot] *= inverse;
  }
  for (slot = first; slot < first + row.length; slot += W<T>)
    store_fours(s.edge.data() + 4 * slot, load(x + slot), load(y + slot), load(z + slot), load(d + slot));
  for (slot = 4 * first; slot < 4 * (first + row.length); slot += W<T>) store(s.gradient.data() + slot, vec<T>{});
  s.energies[i] = s.species[i] < 0 ? 0.0 : n.e0s[s.species[i]];
  for (int k = 0; k < 6; k++) s.virials[6 * i + k] = 0;
  if (n.shift != 0 && row.n) coordination(row, i);
  if (n.zbl) repulsion(row, i);
}

// shift (1 - exp(-sum_j u(d_j / c))): what is taken away from atoms without neighbours.
template <class T>
void Engine<T>::coordination(const Row& row, int64_t i) const {
  double total = 0;
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const double x = s.distance[e] / n.cutoff, x3 = x * x * x;
    if (x < 1) total += 1 + x3 * x3 * (-28 + x * (48 - 21 * x));
  }
  s.energies[i] -= n.shift * std::expm1(-total);
  const double factor = n.shift * std::exp(-total) * -168 / n.cutoff;
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const double x = s.distance[e] / n.cutoff, rest = 1 - x;
    if (x >= 1) continue;
    const double by_distance = factor * x * x * x * x * x * rest * rest;
    for (int a = 0; a < 3; a++) s.gradient[4 * e + a] += static_cast<T>(by_distance * s.direction[a][e]);
  }
}

template <class T>
void Engine<T>::repulsion(const Row& row, int64_t i) const {
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    double energy, by_distance;
    zbl_pair(n.z[s.species[s.from[e]]], n.z[s.species[i]], s.distance[e], n.cutoff, energy, by_distance);
    s.energies[i] += energy;
    for (int a = 0; a < 3; a++) s.gradient[4 * e + a] += static_cast<T>(by_distance * s.direction[a][e]);
  }
}

template <class T>
void Engine<T>::leave(int64_t j) const {
  const int64_t first = s.leaving_row[j];
  int64_t place = first;
  T *const x = s.leaving_direction[0].data(), *const y = s.leaving_direction[1].data(), *const z = s.leaving_direction[2].data();
  T *const inverse = s.leaving_inverse.data(), *const edges = s.edge.data();
  const int32_t *const slot_of = s.slot_of.data(), *const leaving = s.leaving.data();
  int32_t *const slot_at = s.slot.data(), *const place_of = s.place.data();
  for (int64_t k = s.leaving_start[j], end = s.leaving_start[j + 1]; k < end; k++) {
    const int32_t slot = slot_of[leaving[k]];
    if (slot < 0) continue;
    const four<T> edge = four_at(edges, slot);
    x[place] = edge[0], y[place] = edge[1], z[place] = edge[2], inverse[place] = edge[3];
    slot_at[place] = slot;
    place_of[slot] = static_cast<int32_t>(place);
    place++;
  }
  s.leaving_count[j] = static_cast<int32_t>(place - first);
  const Row row = departing(j);
  for (; place < first + row.length; place++) x[place] = 1, y[place] = z[place] = 0, inverse[place] = 1;
  for (place = first; place < first + row.length; place += W<T>) store(inverse + place, T(1) / load(inverse + place));
  for (place = 4 * first; place < 4 * (first + row.length); place += W<T>) store(s.leaving_gradient.data() + place, vec<T>{});
}

// Y (D, length): q_lm(y) times the real or imaginary part of (z + i x)^m. Unrolled for a degree, or (-1) for any.
template <class T>
template <int degree>
void Engine<T>::harmonics_of(const Row& row, const Aligned<T>* direction) const {
  const int L = degree < 0 ? n.L : degree;
  T* Y = w.harmonics.data();
  for (int64_t e = 0; e < row.length; e += W<T>) {
    const vec<T> x = load(direction[0].data() + row.first + e), y = load(direction[1].data() + row.first + e), z = load(direction[2].data() + row.first + e);
    vec<T> real = splat(T(1)), imaginary = vec<T>{};
#pragma GCC unroll 5
    for (int m = 0; m <= L; m++) {
      vec<T> before = vec<T>{}, q = splat(static_cast<T>(n.diagonal[m]));
#pragma GCC unroll 5
      for (int l = m; l <= L; l++) {
        store(Y + (l * l + l + m) * row.length + e, q * real);
        if (m) store(Y + (l * l + l - m) * row.length + e, q * imaginary);
        if (l == L) break;
        const vec<T> next = static_cast<T>(n.alpha[(l + 1) * (L + 1) + m]) * y * q - static_cast<T>(n.beta[(l + 1) * (L + 1) + m]) * before;
        before = q, q = next;
      }
      const vec<T> turned = z * real - x * imaginary;
      imaginary = z * imaginary + x * real;
      real = turned;
    }
  }
}

template <class T>
void Engine<T>::harmonics(const Row& row, const Aligned<T>* direction) const {
  switch (n.L) {
    case 1: return harmonics_of<1>(row, direction);
    case 2: return harmonics_of<2>(row, direction);
    case 3: return harmonics_of<3>(row, direction);
    case 4: return harmonics_of<4>(row, direction);
    default: return harmonics_of<-1>(row, direction);
  }
}

template <class T>
void Engine<T>::direction_gradient(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance, T* out) const {
  switch (n.L) {
    case 1: return direction_gradient_of<1>(row, direction, inverse, by_distance, out);
    case 2: return direction_gradient_of<2>(row, direction, inverse, by_distance, out);
    case 3: return direction_gradient_of<3>(row, direction, inverse, by_distance, out);
    case 4: return direction_gradient_of<4>(row, direction, inverse, by_distance, out);
    default: return direction_gradient_of<-1>(row, direction, inverse, by_distance, out);
  }
}

// Adds to `out` the gradient by the edges' vectors, given that by Y (by_harmonics (length, Dp)) and by the length.
template <class T>
template <int degree>
void Engine<T>::direction_gradient_of(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance, T* out) const {
  const int L = degree < 0 ? n.L : degree;
  turn<T>(row.length, n.Dp, w.by_harmonics.data(), n.Dp, w.turned.data(), row.length);
  const T* g = w.turned.data();
  for (int64_t e = 0; e < row.length; e += W<T>) {
    const vec<T> x = load(direction[0].data() + row.first + e), y = load(direction[1].data() + row.first + e), z = load(direction[2].data() + row.first + e);
    vec<T> gx = vec<T>{}, gy = vec<T>{}, gz = vec<T>{}, real = splat(T(1)), imaginary = vec<T>{}, real_below = vec<T>{}, imaginary_below = vec<T>{};
#pragma GCC unroll 5
    for (int m = 0; m <= L; m++) {
      vec<T> before = vec<T>{}, q = splat(static_cast<T>(n.diagonal[m])), dbefore = vec<T>{}, dq = vec<T>{}, by_real = vec<T>{}, by_imaginary = vec<T>{};
#pragma GCC unroll 5
      for (int l = m; l <= L; l++) {
        const vec<T> a = load(g + (l * l + l + m) * row.length + e);
        by_real += q * a;
        gy += dq * a * real;
        if (m) {
          const vec<T> b = load(g + (l * l + l - m) * row.length + e);
          by_imaginary += q * b;
          gy += dq * b * imaginary;
        }
        if (l == L) break;
        const T alpha = static_cast<T>(n.alpha[(l + 1) * (L + 1) + m]), beta = static_cast<T>(n.beta[(l + 1) * (L + 1) + m]);
        const vec<T> next = alpha * y * q - beta * before, dnext = alpha * (q + y * dq) - beta * dbefore;
        before = q, q = next, dbefore = dq, dq = dnext;
      }
      if (m) {  // d(z + i x)^m = m (z + i x)^(m-1) (dz + i dx)
        gz += T(m) * (by_real * real_below + by_imaginary * imaginary_below);
        gx += T(m) * (by_imaginary * real_below - by_real * imaginary_below);
      }
      real_below = real, imaginary_below = imaginary;
      const vec<T> turned = z * real - x * imaginary;
      imaginary = z * imaginary + x * real;
      real = turned;
    }
    const vec<T> along = x * gx + y * gy + z * gz, scale = load(inverse + e), by_length = by_distance ? load(by_distance + e) : vec<T>{};
    T fours[4 * W<T>] __attribute__((aligned(PAD_BYTES)));
    store_fours(fours, (gx - along * x) * scale + by_length * x, (gy - along * y) * scale + by_length * y, (gz - along * z) * scale + by_length * z, vec<T>{});
    for (int k = 0; k < 4 * W<T>; k += W<T>) store(out + 4 * e + k, load(out + 4 * e + k) + load(fours + k));
  }
}

// ------------------------------------------------------------------------------------------------ radial functions

// b_n(d), u(d) b_n(d) and their derivatives: basis (4, R, length).
template <class T>
void Engine<T>::bessel(const Row& row) const {
  const T angle = static_cast<T>(M_PI / n.cutoff), norm = static_cast<T>(std::sqrt(2 / n.cutoff)), c = static_cast<T>(n.cutoff);
  const int64_t stride = n.R * row.length;
  T sine[W<T>], cosine[W<T>];
  for (int64_t e = 0; e < row.length; e += W<T>) {
    const vec<T> d = load(s.distance.data() + row.first + e), x = d / c, rest = T(1) - x, x2 = x * x, x5 = x2 * x2 * x;
    const vec<T> u = x < T(1) ? T(1) + x5 * x * (T(-28) + x * (T(48) - T(21) * x)) : vec<T>{};
    const vec<T> du = x < T(1) ? T(-168) * x5 * rest * rest / c : vec<T>{};
    for (int k = 0; k < W<T>; k++) sine[k] = std::sin(angle * d[k]), cosine[k] = std::cos(angle * d[k]);
    vec<T> sin_n, cos_n, sin_1, cos_1;
    for (int k = 0; k < W<T>; k++) sin_1[k] = sine[k], cos_1[k] = cosine[k];
    sin_n = sin_1, cos_n = cos_1;
    T* out = w.basis.data() + e;
    for (int i = 0; i < n.R; i++, out += row.length) {
      const vec<T> b = norm * sin_n / d, db = (norm * (T(i + 1) * angle) * cos_n - b) / d;
      store(out, b), store(out + stride, db);
      store(out + 2 * stride, u * b), store(out + 3 * stride, u * db + du * b);
      const vec<T> next = sin_n * cos_1 + cos_n * sin_1;
      cos_n = cos_n * cos_1 - sin_n * sin_1;
      sin_n = next;
    }
  }
}

// Where the row's distances lie among the knots of the splines.
template <class T>
void Engine<T>::locate(const Row& row) const {
  const float scale = static_cast<float>(n.spline.knots / n.cutoff);
  const int32_t most = n.spline.knots - 1;
  const T* const distance = s.distance.data() + row.first;
  float* const weights = w.weights.data();
  int32_t* const knot = w.knot.data();
#pragma GCC ivdep
  for (int64_t e = 0; e < row.length; e++) {
    const float at = static_cast<float>(distance[e]) * scale;
    const int32_t whole_part = static_cast<int32_t>(at), k = whole_part < most ? whole_part : most;
    const float t = at - static_cast<float>(k), t2 = t * t, t3 = t2 * t, r = 1 - t, r2 = r * r;
    float* to = weights + e;
    knot[e] = k;
    to[0] = t3 * (10 - t * (15 - 6 * t));
    to[row.length] = t - t3 * (6 - t * (8 - 3 * t));
    to[2 * row.length] = -t3 * (4 - t * (7 - 3 * t));
    to[3 * row.length] = 0.5f * t2 * r2 * r;
    to[4 * row.length] = 0.5f * t3 * r2;
    to[5 * row.length] = scale * (30 * t2 * r2);
    to[6 * row.length] = scale * (1 - t2 * (18 - t * (32 - 15 * t)));
    to[7 * row.length] = -scale * t2 * (12 - t * (28 - 15 * t));
    to[8 * row.length] = scale * t * r2 * (1 - 2.5f * t);
    to[9 * row.length] = scale * t2 * r * (1.5f - 2.5f * t);
  }
}

// Values and derivatives (n, width) of a segment's functions at the row's distances.
template <class T>
void Engine<T>::radial(const Segment& segment, const Row& row, T* values, T* gradients) const {
  const int64_t width = segment.width;
  if constexpr (std::is_same<T, double>::value) {
    const T *matrix = n.radial.data() + segment.offset, *basis = w.basis.data() + (segment.enveloped ? 2 * n.R * row.length : 0);
    multiply<T>(row.n, width, n.R, basis, 1, row.length, matrix, n.radial_width, values, width);
    multiply<T>(row.n, width, n.R, basis + n.R * row.length, 1, row.length, matrix, n.radial_width, gradients, width);
  } else {
    const int64_t stride = SPLINE_ROWS * n.spline.width;
    for (int64_t e = 0; e < row.n; e++) {
      const Between at = between(row, e);
      const float* from = at.row(n.spline, segment.offset);
      for (int64_t v = 0; v < width; v += W<T>) {
        vec<T> value, derivative;
        at.both(from, stride, v, value, derivative);
        store(values + e * width + v, value), store(gradients + e * width + v, derivative);
      }
    }
  }
}

// -------------------------------------------------------------------------------------------------------- messages

// The state's first block, x0 = silu(U b(d) + s + t + bias), and its derivative by the distance.
template <class T>
void Engine<T>::embed(const Row& row, int species) const {
  radial(n.embedding, row, w.hidden.data(), w.x_gradient.data());
  const int64_t cp = n.cp, wide = n.layers * cp;
  for (int64_t e = 0; e < row.n; e++) {
    const T* constant = n.pair.data() + (int64_t(s.species[s.from[row.first + e]]) * n.elements + species) * cp;
    for (int64_t c = 0; c < cp; c += W<T>) {
      const vec<T> h = load(w.hidden.data() + e * cp + c) + load(constant + c), p = sigmoid<T>(h);
      store(w.state.data() + e * wide + c, h * p);
      T* gradient = w.x_gradient.data() + e * cp + c;
      store(gradient, load(gradient) * (p * (T(1) + h * (T(1) - p))));
    }
  }
}

// The state's block q + 1, silu(h) of update q, and silu'(h): for the first time from what is read, later from h.
template <class T>
void Engine<T>::activate(int q, const Row& row, int64_t i, bool first) const {
  const UpdateMatrices<T>& update = n.updates[q];
  const int64_t cp = n.cp, wide = n.layers * cp;
  const bool kept = n.layers > 2;
  T* hidden = kept ? s.hidden[q].data() + row.first * cp : w.hidden.data();
  if (first) {
    multiply<T>(row.n, cp, (q + 1) * cp, w.state.data(), wide, 1, update.message.data(), cp, hidden, cp);
    radial(update.radial, row, w.read.data(), w.read_gradient.data());
    const T* scalars = s.scalars[q].data() + i * cp;
    for (int64_t e = 0; e < row.n; e++) {
      const T* read = s.read[q].data() + int64_t(s.place[row.first + e]) * cp;
      for (int64_t c = 0; c < cp; c += W<T>)
        store(hidden + e * cp + c, load(hidden + e * cp + c) + load(w.read.data() + e * cp + c) * load(read + c) + load(scalars + c));
    }
  }
  for (int64_t e = 0; e < row.n; e++)
    for (int64_t c = 0; c < cp; c += W<T>) {
      const vec<T> h = load(hidden + e * cp + c), p = sigmoid<T>(h);
      store(w.state.data() + e * wide + (q + 1) * cp + c, h * p);
      store(w.silu_gradient.data() + e * cp + c, p * (T(1) + h * (T(1) - p)));
    }
}

// The state before density r, harmonics included.
template <class T>
void Engine<T>::state(int r, const Row& row, int64_t i, bool forward) const {
  harmonics(row, s.direction);
  if (std::is_same<T, double>::value)
    bessel(row);
  else
    locate(row);
  embed(row, s.species[i]);
  for (int q = 0; q < r; q++) activate(q, row, i, forward && q == r - 1);
  if (!forward && r > 0) radial(n.updates[r - 1].radial, row, w.read.data(), w.read_gradient.data());
}

// Messages (n, G), and their product with the radial functions.
template <class T>
void Engine<T>::carry(int r, const Row& row) const {
  const DensityMatrices<T>& density = n.densities[r];
  const int64_t cp = n.cp, Gp = n.Gp;
  multiply<T>(row.n, Gp, (r + 1) * cp, w.state.data(), n.layers * cp, 1, density.message.data(), Gp, w.message.data(), Gp);
  radial(density.radial, row, w.radial.data(), w.radial_gradient.data());
  for (int64_t k = 0; k < row.n * Gp; k += W<T>) store(w.product.data() + k, load(w.message.data() + k) * load(w.radial.data() + k));
}

// The sum with Y over the row: gathered (D, G).
template <class T>
void Engine<T>::gather(const Row& row) const {
  const int64_t Gp = n.Gp;
  multiply<T>(n.D, Gp, row.n, w.harmonics.data(), row.length, 1, w.product.data(), Gp, w.gathered.data(), Gp);
}

template <class T>
void Engine<T>::by_degree(const T* in, int64_t width_in, const T* matrices, T* out, int64_t width_out) const {
  for (int l = 0; l <= n.L; l++)
    multiply<T>(2 * l + 1, width_out, width_in, in + l * l * width_in, width_in, 1, matrices + l * width_in * width_out, width_out, out + l * l * width_out, width_out);
}

// By Y, by the distance (a register each) and by the state, from by_density.
template <class T>
void Engine<T>::density_gradient(int r, const Row& row) const {
  const DensityMatrices<T>& density = n.densities[r];
  const int64_t cp = n.cp, Gp = n.Gp, wide = n.layers * cp;
  by_degree(w.by_density.data(), n.Cp, density.mix_t.data(), w.by_gathered.data(), Gp);
  multiply<T>(row.n, Gp, n.D, w.harmonics.data(), 1, row.length, w.by_gathered.data(), Gp, w.by_product.data(), Gp);
  turn<T>(n.Dp, Gp, w.by_gathered.data(), Gp, w.by_gathered_t.data(), n.Dp);
  multiply<T>(row.n, n.Dp, Gp, w.product.data(), Gp, 1, w.by_gathered_t.data(), n.Dp, w.by_harmonics.data(), n.Dp);
  for (int64_t e = 0; e < row.n; e++) {
    vec<T> along = vec<T>{};
    for (int64_t g = e * Gp; g < (e + 1) * Gp; g += W<T>) {
      const vec<T> by_product = load(w.by_product.data() + g);
      along += by_product * load(w.message.data() + g) * load(w.radial_gradient.data() + g);
      store(w.by_product.data() + g, by_product * load(w.radial.data() + g));
    }
    store(w.by_distance.data() + e * W<T>, along);
  }
  multiply<T>(row.n, (r + 1) * cp, Gp, w.by_product.data(), Gp, 1, density.message_t.data(), (r + 1) * cp, w.by_state.data(), wide);
}

// Through update q, whose activation is the state's last block: by what was read (in its place), by the scalars, by the
// distance and by the blocks before, whose part is kept for the round that made them.
template <class T>
void Engine<T>::update_gradient(int q, const Row& row, int64_t i) const {
  const UpdateMatrices<T>& update = n.updates[q];
  const int64_t cp = n.cp, wide = n.layers * cp;
  const bool kept = q < n.layers - 2;  // rounds after the next have used the activation too
  T* by_scalars = s.by_scalars[q].data() + i * cp;
  for (int64_t c = 0; c < cp; c += W<T>) {
    vec<T> total = vec<T>{};
    for (int64_t e = 0; e < row.n; e++) {
      vec<T> by = load(w.by_state.data() + e * wide + (q + 1) * cp + c);
      if (kept) by += load(s.by_activation[q].data() + (row.first + e) * cp + c);
      by *= load(w.silu_gradient.data() + e * cp + c);
      total += by;
      T *read = s.read[q].data() + int64_t(s.place[row.first + e]) * cp + c, *along = w.by_distance.data() + e * W<T>;
      store(along, load(along) + by * load(read) * load(w.read_gradient.data() + e * cp + c));
      store(read, by * load(w.read.data() + e * cp + c));
      store(w.hidden.data() + e * cp + c, by);
    }
    store(by_scalars + c, total);
  }
  multiply<T>(row.n, (q + 1) * cp, cp, w.hidden.data(), cp, 1, update.message_t.data(), (q + 1) * cp, w.by_state.data(), wide, true);
  const bool newest = q == n.layers - 2;
  for (int p = 0; p < q; p++)
    for (int64_t e = 0; e < row.n; e++)
      for (int64_t c = 0; c < cp; c += W<T>) {
        T* to = s.by_activation[p].data() + (row.first + e) * cp + c;
        const vec<T> by = load(w.by_state.data() + e * wide + (p + 1) * cp + c);
        store(to, newest ? by : load(to) + by);
      }
}

// The rest of the way to the edges' vectors.
template <class T>
void Engine<T>::finish(const Row& row) const {
  const int64_t cp = n.cp, wide = n.layers * cp;
  for (int64_t e = 0; e < row.n; e++) {
    T* to = w.by_distance.data() + e * W<T>;
    vec<T> along = load(to);
    for (int64_t c = 0; c < cp; c += W<T>) along += load(w.by_state.data() + e * wide + c) * load(w.x_gradient.data() + e * cp + c);
    store(to, along);
  }
  lengths(row);
}

// From the gradients by Y and by the distance (a register each) to those by the vectors.
template <class T>
void Engine<T>::lengths(const Row& row) const {
  T *by_distance = w.small.data(), *inverse = by_distance + row.length;
  for (int64_t e = 0; e < row.length; e += W<T>) {
    store(by_distance + e, sums(w.by_distance.data() + e * W<T>));
    store(inverse + e, T(1) / load(s.distance.data() + row.first + e));
  }
  direction_gradient(row, s.direction, inverse, by_distance, s.gradient.data() + 4 * row.first);
}

// ---------------------------------------------------------------------------------------------------------- stages

template <class T>
void Engine<T>::forward(int r, int64_t i) const {
  if (s.species[i] < 0) return;
  const Row row = arriving(i);
  T* density = s.density[r].data() + i * n.D * n.Cp;
  state(r, row, i, true);
  carry(r, row);
  gather(row);
  by_degree(w.gathered.data(), n.Gp, n.densities[r].mix.data(), density, n.Cp);
  shape(r, i);
}

// From the density of a round: its energy, and what edges read of it.
template <class T>
void Engine<T>::shape(int r, int64_t i) const {
  const UpdateMatrices<T>& update = n.updates[r];
  const T* density = s.density[r].data() + i * n.D * n.Cp;
  product_features(n, n.products[r], s.species[i], density, w.powers.data(), w.features.data());
  double energy = 0;
  for (int c = 0; c < n.C; c++) energy += double(w.features[c]) * update.energy[c];
  s.energies[i] += energy;
  if (s.features)
    for (int c = 0; c < n.C; c++) s.features[i * n.layers * n.C + r * n.C + c] = w.features[c];
  T* scalars = s.scalars[r].data() + i * n.cp;
  multiply<T>(1, n.cp, n.Cp, w.features.data(), n.Cp, 1, update.scalars.data(), n.cp, scalars, n.cp);
  for (int c = 0; c < n.cp; c++) scalars[c] += update.bias[c];
  by_degree(w.features.data(), n.Cp, update.angular.data(), s.read_features[r].data() + i * n.D * n.cp, n.cp);
}

template <class T>
void Engine<T>::read(int q, int64_t j) const {
  const Row row = departing(j);
  if (!row.n) return;
  harmonics(row, s.leaving_direction);
  multiply<T>(row.n, n.cp, n.D, w.harmonics.data(), 1, row.length, s.read_features[q].data() + j * n.D * n.cp, n.cp, s.read[q].data() + row.first * n.cp, n.cp);
}

template <class T>
void Engine<T>::last(int64_t i) const {
  if (s.species[i] < 0) return;
  const Row row = arriving(i);
  const int r = n.layers - 1;
  state(r, row, i, true);
  carry(r, row);
  gather(row);
  by_degree(w.gathered.data(), n.Gp, n.densities[r].mix.data(), w.density.data(), n.Cp);
  head(i);
  density_gradient(r, row);
  if (r > 0) update_gradient(r - 1, row, i);
  finish(row);
  if (r == 0) collect(row, i);
}

// The last energy, from the density, and the gradient by it.
template <class T>
void Engine<T>::head(int64_t i) const {
  const int r = n.layers - 1;
  T *scalars = w.small.data(), *hidden = scalars + n.Cp;
  invariants(n, s.species[i], w.density.data(), w.powers.data(), scalars);
  if (s.features) {
    multiply<T>(1, n.Cp, n.Cp, scalars, n.Cp, 1, n.mix.data(), n.Cp, hidden, n.Cp);
    for (int c = 0; c < n.C; c++) s.features[i * n.layers * n.C + r * n.C + c] = hidden[c];
  }
  multiply<T>(1, n.Cp, n.Cp, scalars, n.Cp, 1, n.head.data(), n.Cp, hidden, n.Cp);
  double energy = 0;
  for (int c = 0; c < n.Cp; c += W<T>) {
    const vec<T> h = load(hidden + c), p = sigmoid<T>(h), out = load(n.head_out.data() + c), value = h * p * out;
    for (int k = 0; k < W<T>; k++) energy += value[k];
    store(hidden + c, out * (p * (T(1) + h * (T(1) - p))));
  }
  s.energies[i] += energy;
  multiply<T>(1, n.Cp, n.Cp, hidden, n.Cp, 1, n.head_t.data(), n.Cp, scalars, n.Cp);
  invariants_gradient(n, s.species[i], w.density.data(), scalars, w.powers.data(), w.by_powers.data(), w.by_density.data());
}

template <class T>
void Engine<T>::unread(int q, int64_t j) const {
  const Row row = departing(j);
  const int64_t cp = n.cp;
  T* by_features = s.by_read_features.data() + j * n.D * cp;
  if (!row.n) {
    for (int64_t k = 0; k < n.D * cp; k++) by_features[k] = 0;
    return;
  }
  harmonics(row, s.leaving_direction);
  const T* const next = s.read[q].data() + (row.first + whole<T>(s.leaving_row[j + 1] - s.leaving_row[j])) * cp;
  for (int64_t k = 0; k < row.n * cp; k += PAD_BYTES / sizeof(T)) __builtin_prefetch(next + k, 0, 2);
  const T *by_read = s.read[q].data() + row.first * cp, *features = s.read_features[q].data() + j * n.D * cp;
  multiply<T>(n.D, cp, row.n, w.harmonics.data(), row.length, 1, by_read, cp, by_features, cp);
  for (int64_t k = 0; k < n.D * cp; k++) w.by_gathered[k] = features[k];
  for (int64_t k = n.D * cp; k < n.Dp * cp; k++) w.by_gathered[k] = 0;
  turn<T>(n.Dp, cp, w.by_gathered.data(), cp, w.by_gathered_t.data(), n.Dp);
  multiply<T>(row.n, n.Dp, cp, by_read, cp, 1, w.by_gathered_t.data(), n.Dp, w.by_harmonics.data(), n.Dp);
  direction_gradient(row, s.leaving_direction, s.leaving_inverse.data() + row.first, nullptr, s.leaving_gradient.data() + 4 * row.first);
}

template <class T>
void Engine<T>::backward(int r, int64_t i) const {
  if (s.species[i] < 0) return;
  const Row row = arriving(i);
  unshape(r, i);
  state(r, row, i, false);
  carry(r, row);
  density_gradient(r, row);
  if (r > 0) update_gradient(r - 1, row, i);
  finish(row);
  if (r == 0) collect(row, i);
}

// The gradient by the density of a round.
template <class T>
void Engine<T>::unshape(int r, int64_t i) const {
  const UpdateMatrices<T>& update = n.updates[r];
  by_degree(s.by_read_features.data() + i * n.D * n.cp, n.cp, update.angular_t.data(), w.by_features.data(), n.Cp);
  multiply<T>(1, n.Cp, n.cp, s.by_scalars[r].data() + i * n.cp, n.cp, 1, update.scalars_t.data(), n.Cp, w.by_features.data(), n.Cp, true);
  for (int c = 0; c < n.Cp; c++) w.by_features[c] += update.energy[c];
  product_gradient(n, n.products[r], s.species[i], s.density[r].data() + i * n.D * n.Cp, w.by_features.data(), w.powers.data(), w.by_powers.data(), w.by_density.data());
}

// What arriving edges pull at an atom, and the virial: the last step of an atom's way back. Afterwards `gradient` is whole.
template <class T>
void Engine<T>::collect(const Row& row, int64_t i) const {
  typedef double four_doubles __attribute__((vector_size(4 * sizeof(double))));
  four_doubles force = {0, 0, 0, 0}, product[3] = {force, force, force};
  T *const gradients = s.gradient.data(), *const leaving = s.leaving_gradient.data(), *const edges = s.edge.data();
  const int32_t* const place = s.place.data();
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    four<T> gradient = four_at(gradients, e);
    if (n.layers > 1) {
      gradient += four_at(leaving, place[e]);
      four_at(gradients, e) = gradient;
    }
    const four_doubles g = __builtin_convertvector(gradient, four_doubles);
    force += g;
    const four<T> edge = four_at(edges, e), r = edge * edge[3];
    for (int a = 0; a < 3; a++) product[a] += double(r[a]) * g;
  }
  if (s.forces)
    for (int a = 0; a < 3; a++) s.forces[3 * i + a] -= force[a];
  const double virial[6] = {product[0][0], product[1][1], product[2][2], 0.5 * (product[0][1] + product[1][0]),
                            0.5 * (product[0][2] + product[2][0]), 0.5 * (product[1][2] + product[2][1])};
  for (int k = 0; k < 6; k++) {
    s.virials[6 * i + k] = -virial[k];
    if (s.atom_virials) s.atom_virials[6 * i + k] -= 0.5 * virial[k];
  }
}

// What leaving edges pull at an atom.
template <class T>
void Engine<T>::forces(int64_t j) const {
  typedef double four_doubles __attribute__((vector_size(4 * sizeof(double))));
  four_doubles force = {0, 0, 0, 0};
  const Row row = departing(j);
  for (int64_t p = row.first; p < row.first + row.n; p++) {
    const four_doubles g = __builtin_convertvector(four_at(s.gradient.data(), s.slot[p]), four_doubles);
    force += g;
    if (!s.atom_virials) continue;
    const four<T> edge = four_at(s.edge.data(), s.slot[p]);
    for (int a = 0; a < 3; a++) s.atom_virials[6 * j + a] -= 0.5 * edge[3] * edge[a] * g[a];
    s.atom_virials[6 * j + 3] -= 0.25 * edge[3] * (edge[0] * g[1] + edge[1] * g[0]);
    s.atom_virials[6 * j + 4] -= 0.25 * edge[3] * (edge[0] * g[2] + edge[2] * g[0]);
    s.atom_virials[6 * j + 5] -= 0.25 * edge[3] * (edge[1] * g[2] + edge[2] * g[1]);
  }
  if (s.forces)
    for (int a = 0; a < 3; a++) s.forces[3 * j + a] += force[a];
}
