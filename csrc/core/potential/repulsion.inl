// Repulsion between atoms, and how the network sees pairs that are nearer to each other than training data have them: see
// equitensor/models/repulsion.py. Included once per instruction set.

template <class T>
void Engine<T>::zbl(const Row& row, int64_t i) const {
  for (int64_t e = row.first; e < row.first + row.n; e++) {
    const int32_t sender = n.z[s.species[s.from[e]]], receiver = n.z[s.species[i]];
    double energy, by_distance;
    zbl_pair(sender, receiver, s.distance[e], std::min(sum_of_radii(sender, receiver), n.cutoff), energy, by_distance);
    s.energies[i] += energy;
    for (int a = 0; a < 3; a++) s.gradient[4 * e + a] += static_cast<T>(by_distance * s.direction[a][e]);
  }
}

// Lengths become those that are seen; the true ones are kept beside them.
template <class T>
void Engine<T>::repulsion(const Row& row, int64_t i) const {
  for (int64_t e = row.first; e < row.first + row.length; e++) {
    const T d = s.distance[e];
    s.length[e] = d, s.stretch[e] = 1, s.push[e] = 0;
    if (e >= row.first + row.n) continue;
    const int32_t sender = s.species[s.from[e]];
    const double begin = n.begins[sender * n.elements + s.species[i]], width = 0.05 * begin;
    if (!(d < begin)) continue;
    const double rest = std::tanh((begin - d) / width);
    double energy, by_distance;
    zbl_pair(n.z[sender], n.z[s.species[i]], d, begin, energy, by_distance);
    s.energies[i] += energy;
    s.push[e] = static_cast<T>(by_distance), s.stretch[e] = static_cast<T>(1 - rest * rest);
    s.distance[e] = s.edge[4 * e + 3] = static_cast<T>(begin - width * rest);
  }
}

// The gradient w.r.t. the true vector of an edge, given those w.r.t. the one that is seen.
template <class T>
INLINE vector4<T> Engine<T>::pull(int64_t slot, int64_t place) const {
  vector4<T> gradient = vector4_at(s.gradient.data(), slot);
  if (n.layers > 1) gradient += vector4_at(s.leaving_gradient.data(), place);
  if (n.begins.empty()) return gradient;
  const vector4<T> edge = vector4_at(s.edge.data(), slot);
  if (!(s.length[slot] < edge[3])) return gradient;
  const T radial = edge[0] * gradient[0] + edge[1] * gradient[1] + edge[2] * gradient[2],
          ratio = edge[3] / s.length[slot];
  return gradient * ratio + edge * ((s.stretch[slot] - ratio) * radial + s.push[slot]);
}
