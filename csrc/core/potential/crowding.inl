// Densities that are averages over neighbours: divided by how crowded an atom is, in place. Included once per instruction
// set.

// 1 + sum_j u(d_j / c)
template <class T>
void Engine<T>::count_crowding(const Row& row, int64_t i) const {
  T total = 1;
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const T x = s.distance[e] / static_cast<T>(n.cutoff), x3 = x * x * x;
    if (x < 1) total += 1 + x3 * x3 * (-28 + x * (48 - 21 * x));
  }
  s.crowding[i] = total, s.by_crowding[i] = 0;
}

// The density (D, C) of an atom, a sum over its neighbours, to what is about an average.
template <class T>
void Engine<T>::normalize(int64_t i, T* density) const {
  const vec<T> factor = splat(static_cast<T>(n.usual_crowding) / s.crowding[i]);
  for (int64_t k = 0; k < n.D * n.Cp; k += W<T>) store(density + k, factor * load(density + k));
}

// From the gradient by the normalised density to that by the sum, in its place, and by the crowding.
template <class T>
void Engine<T>::normalize_gradient(int64_t i, const T* density, T* by_density) const {
  const vec<T> factor = splat(static_cast<T>(n.usual_crowding) / s.crowding[i]);
  vec<T> along = vec<T>{};
  for (int64_t k = 0; k < n.D * n.Cp; k += W<T>) {
    const vec<T> by = load(by_density + k);
    along += by * load(density + k);
    store(by_density + k, factor * by);
  }
  T total = 0;
  for (int k = 0; k < W<T>; k++) total += along[k];
  s.by_crowding[i] -= total / s.crowding[i];
}

// From the gradient by an atom's crowding to those by the vectors of its edges.
template <class T>
void Engine<T>::crowding_gradient(int64_t i) const {
  const Row row = arriving(i);
  const T factor = s.by_crowding[i] * T(-168) / static_cast<T>(n.cutoff);
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const T x = s.distance[e] / static_cast<T>(n.cutoff), rest = 1 - x;
    if (x >= 1) continue;
    const T by_distance = factor * x * x * x * x * x * rest * rest;
    for (int a = 0; a < 3; a++) s.gradient[4 * e + a] += by_distance * s.direction[a][e];
  }
}
