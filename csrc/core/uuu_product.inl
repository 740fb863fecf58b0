// z_k = sum over paths of w_p sum_ij W_ijk x_i y_j, channel by channel, and its derivatives. Included once per
// instruction set. The operands of one item and block of channels lie components first in scratch; the derivative along
// a tangent is the gradient with duals.

// Numbers of one component, for the channels c..c+count of a row.
template <class N>
struct ComponentReader {
  template <class T>
  static EQUITENSOR_INLINE N read(const T* row, const T*, const Component& m, int64_t c, int64_t count) {
    if (m.stride == 1) return N::read(row + m.start + c, count);
    return N::read_apart(row + m.start + c * m.stride, m.stride, count);
  }
};

template <class N>
struct ComponentReader<Dual<N>> {
  template <class T>
  static EQUITENSOR_INLINE Dual<N> read(const T* row, const T* tangent, const Component& m, int64_t c, int64_t count) {
    return {ComponentReader<N>::read(row, row, m, c, count),
            tangent ? ComponentReader<N>::read(tangent, tangent, m, c, count) : N::zero()};
  }
};

template <class N, class T>
EQUITENSOR_INLINE void write_component(const N& x, T* row, const Component& m, int64_t c, int64_t count) {
  if (m.stride == 1) return x.write(row + m.start + c, count);
  T lanes[N::size];
  x.write(lanes, N::size);
  for (int64_t l = 0; l < count; l++) row[m.start + (c + l) * m.stride] = lanes[l];
}

// All components of a degree at once, for whole blocks of channels.
template <int S, class T, int V>
EQUITENSOR_INLINE void read_degree(const T* row, const T*, Block<T, V>* x) {
  read_block<S>(row, x);
}
template <int S, class T, class N>
EQUITENSOR_INLINE void read_degree(const T* row, const T* tangent, Dual<N>* x) {
  N values[S], moved[S];
  read_block<S>(row, values);
  if (tangent) read_block<S>(tangent, moved);
  for (int m = 0; m < S; m++) x[m] = {values[m], tangent ? moved[m] : N::zero()};
}

template <int S, class T, class N>
EQUITENSOR_INLINE void write_degree(const N* x, T* row) {
  std::decay_t<decltype(result(x[0]))> values[S];
  for (int m = 0; m < S; m++) values[m] = result(x[m]);
  write_block<S>(values, row);
}

// The components of one item's row at the channels c..c+count. Those of a degree have the stride 2 l + 1.
template <class N, class T>
EQUITENSOR_INLINE void read_components(const T* row, const T* tangent, const std::vector<Component>& components,
                                       int64_t c, int64_t count, N* x) {
  const int64_t whole = count == N::size;
  for (size_t m = 0; m < components.size();) {
    const Component& k = components[m];
    const int64_t at = k.start + c * k.stride;
    const T* h_row = tangent ? tangent + at : tangent;
    switch (whole * k.stride) {
      case 3: read_degree<3>(row + at, h_row, x + m), m += 3; break;
      case 5: read_degree<5>(row + at, h_row, x + m), m += 5; break;
      case 7: read_degree<7>(row + at, h_row, x + m), m += 7; break;
      default: x[m] = ComponentReader<N>::read(row, tangent, k, c, count), m++;
    }
  }
}

template <class N, class T>
EQUITENSOR_INLINE void write_components(const N* x, T* row, const std::vector<Component>& components, int64_t c,
                                        int64_t count) {
  const int64_t whole = count == N::size;
  for (size_t m = 0; m < components.size();) {
    const Component& k = components[m];
    T* to = row + k.start + c * k.stride;
    switch (whole * k.stride) {
      case 3: write_degree<3>(x + m, to), m += 3; break;
      case 5: write_degree<5>(x + m, to), m += 5; break;
      case 7: write_degree<7>(x + m, to), m += 7; break;
      default: write_component(result(x[m]), row, k, c, count), m++;
    }
  }
}

// Adds to where the weights of a path come from: one for each channel, or one for all of them.
template <class N, class T>
EQUITENSOR_INLINE void add_weight(const N& x, T* row, const Component& m, int64_t c, int64_t count) {
  if (m.stride == 1) return x.add_to(row + m.start + c, count);
  T lanes[N::size];
  x.write(lanes, N::size);
  for (int64_t l = 0; l < count; l++) row[m.start + (c + l) * m.stride] += lanes[l];
}

// Items first..last: values where `z` is given without g; with g gradients, or (duals) their tangents
// and that of z.
template <class N, class T>
void uuu_pass(const UUUProduct<T>& u, int64_t first, int64_t last, const UUUArrays<T>& at) {
  const int64_t d1 = u.x.size(), d2 = u.y.size(), d3 = u.z.size(), P = u.w.size(), C = u.channels;
  std::vector<N> memory(2 * (d1 + d2 + d3 + P));
  N *X = memory.data(), *Y = X + d1, *Z = Y + d2, *W = Z + d3;
  N *gX = W + P, *gY = gX + d1, *G = gY + d2, *gW = G + d3;
  const bool gradients = at.g != nullptr;
  auto row = [](auto* p, int64_t n, int64_t width) { return p ? p + n * width : p; };
  for (int64_t n = first; n < last; n++) {
    for (int64_t c = 0; c < C; c += N::size) {
      const int64_t count = std::min<int64_t>(N::size, C - c);
      const T* none = nullptr;
      read_components(row(at.x, n, d1 * C), row(at.h_x, n, d1 * C), u.x, c, count, X);
      read_components(row(at.y, n, d2 * C), row(at.h_y, n, d2 * C), u.y, c, count, Y);
      for (int64_t p = 0; p < P; p++)
        W[p] = ComponentReader<N>::read(row(at.w, n, u.width_w), row(at.h_w, n, u.width_w), u.w[p], c, count);
      for (int64_t m = 0; m < d3; m++) Z[m] = N::zero();
      if (gradients) {
        read_components(row(at.g, n, d3 * C), none, u.z, c, count, G);
        for (int64_t m = 0; m < d1 + d2; m++) gX[m] = N::zero();
        for (int64_t p = 0; p < P; p++) gW[p] = N::zero();
      }
      const Entry<T>* entry = u.entries.data();
      const Group* group = u.groups.data();
      for (const UUUTerm& term : u.terms) {  // one path and component of z
        N sum = N::zero(), w_g = N::zero();
        if (gradients) w_g = W[term.path] * G[term.out];
        for (const Group* end = u.groups.data() + term.end; group < end; group++) {
          const Entry<T>* begin = entry;
          N inner = N::zero();
          for (const Entry<T>* stop = u.entries.data() + group->end; entry < stop; entry++)
            inner += entry->coefficient * Y[entry->second];
          sum += X[group->first] * inner;
          if (!gradients) continue;
          if (at.dx) gX[group->first] += w_g * inner;
          if (at.dy) {
            const N back = w_g * X[group->first];
            for (const Entry<T>* e = begin; e < entry; e++) gY[e->second] += e->coefficient * back;
          }
        }
        if (at.z) Z[term.out] += W[term.path] * sum;
        if (gradients && at.dw) gW[term.path] += G[term.out] * sum;
      }
      if (at.z) write_components(Z, row(at.z, n, d3 * C), u.z, c, count);
      if (at.dx) write_components(gX, row(at.dx, n, d1 * C), u.x, c, count);
      if (at.dy) write_components(gY, row(at.dy, n, d2 * C), u.y, c, count);
      for (int64_t p = 0; at.dw && p < P; p++) add_weight(result(gW[p]), row(at.dw, n, u.width_w), u.w[p], c, count);
    }
  }
}

template <class T>
void uuu_product(const UUUProduct<T>& u, int64_t first, int64_t last, const UUUArrays<T>& at) {
  uuu_pass<Block<T, 2>, T>(u, first, last, at);
}

template <class T>
void uuu_product_tangents(const UUUProduct<T>& u, int64_t first, int64_t last, const UUUArrays<T>& at) {
  uuu_pass<Dual<Block<T, 2>>, T>(u, first, last, at);
}
