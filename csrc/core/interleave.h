// Features of a degree in e3nn's layout, S = 2 l + 1 components of one channel after the other, as S registers of channels,
// and back, by permutations of registers. Included once per instruction set, after simd.h and number.h.

// Lanes of `so_far`, where number m of a channel lies in register k of the row those of `from`.
template <class T, int S, int m, int k, size_t... lane>
EQUITENSOR_INLINE vec<T> pick(vec<T> so_far, vec<T> from, std::index_sequence<lane...>) {
  constexpr int W = Simd<T>::width;
  return __builtin_shufflevector(
      so_far, from, ((lane * S + m) / W == k ? W + static_cast<int>(lane * S + m) % W : static_cast<int>(lane))...);
}

template <class T, int S, int m, size_t... k>
EQUITENSOR_INLINE vec<T> component(const vec<T>* row, std::index_sequence<k...>) {
  vec<T> merged = row[0];
  ((merged = pick<T, S, m, k>(merged, row[k], std::make_index_sequence<Simd<T>::width>())), ...);
  return merged;
}

template <class T, int S, size_t... m>
EQUITENSOR_INLINE void split(const T* p, vec<T>* parts, std::index_sequence<m...> all) {
  const vec<T> row[S] = {load(p + m * Simd<T>::width)...};
  ((parts[m] = component<T, S, m>(row, all)), ...);
}

// Lanes of `so_far`, where register k of the row holds number m of a channel those of `from`.
template <class T, int S, int k, int m, size_t... lane>
EQUITENSOR_INLINE vec<T> place(vec<T> so_far, vec<T> from, std::index_sequence<lane...>) {
  constexpr int W = Simd<T>::width;
  return __builtin_shufflevector(
      so_far, from, ((k * W + lane) % S == m ? W + static_cast<int>(k * W + lane) / S : static_cast<int>(lane))...);
}

template <class T, int S, int k, size_t... m>
EQUITENSOR_INLINE vec<T> piece_of_row(const vec<T>* parts, std::index_sequence<m...>) {
  vec<T> merged = parts[0];
  ((merged = place<T, S, k, m>(merged, parts[m], std::make_index_sequence<Simd<T>::width>())), ...);
  return merged;
}

template <class T, int S, size_t... k>
EQUITENSOR_INLINE void merge(const vec<T>* parts, T* p, std::index_sequence<k...> all) {
  (store(p + k * Simd<T>::width, piece_of_row<T, S, k>(parts, all)), ...);
}

// S components of a block of channels.
template <int S, class T, int V>
EQUITENSOR_INLINE void read_block(const T* p, Block<T, V>* x) {
  for (int v = 0; v < V; v++) {
    vec<T> parts[S];
    split<T, S>(p + v * Simd<T>::width * S, parts, std::make_index_sequence<S>());
    for (int m = 0; m < S; m++) x[m].part[v] = parts[m];
  }
}

template <int S, class T, int V>
EQUITENSOR_INLINE void write_block(const Block<T, V>* x, T* p) {
  for (int v = 0; v < V; v++) {
    vec<T> parts[S];
    for (int m = 0; m < S; m++) parts[m] = x[m].part[v];
    merge<T, S>(parts, p + v * Simd<T>::width * S, std::make_index_sequence<S>());
  }
}
