// Radial functions, messages and their densities for the edges that arrive at an atom, and the way back. Included once
// per instruction set.

// b_n(d), u(d) b_n(d) and their derivatives: basis (4, R, length).
template <class T>
void Engine<T>::bessel(const Row& row) const {
  const T angle = static_cast<T>(M_PI / n.cutoff), norm = static_cast<T>(std::sqrt(2 / n.cutoff)),
          c = static_cast<T>(n.cutoff);
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
  float* const between = w.between.data();
  int32_t* const knot = w.knot.data();
#pragma GCC ivdep
  for (int64_t e = 0; e < row.length; e++) {
    const float at = static_cast<float>(distance[e]) * scale;
    const int32_t whole_part = static_cast<int32_t>(at), k = whole_part < most ? whole_part : most;
    knot[e] = k;
    between[e] = at - static_cast<float>(k);
  }
}

// Values and derivatives (n, width) of a segment's functions at the row's distances. Those of splines are by t; what
// comes of derivatives is scaled in the end, see `lengths`.
template <class T>
void Engine<T>::radial(const Segment& segment, const Row& row, T* values, T* gradients) const {
  const int64_t width = segment.width;
  if constexpr (std::is_same<T, double>::value) {
    const T *matrix = n.radial.data() + segment.offset,
            *basis = w.basis.data() + (segment.enveloped ? 2 * n.R * row.length : 0);
    multiply<T>(row.n, width, n.R, basis, 1, row.length, matrix, n.radial_width, values, width);
    multiply<T>(row.n, width, n.R, basis + n.R * row.length, 1, row.length, matrix, n.radial_width, gradients, width);
  } else {
    for (int64_t e = 0; e < row.n; e++) {
      const Between at = between(e);
      const float* from = at.row(n.spline, segment.offset);
      for (int64_t v = 0; v < width; v += W<T>) {
        vec<T> value, derivative;
        at.both(from, v, value, derivative);
        store(values + e * width + v, value), store(gradients + e * width + v, derivative);
      }
    }
  }
}

// The state's first block, x0 = silu(U b(d) + s + t + bias), and its derivative w.r.t. the distance.
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
        store(hidden + e * cp + c,
              load(hidden + e * cp + c) + load(w.read.data() + e * cp + c) * load(read + c) + load(scalars + c));
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
  multiply<T>(row.n, Gp, (r + 1) * cp, w.state.data(), n.layers * cp, 1, density.message.data(), Gp, w.message.data(),
              Gp);
  radial(density.radial, row, w.radial.data(), w.radial_gradient.data());
  for (int64_t k = 0; k < row.n * Gp; k += W<T>)
    store(w.product.data() + k, load(w.message.data() + k) * load(w.radial.data() + k));
}

// The sum with Y over the row: gathered (D, G).
template <class T>
void Engine<T>::gather(const Row& row, const T* product, T* gathered) const {
  multiply<T>(n.D, n.Gp, row.n, w.harmonics.data(), row.length, 1, product, n.Gp, gathered, n.Gp);
}

// Each component of all atoms times the matrix of its degree: a row an atom, so that they share its loads. The rows of
// an atom alone are its components of a degree.
template <class T>
void Engine<T>::by_degree(Atoms atoms, const T* in, int64_t width_in, const T* matrices, T* out,
                          int64_t width_out) const {
  const int64_t size_in = n.D * width_in, size_out = n.D * width_out;
  for (int l = 0; l <= n.L; l++) {
    const T* const matrix = matrices + l * width_in * width_out;
    if (atoms.count() == 1)
      multiply<T>(2 * l + 1, width_out, width_in, in + l * l * width_in, width_in, 1, matrix, width_out,
                  out + l * l * width_out, width_out);
    else
      for (int m = l * l; m < (l + 1) * (l + 1); m++)
        multiply<T>(atoms.count(), width_out, width_in, in + m * width_in, size_in, 1, matrix, width_out,
                    out + m * width_out, size_out);
  }
}

// The transpose (width, Dp) of rows (D, width).
template <class T>
void Engine<T>::turn_rows(const T* rows, int64_t width, T* out) const {
  if (n.D == n.Dp) return turn<T>(n.Dp, width, rows, width, out, n.Dp);
  std::copy_n(rows, n.D * width, w.padded_rows.data());
  std::fill(w.padded_rows.data() + n.D * width, w.padded_rows.data() + n.Dp * width, T(0));
  turn<T>(n.Dp, width, w.padded_rows.data(), width, out, n.Dp);
}

// W.r.t. Y, the distance (a register each) and the state, from the gradient w.r.t. what was gathered.
template <class T>
void Engine<T>::density_gradient(int r, const Row& row, const T* by_gathered) const {
  const DensityMatrices<T>& density = n.densities[r];
  const int64_t cp = n.cp, Gp = n.Gp, wide = n.layers * cp;
  multiply<T>(row.n, Gp, n.D, w.harmonics.data(), 1, row.length, by_gathered, Gp, w.by_product.data(), Gp);
  turn_rows(by_gathered, Gp, w.by_gathered_t.data());
  multiply<T>(row.n, n.Dp, Gp, w.product.data(), Gp, 1, w.by_gathered_t.data(), n.Dp, w.by_harmonics.data(), n.Dp);
  for (int64_t e = 0; e < row.n; e++) {
    vec<T> distance_gradient = vec<T>{};
    for (int64_t g = e * Gp; g < (e + 1) * Gp; g += W<T>) {
      const vec<T> by_product = load(w.by_product.data() + g);
      distance_gradient += by_product * load(w.message.data() + g) * load(w.radial_gradient.data() + g);
      store(w.by_product.data() + g, by_product * load(w.radial.data() + g));
    }
    store(w.by_distance.data() + e * W<T>, distance_gradient);
  }
  multiply<T>(row.n, (r + 1) * cp, Gp, w.by_product.data(), Gp, 1, density.message_t.data(), (r + 1) * cp,
              w.by_state.data(), wide);
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
      T* read = s.read[q].data() + int64_t(s.place[row.first + e]) * cp + c;
      T* distance_gradient = w.by_distance.data() + e * W<T>;
      store(distance_gradient, load(distance_gradient) + by * load(read) * load(w.read_gradient.data() + e * cp + c));
      store(read, by * load(w.read.data() + e * cp + c));
      store(w.hidden.data() + e * cp + c, by);
    }
    store(by_scalars + c, total);
  }
  multiply<T>(row.n, (q + 1) * cp, cp, w.hidden.data(), cp, 1, update.message_t.data(), (q + 1) * cp, w.by_state.data(),
              wide, true);
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
    vec<T> distance_gradient = load(to);
    for (int64_t c = 0; c < cp; c += W<T>)
      distance_gradient += load(w.by_state.data() + e * wide + c) * load(w.x_gradient.data() + e * cp + c);
    store(to, distance_gradient);
  }
  lengths(row);
}

// From the gradients w.r.t. Y and the distance (a register each) to those w.r.t. the vectors.
template <class T>
void Engine<T>::lengths(const Row& row) const {
  T *by_distance = w.lengths.data(), *inverse = by_distance + row.length;
  const T scale = n.spline.knots ? static_cast<T>(n.spline.knots / n.cutoff) : T(1);  // of t between two knots
  for (int64_t e = 0; e < row.length; e += W<T>) {
    store(by_distance + e, scale * sums(w.by_distance.data() + e * W<T>));
    store(inverse + e, T(1) / load(s.distance.data() + row.first + e));
  }
  direction_gradient(row, s.direction, inverse, by_distance, s.gradient.data() + 4 * row.first);
}
