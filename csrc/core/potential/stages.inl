// What is done for one atom in each stage. Included once per instruction set.

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
  multiply<T>(row.n, n.cp, n.D, w.harmonics.data(), 1, row.length, s.read_features[q].data() + j * n.D * n.cp, n.cp,
              s.read[q].data() + row.first * n.cp, n.cp);
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
  invariants_gradient(n, s.species[i], w.density.data(), scalars, w.powers.data(), w.by_powers.data(),
                      w.by_density.data());
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
  direction_gradient(row, s.leaving_direction, s.leaving_inverse.data() + row.first, nullptr,
                     s.leaving_gradient.data() + 4 * row.first);
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
  multiply<T>(1, n.Cp, n.cp, s.by_scalars[r].data() + i * n.cp, n.cp, 1, update.scalars_t.data(), n.Cp,
              w.by_features.data(), n.Cp, true);
  for (int c = 0; c < n.Cp; c++) w.by_features[c] += update.energy[c];
  product_gradient(n, n.products[r], s.species[i], s.density[r].data() + i * n.D * n.Cp, w.by_features.data(),
                   w.powers.data(), w.by_powers.data(), w.by_density.data());
}
