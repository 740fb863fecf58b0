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

// Adds to where the weights of a path come from: one for each channel, or one for all of them.
template <class N, class T>
EQUITENSOR_INLINE void add_weight(const N& x, T* row, const Component& m, int64_t c, int64_t count) {
  if (m.stride == 1) return x.add_to(row + m.start + c, count);
  T lanes[N::size];
  x.write(lanes, N::size);
  for (int64_t l = 0; l < count; l++) row[m.start + (c + l) * m.stride] += lanes[l];
}

// Items first..last: values where `z` is given without g; with g gradients, or (duals) their change along the tangents
// and that of z.
template <class N, class T>
void uuu_pass(const UUUProduct<T>& u, int64_t first, int64_t last, const UUUArrays<T>& at) {
  const int64_t d1 = u.x.size(), d2 = u.y.size(), d3 = u.z.size(), P = u.w.size(), C = u.channels;
  std::vector<N> memory(2 * (d1 + d2 + d3 + P));
  N *X = memory.data(), *Y = X + d1, *Z = Y + d2, *W = Z + d3;
  N *gX = W + P, *gY = gX + d1, *G = gY + d2, *gW = G + d3;
  const bool slopes = at.g != nullptr;
  auto row = [](auto* p, int64_t n, int64_t width) { return p ? p + n * width : p; };
  for (int64_t n = first; n < last; n++) {
    for (int64_t c = 0; c < C; c += N::size) {
      const int64_t count = std::min<int64_t>(N::size, C - c);
      const T* none = nullptr;
      for (int64_t m = 0; m < d1; m++)
        X[m] = ComponentReader<N>::read(row(at.x, n, d1 * C), row(at.h_x, n, d1 * C), u.x[m], c, count);
      for (int64_t m = 0; m < d2; m++)
        Y[m] = ComponentReader<N>::read(row(at.y, n, d2 * C), row(at.h_y, n, d2 * C), u.y[m], c, count);
      for (int64_t p = 0; p < P; p++)
        W[p] = ComponentReader<N>::read(row(at.w, n, u.width_w), row(at.h_w, n, u.width_w), u.w[p], c, count);
      for (int64_t m = 0; m < d3; m++) Z[m] = N::zero();
      if (slopes) {
        for (int64_t m = 0; m < d3; m++)
          G[m] = ComponentReader<N>::read(row(at.g, n, d3 * C), none, u.z[m], c, count);
        for (int64_t m = 0; m < d1 + d2; m++) gX[m] = N::zero();
        for (int64_t p = 0; p < P; p++) gW[p] = N::zero();
      }
      const Entry<T>* entry = u.entries.data();
      const Group* group = u.groups.data();
      for (const UUUTerm& term : u.terms) {  // one path and component of z
        N sum = N::zero(), along = N::zero();
        if (slopes) along = W[term.path] * G[term.out];
        for (const Group* end = u.groups.data() + term.end; group < end; group++) {
          const Entry<T>* begin = entry;
          N inner = N::zero();
          for (const Entry<T>* stop = u.entries.data() + group->end; entry < stop; entry++)
            inner += entry->coefficient * Y[entry->second];
          sum += X[group->first] * inner;
          if (!slopes) continue;
          if (at.dx) gX[group->first] += along * inner;
          if (at.dy) {
            const N back = along * X[group->first];
            for (const Entry<T>* e = begin; e < entry; e++) gY[e->second] += e->coefficient * back;
          }
        }
        if (at.z) Z[term.out] += W[term.path] * sum;
        if (slopes && at.dw) gW[term.path] += G[term.out] * sum;
      }
      for (int64_t m = 0; at.z && m < d3; m++)
        write_component(result(Z[m]), row(at.z, n, d3 * C), u.z[m], c, count);
      for (int64_t m = 0; at.dx && m < d1; m++)
        write_component(result(gX[m]), row(at.dx, n, d1 * C), u.x[m], c, count);
      for (int64_t m = 0; at.dy && m < d2; m++)
        write_component(result(gY[m]), row(at.dy, n, d2 * C), u.y[m], c, count);
      for (int64_t p = 0; at.dw && p < P; p++)
        add_weight(result(gW[p]), row(at.dw, n, u.width_w), u.w[p], c, count);
    }
  }
}

template <class T>
void uuu_product(const UUUProduct<T>& u, int64_t first, int64_t last, const UUUArrays<T>& at) {
  uuu_pass<Block<T, 2>, T>(u, first, last, at);
}

template <class T>
void uuu_product_along(const UUUProduct<T>& u, int64_t first, int64_t last, const UUUArrays<T>& at) {
  uuu_pass<Dual<Block<T, 2>>, T>(u, first, last, at);
}
