// Densities that are averages over neighbours: divided by how crowded an atom is, in place. Included once per instruction
// set.

// The density (D, C) of an atom, a sum over its neighbours, to what is about an average.
template <class T>
void Engine<T>::normalize(int64_t i, T* density) const {
  const vec<T> factor = splat(static_cast<T>(n.usual_crowding) / s.crowding[i]);
  for (int64_t k = 0; k < n.D * n.Cp; k += W<T>) store(density + k, factor * load(density + k));
}

// From the gradient w.r.t. the normalised density to that w.r.t. the sum, in its place, and the crowding.
template <class T>
void Engine<T>::normalize_gradient(int64_t i, const T* density, T* by_density) const {
  const vec<T> factor = splat(static_cast<T>(n.usual_crowding) / s.crowding[i]);
  vec<T> products = vec<T>{};
  for (int64_t k = 0; k < n.D * n.Cp; k += W<T>) {
    const vec<T> by = load(by_density + k);
    products += by * load(density + k);
    store(by_density + k, factor * by);
  }
  T total = 0;
  for (int k = 0; k < W<T>; k++) total += products[k];
  s.by_crowding[i] -= total / s.crowding[i];
}
