// Edges: which are near enough, their harmonics, and forces and virials from gradients w.r.t. them. Included once for
// each instruction set.

template <class T>
void Engine<T>::arrive(int64_t i) const {
  const double *at = s.pos + 3 * i, reach = n.cutoff * n.cutoff;
  const int64_t first = s.row[i];
  int64_t slot = first;
  T *const x = s.direction[0].data(), *const y = s.direction[1].data(), *const z = s.direction[2].data();
  const double *const pos = s.pos, *const shift = s.shift;
  const int32_t *const sender = s.sender.data(), *const species = s.species.data();
  int32_t *const from = s.from.data(), *const slot_of = s.slot_of.data();
  const double px = at[0], py = at[1], pz = at[2];
  // Without branches: whether a pair of the list is near enough cannot be foreseen.
  const auto take = [&](int64_t e, double dx, double dy, double dz) __attribute__((always_inline)) {
    const int32_t j = sender[e];
    const double square = dx * dx + dy * dy + dz * dz;
    const bool near = (square < reach) & (species[j] >= 0);
    x[slot] = static_cast<T>(dx), y[slot] = static_cast<T>(dy), z[slot] = static_cast<T>(dz);
    from[slot] = j;
    slot_of[e] = static_cast<int32_t>(slot) | (int32_t(near) - 1);  // or -1
    slot += near;
  };
  const int64_t end = s.start[i + 1];
  if (species[i] < 0)
    std::fill(slot_of + s.start[i], slot_of + end, -1);
  else if (shift)
    for (int64_t e = s.start[i]; e < end; e++) {
      const double* other = pos + 3 * int64_t(sender[e]);
      take(e, px - other[0] + shift[3 * e], py - other[1] + shift[3 * e + 1], pz - other[2] + shift[3 * e + 2]);
    }
  else
    for (int64_t e = s.start[i]; e < end; e++) {
      const double* other = pos + 3 * int64_t(sender[e]);
      take(e, px - other[0], py - other[1], pz - other[2]);
    }
  s.count[i] = static_cast<int32_t>(slot - first);
  const Row row = arriving(i);
  for (; slot < first + row.length; slot++)
    x[slot] = static_cast<T>(n.cutoff), y[slot] = z[slot] = 0, s.from[slot] = static_cast<int32_t>(i);
  T* const d = s.distance.data();
  vec<T> closest = splat(static_cast<T>(n.cutoff));
  for (slot = first; slot < first + row.length; slot += W<T>) {
    const vec<T> dx = load(x + slot), dy = load(y + slot), dz = load(z + slot), square = dx * dx + dy * dy + dz * dz;
    vec<T> length;
    for (int k = 0; k < W<T>; k++) length[k] = std::sqrt(square[k]);
    const vec<T> inverse = T(1) / length;
    closest = length < closest ? length : closest;
    store(d + slot, length);
    store(x + slot, dx * inverse), store(y + slot, dy * inverse), store(z + slot, dz * inverse);
    store_vectors4(s.edge.data() + 4 * slot, dx * inverse, dy * inverse, dz * inverse, length);
  }
  for (int k = 0; k < W<T>; k++)
    if (closest[k] < T(1e-4)) s.coincident[thread_] = i;
  for (slot = 4 * first; slot < 4 * (first + row.length); slot += W<T>) store(s.gradient.data() + slot, vec<T>{});
  s.energies[i] = s.species[i] < 0 ? 0.0 : n.e0s[s.species[i]];
  for (int k = 0; k < 6; k++) s.virials[6 * i + k] = 0;
  if (n.zbl) zbl(row, i);
  if (!n.begins.empty() && s.species[i] >= 0) repulsion(row, i);
  if (n.shift != 0 || n.usual_crowding > 0) count_neighbors(row, i);
}

// What hangs on how many neighbours an atom has: shift (1 - exp(-number)), which is taken away from atoms without any, and
// by what densities are divided where they are averages.
template <class T>
void Engine<T>::count_neighbors(const Row& row, int64_t i) const {
  const double number = coordination(row);
  s.energies[i] -= n.shift * std::expm1(-number);
  coordination_gradient(row, n.shift * std::exp(-number));
  s.crowding[i] = static_cast<T>(1 + number), s.by_crowding[i] = 0;
}

// sum_j u(d_j / c)
template <class T>
double Engine<T>::coordination(const Row& row) const {
  double total = 0;
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const double x = s.distance[e] / n.cutoff, x3 = x * x * x;
    if (x < 1) total += 1 + x3 * x3 * (-28 + x * (48 - 21 * x));
  }
  return total;
}

// From the gradient w.r.t. that sum to those w.r.t. the vectors of the edges.
template <class T>
void Engine<T>::coordination_gradient(const Row& row, double by_number) const {
  const double factor = by_number * -168 / n.cutoff;
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const double x = s.distance[e] / n.cutoff, rest = 1 - x;
    if (x >= 1) continue;
    const double by_distance = factor * x * x * x * x * x * rest * rest;
    for (int a = 0; a < 3; a++) s.gradient[4 * e + a] += static_cast<T>(by_distance * s.direction[a][e]);
  }
}

template <class T>
void Engine<T>::leave(int64_t j) const {
  const int64_t first = s.leaving_row[j];
  int64_t place = first;
  T *const x = s.leaving_direction[0].data(), *const y = s.leaving_direction[1].data(),
           *const z = s.leaving_direction[2].data();
  T *const inverse = s.leaving_inverse.data(), *const edges = s.edge.data();
  const int32_t *const slot_of = s.slot_of.data(), *const leaving = s.leaving.data();
  int32_t *const slot_at = s.slot.data(), *const place_of = s.place.data();
  const int64_t nowhere = s.slots + thread_;
  for (int64_t k = s.leaving_start[j], end = s.leaving_start[j + 1]; k < end; k++) {
    const int32_t slot = slot_of[leaving[k]];
    const bool near = slot >= 0;
    const int64_t from = near ? slot : nowhere;
    const vector4<T> edge = vector4_at(edges, from);
    x[place] = edge[0], y[place] = edge[1], z[place] = edge[2], inverse[place] = edge[3];
    slot_at[place] = slot;
    place_of[from] = static_cast<int32_t>(place);
    place += near;
  }
  s.leaving_count[j] = static_cast<int32_t>(place - first);
  const Row row = departing(j);
  for (; place < first + row.length; place++) x[place] = 1, y[place] = z[place] = 0, inverse[place] = 1;
  for (place = first; place < first + row.length; place += W<T>) store(inverse + place, T(1) / load(inverse + place));
  for (place = 4 * first; place < 4 * (first + row.length); place += W<T>)
    store(s.leaving_gradient.data() + place, vec<T>{});
}

// Y (D, length): q_lm(y) times the real or imaginary part of (z + i x)^m. Unrolled for a degree, or (-1) for any.
template <class T>
template <int degree>
void Engine<T>::harmonics_of(const Row& row, const Aligned<T>* direction) const {
  const int L = degree < 0 ? n.L : degree;
  T* Y = w.harmonics.data();
  for (int64_t e = 0; e < row.length; e += W<T>) {
    const vec<T> x = load(direction[0].data() + row.first + e), y = load(direction[1].data() + row.first + e),
                 z = load(direction[2].data() + row.first + e);
    vec<T> real = splat(T(1)), imaginary = vec<T>{};
#pragma GCC unroll 5
    for (int m = 0; m <= L; m++) {
      vec<T> before = vec<T>{}, q = splat(static_cast<T>(n.diagonal[m]));
#pragma GCC unroll 5
      for (int l = m; l <= L; l++) {
        store(Y + (l * l + l + m) * row.length + e, q * real);
        if (m) store(Y + (l * l + l - m) * row.length + e, q * imaginary);
        if (l == L) break;
        const vec<T> next = static_cast<T>(n.alpha[(l + 1) * (L + 1) + m]) * y * q -
                            static_cast<T>(n.beta[(l + 1) * (L + 1) + m]) * before;
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
void Engine<T>::direction_gradient(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance,
                                   T* out) const {
  switch (n.L) {
    case 1: return direction_gradient_of<1>(row, direction, inverse, by_distance, out);
    case 2: return direction_gradient_of<2>(row, direction, inverse, by_distance, out);
    case 3: return direction_gradient_of<3>(row, direction, inverse, by_distance, out);
    case 4: return direction_gradient_of<4>(row, direction, inverse, by_distance, out);
    default: return direction_gradient_of<-1>(row, direction, inverse, by_distance, out);
  }
}

// Adds to `out` the gradient w.r.t. the edges' vectors, given that w.r.t. Y (by_harmonics (length, Dp)) and the length.
template <class T>
template <int degree>
void Engine<T>::direction_gradient_of(const Row& row, const Aligned<T>* direction, const T* inverse,
                                      const T* by_distance, T* out) const {
  const int L = degree < 0 ? n.L : degree;
  turn<T>(row.length, n.Dp, w.by_harmonics.data(), n.Dp, w.turned.data(), row.length);
  const T* g = w.turned.data();
  for (int64_t e = 0; e < row.length; e += W<T>) {
    const vec<T> x = load(direction[0].data() + row.first + e), y = load(direction[1].data() + row.first + e),
                 z = load(direction[2].data() + row.first + e);
    vec<T> gx = vec<T>{}, gy = vec<T>{}, gz = vec<T>{}, real = splat(T(1)), imaginary = vec<T>{}, real_below = vec<T>{},
           imaginary_below = vec<T>{};
#pragma GCC unroll 5
    for (int m = 0; m <= L; m++) {
      vec<T> before = vec<T>{}, q = splat(static_cast<T>(n.diagonal[m])), dbefore = vec<T>{}, dq = vec<T>{},
             by_real = vec<T>{}, by_imaginary = vec<T>{};
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
        const T alpha = static_cast<T>(n.alpha[(l + 1) * (L + 1) + m]),
                beta = static_cast<T>(n.beta[(l + 1) * (L + 1) + m]);
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
    const vec<T> radial = x * gx + y * gy + z * gz, scale = load(inverse + e),
                 by_length = by_distance ? load(by_distance + e) : vec<T>{};
    T vectors[4 * W<T>] __attribute__((aligned(PAD_BYTES)));
    store_vectors4(vectors, (gx - radial * x) * scale + by_length * x, (gy - radial * y) * scale + by_length * y,
                   (gz - radial * z) * scale + by_length * z, vec<T>{});
    for (int k = 0; k < 4 * W<T>; k += W<T>) store(out + 4 * e + k, load(out + 4 * e + k) + load(vectors + k));
  }
}

// What arriving edges pull at an atom, and the virial.
template <class T>
void Engine<T>::arriving_forces(int64_t i) const {
  const Row row = arriving(i);
  typedef double four_doubles __attribute__((vector_size(4 * sizeof(double))));
  four_doubles force = {0, 0, 0, 0}, product[3] = {force, force, force};
  T* const edges = s.edge.data();
  const int32_t* const place = s.place.data();
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const four_doubles g = __builtin_convertvector(pull(e, place[e]), four_doubles);
    force += g;
    const vector4<T> r = vector4_at(edges, e) * length(e);
    for (int a = 0; a < 3; a++) product[a] += double(r[a]) * g;
  }
  if (s.forces)
    for (int a = 0; a < 3; a++) s.forces[3 * i + a] -= force[a];
  const double virial[6] = {product[0][0],
                            product[1][1],
                            product[2][2],
                            0.5 * (product[0][1] + product[1][0]),
                            0.5 * (product[0][2] + product[2][0]),
                            0.5 * (product[1][2] + product[2][1])};
  for (int k = 0; k < 6; k++) {
    s.virials[6 * i + k] = -virial[k];
    if (s.atom_virials) s.atom_virials[6 * i + k] -= 0.5 * virial[k];
  }
}

// What edges pull at an atom: those that leave it, and those that arrive where it has its own.
template <class T>
void Engine<T>::forces(int64_t j) const {
  if (j < s.owned) arriving_forces(j);
  typedef double four_doubles __attribute__((vector_size(4 * sizeof(double))));
  four_doubles force = {0, 0, 0, 0};
  const Row row = departing(j);
  for (int64_t p = row.first; p < row.first + row.n; p++) {
    const four_doubles g = __builtin_convertvector(pull(s.slot[p], p), four_doubles);
    force += g;
    if (!s.atom_virials) continue;
    const vector4<T> edge = vector4_at(s.edge.data(), s.slot[p]);
    const T d = length(s.slot[p]);
    for (int a = 0; a < 3; a++) s.atom_virials[6 * j + a] -= 0.5 * d * edge[a] * g[a];
    s.atom_virials[6 * j + 3] -= 0.25 * d * (edge[0] * g[1] + edge[1] * g[0]);
    s.atom_virials[6 * j + 4] -= 0.25 * d * (edge[0] * g[2] + edge[2] * g[0]);
    s.atom_virials[6 * j + 5] -= 0.25 * d * (edge[1] * g[2] + edge[2] * g[1]);
  }
  if (s.forces)
    for (int a = 0; a < 3; a++) s.forces[3 * j + a] += force[a];
}
