// What is done in each stage, for an atom or a block of them. Atoms of no species take no part: their rows are computed
// with the block's, and nobody reads them. Included once per instruction set.

template <class T>
void Engine<T>::forward(int r, Atoms atoms) const {
  for (int64_t i = atoms.first; i < atoms.end; i++) {
    if (s.species[i] < 0) continue;
    const Row row = arriving(i);
    state(r, row, i, true);
    carry(r, row);
    gather(row, w.product.data(), w.gathered.data() + (i - atoms.first) * n.D * n.Gp);
  }
  by_degree(atoms, w.gathered.data(), n.Gp, n.densities[r].mix.data(), s.density[r].data() + atoms.first * n.D * n.Cp,
            n.Cp);
  shape(r, atoms);
}

// From the densities of a round: their energies, and what leaving edges read of them.
template <class T>
void Engine<T>::shape(int r, Atoms atoms) const {
  const UpdateMatrices<T>& update = n.updates[r];
  const int64_t size = n.D * n.Cp;
  for (int64_t i = atoms.first; i < atoms.end; i++) {
    if (s.species[i] < 0) continue;
    T* const features = w.features.data() + (i - atoms.first) * size;
    if (n.usual_crowding > 0) normalize(i, s.density[r].data() + i * size);
    product_features(n, n.products[r], s.species[i], s.density[r].data() + i * size, w.powers.data(), features);
    double energy = 0;
    for (int c = 0; c < n.C; c++) energy += double(features[c]) * update.energy[c];
    s.energies[i] += energy;
    if (s.features)
      for (int c = 0; c < n.C; c++) s.features[i * n.layers * n.C + r * n.C + c] = features[c];
  }
  T* const scalars = s.scalars[r].data() + atoms.first * n.cp;
  for (int64_t b = 0; b < atoms.count(); b++) std::copy_n(update.bias.data(), n.cp, scalars + b * n.cp);
  multiply<T>(atoms.count(), n.cp, n.Cp, w.features.data(), size, 1, update.scalars.data(), n.cp, scalars, n.cp, true);
  by_degree(atoms, w.features.data(), n.Cp, update.angular.data(), s.read_features[r].data() + atoms.first * n.D * n.cp,
            n.cp);
  for (int64_t i = atoms.first; i < atoms.end; i++) read(r, i);
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
  const Atoms alone{i, i + 1};
  state(r, row, i, true);
  carry(r, row);
  gather(row, w.product.data(), w.gathered.data());
  by_degree(alone, w.gathered.data(), n.Gp, n.densities[r].mix.data(), w.density.data(), n.Cp);
  head(alone);
  by_degree(alone, w.by_density.data(), n.Cp, n.densities[r].mix_t.data(), w.by_gathered.data(), n.Gp);
  density_gradient(r, row, w.by_gathered.data());
  if (r > 0) update_gradient(r - 1, row, i);
  finish(row);
}

// The last energies, from the densities, and the gradients w.r.t. these.
template <class T>
void Engine<T>::head(Atoms atoms) const {
  const int64_t size = n.D * n.Cp, Cp = n.Cp, powers = n.order * size;
  T *const scalars = w.small.data(), *const hidden = scalars + BLOCK * Cp;
  for (int64_t b = 0; b < atoms.count(); b++)
    if (s.species[atoms.first + b] >= 0 && n.usual_crowding > 0)
      normalize(atoms.first + b, w.density.data() + b * size);
  for (int64_t b = 0; b < atoms.count(); b++)
    if (s.species[atoms.first + b] >= 0)
      invariants(n, s.species[atoms.first + b], w.density.data() + b * size, w.powers.data() + b * powers,
                 scalars + b * Cp);
  if (s.features) {
    multiply<T>(atoms.count(), Cp, Cp, scalars, Cp, 1, n.mix.data(), Cp, hidden, Cp);
    for (int64_t i = atoms.first; i < atoms.end; i++)
      for (int c = 0; c < n.C && s.species[i] >= 0; c++)
        s.features[((i + 1) * n.layers - 1) * n.C + c] = hidden[(i - atoms.first) * Cp + c];
  }
  multiply<T>(atoms.count(), Cp, Cp, scalars, Cp, 1, n.head.data(), Cp, hidden, Cp);
  for (int64_t b = 0; b < atoms.count(); b++) {
    if (s.species[atoms.first + b] < 0) continue;
    double energy = 0;
    for (int64_t c = 0; c < Cp; c += W<T>) {
      const vec<T> h = load(hidden + b * Cp + c), p = sigmoid<T>(h), out = load(n.head_out.data() + c);
      const vec<T> value = h * p * out;
      for (int k = 0; k < W<T>; k++) energy += value[k];
      store(hidden + b * Cp + c, out * (p * (T(1) + h * (T(1) - p))));
    }
    s.energies[atoms.first + b] += energy;
  }
  multiply<T>(atoms.count(), Cp, Cp, hidden, Cp, 1, n.head_t.data(), Cp, scalars, Cp);
  for (int64_t b = 0; b < atoms.count(); b++)
    if (s.species[atoms.first + b] >= 0)
      invariants_gradient(n, s.species[atoms.first + b], w.density.data() + b * size, scalars + b * Cp,
                          w.powers.data() + b * powers, w.by_powers.data(), w.by_density.data() + b * size);
  for (int64_t b = 0; b < atoms.count(); b++) {
    if (s.species[atoms.first + b] < 0 || n.usual_crowding == 0) continue;
    normalize_gradient(atoms.first + b, w.density.data() + b * size, w.by_density.data() + b * size);
    if (n.layers == 1) coordination_gradient(arriving(atoms.first + b), s.by_crowding[atoms.first + b]);
  }
}

// Adds to by_features (D, c) the gradient w.r.t. what the atom's leaving edges read.
template <class T>
void Engine<T>::unread(int q, int64_t j, T* by_features) const {
  const Row row = departing(j);
  if (!row.n) return;
  const int64_t cp = n.cp;
  harmonics(row, s.leaving_direction);
  const T* const next = s.read[q].data() + (row.first + whole<T>(s.leaving_row[j + 1] - s.leaving_row[j])) * cp;
  for (int64_t k = 0; k < row.n * cp; k += PAD_BYTES / sizeof(T)) __builtin_prefetch(next + k, 0, 2);
  const T *by_read = s.read[q].data() + row.first * cp, *features = s.read_features[q].data() + j * n.D * cp;
  multiply<T>(n.D, cp, row.n, w.harmonics.data(), row.length, 1, by_read, cp, by_features, cp, true);
  turn_rows(features, cp, w.by_gathered_t.data());
  multiply<T>(row.n, n.Dp, cp, by_read, cp, 1, w.by_gathered_t.data(), n.Dp, w.by_harmonics.data(), n.Dp);
  direction_gradient(row, s.leaving_direction, s.leaving_inverse.data() + row.first, nullptr,
                     s.leaving_gradient.data() + 4 * row.first);
}

template <class T>
void Engine<T>::backward(int r, Atoms atoms) const {
  unshape(r, atoms);
  by_degree(atoms, w.by_density.data(), n.Cp, n.densities[r].mix_t.data(), w.by_gathered.data(), n.Gp);
  for (int64_t i = atoms.first; i < atoms.end; i++) {
    if (s.species[i] < 0) continue;
    const Row row = arriving(i);
    state(r, row, i, false);
    carry(r, row);
    density_gradient(r, row, w.by_gathered.data() + (i - atoms.first) * n.D * n.Gp);
    if (r > 0) update_gradient(r - 1, row, i);
    finish(row);
  }
}

// The gradients w.r.t. the densities of a round.
template <class T>
void Engine<T>::unshape(int r, Atoms atoms) const {
  const UpdateMatrices<T>& update = n.updates[r];
  const int64_t size = n.D * n.Cp;
  T *const by_features = w.by_features.data(), *const by_read = w.by_read_features.data();
  const int64_t count = n.D * n.cp;
  if (atoms.first < s.border)  // what ghosts returned
    std::copy_n(s.by_read_features[r].data() + atoms.first * count, atoms.count() * count, by_read);
  else
    std::fill_n(by_read, atoms.count() * count, T(0));
  for (int64_t b = 0; b < atoms.count(); b++) unread(r, atoms.first + b, by_read + b * count);
  by_degree(atoms, by_read, n.cp, update.angular_t.data(), by_features, n.Cp);
  multiply<T>(atoms.count(), n.Cp, n.cp, s.by_scalars[r].data() + atoms.first * n.cp, n.cp, 1, update.scalars_t.data(),
              n.Cp, by_features, size, true);
  for (int64_t i = atoms.first; i < atoms.end; i++) {
    if (s.species[i] < 0) continue;
    const int64_t b = i - atoms.first;
    for (int c = 0; c < n.Cp; c++) by_features[b * size + c] += update.energy[c];
    product_gradient(n, n.products[r], s.species[i], s.density[r].data() + i * size, by_features + b * size,
                     w.powers.data(), w.by_powers.data(), w.by_density.data() + b * size);
    if (n.usual_crowding == 0) continue;
    normalize_gradient(i, s.density[r].data() + i * size, w.by_density.data() + b * size);
    if (r == 0) coordination_gradient(arriving(i), s.by_crowding[i]);  // all densities have been
  }
}
