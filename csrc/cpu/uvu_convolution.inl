// z_i = sum over edges e: j -> i of w_e (x_j (x) y_e), path by path, and its derivatives. Included once per
// instruction set.
//
// Coupling and y fold into one small matrix M (2 l1 + 1, 2 l3 + 1) per edge and path. Sums over edges stay in registers
// for a block of channels; sums over channels, for dM, stay in registers for a row of M. The operands of a portion of a
// node's edges go through once per path; nothing of the size (edges, paths, channels) is written but the weights'
// gradient. Rows hold blocks (2 l + 1, C), channels last.

constexpr int64_t PORTION = 32;  // edges of a node whose matrices M lie in scratch together
constexpr int PIECE = 5;         // components of z at a time: PIECE registers times 2 hold their sums

// Calls body(integral_constant K, offset) for pieces of k numbers, none longer than PIECE.
template <class F>
EQUITENSOR_INLINE void in_pieces(int64_t k, const F& body) {
  const int64_t pieces = (k + PIECE - 1) / PIECE;
  for (int64_t piece = 0; piece < pieces; piece++) {
    const int64_t begin = k * piece / pieces, size = k * (piece + 1) / pieces - begin;
    switch (size) {
      case 1: body(std::integral_constant<int, 1>{}, begin); break;
      case 2: body(std::integral_constant<int, 2>{}, begin); break;
      case 3: body(std::integral_constant<int, 3>{}, begin); break;
      case 4: body(std::integral_constant<int, 4>{}, begin); break;
      default: body(std::integral_constant<int, 5>{}, begin);
    }
  }
}

// One path on the edges of a portion: where its operands begin, and how far apart they are.
template <class T>
struct PathRows {
  const UVUPath& p;
  const T* const* x;  // blocks of x at the senders
  const T* const* w;
  const T* M;  // (edges, ld), each (i, k)
  int64_t edges, ld;
};

// z_k += sum_e sum_i M_ik (w x_i) for K components and the channels c..c+count.
template <class T, int K, class N>
void push(const PathRows<T>& r, int64_t k0, int64_t c, int64_t count, T* z) {
  const int64_t C = r.p.mul;
  N sum[K];
  for (int k = 0; k < K; k++) sum[k] = N::read(z + (k0 + k) * C + c, count);
  for (int64_t e = 0; e < r.edges; e++) {
    const N w = N::read(r.w[e] + c, count);
    const T* M = r.M + e * r.ld + k0;
    for (int64_t i = 0; i < r.p.i; i++) {
      const N u = N::read(r.x[e] + i * C + c, count) * w;
      for (int k = 0; k < K; k++) sum[k] += M[i * r.p.k + k] * u;
    }
  }
  for (int k = 0; k < K; k++) sum[k].write(z + (k0 + k) * C + c, count);
}

// back_i = sum_k M_ik g_k for the channels c..; dw += x_i back_i, dx_i += w back_i (null: not wanted).
template <class T, int K, class N>
void pull(const PathRows<T>& r, int64_t k0, int64_t c, int64_t count, const T* g, T* const* dx,
                            T* const* dw) {
  const int64_t C = r.p.mul;
  N slope[K];
  for (int k = 0; k < K; k++) slope[k] = N::read(g + (k0 + k) * C + c, count);
  for (int64_t e = 0; e < r.edges; e++) {
    const T* M = r.M + e * r.ld + k0;
    N by_weight = N::zero(), w = N::zero();
    if (dx) w = N::read(r.w[e] + c, count);
    for (int64_t i = 0; i < r.p.i; i++) {
      N back = M[i * r.p.k] * slope[0];
      for (int k = 1; k < K; k++) back += M[i * r.p.k + k] * slope[k];
      if (dw) by_weight += N::read(r.x[e] + i * C + c, count) * back;
      if (dx) (w * back).add_to(dx[e] + i * C + c, count);
    }
    if (dw) by_weight.add_to(dw[e] + c, count);
  }
}

// dM_ik += sum_c w x_i g_k of one edge, for K components.
template <class T, int K, class N>
void moment(const PathRows<T>& r, int64_t e, int64_t k0, const T* g, T* dM) {
  const int64_t C = r.p.mul;
  for (int64_t i = 0; i < r.p.i; i++) {
    N sum[K];
    for (int k = 0; k < K; k++) sum[k] = N::zero();
    for (int64_t c = 0; c < C; c += N::size) {
      const int64_t count = std::min<int64_t>(N::size, C - c);
      const N u = N::read(r.x[e] + i * C + c, count) * N::read(r.w[e] + c, count);
      for (int k = 0; k < K; k++) sum[k] += u * N::read(g + (k0 + k) * C + c, count);
    }
    for (int k = 0; k < K; k++) {
      T lanes[N::size], total = 0;
      sum[k].write(lanes, N::size);
      for (int l = 0; l < N::size; l++) total += lanes[l];
      dM[i * r.p.k + k0 + k] += total;
    }
  }
}

template <class T, class F>
EQUITENSOR_INLINE void over_channels(int64_t C, const F& body) {
  using N = Block<T, 2>;
  for (int64_t c = 0; c < C; c += N::size) body(c, std::min<int64_t>(N::size, C - c));
}

// The edges of nodes first..last in portions, path by path, with their matrices M for y and, where given, a tangent.
template <class T>
struct UVUPass {
  const UVUConvolution<T>& v;
  Scratch<T> scratch;
  T *M, *tM, *dM, *filters;
  const T *x[PORTION], *w[PORTION], *tx[PORTION], *tw[PORTION];
  T *dx[PORTION], *dw[PORTION];

  static EQUITENSOR_INLINE int64_t matrix(const UVUConvolution<T>& v) {
    int64_t most = 1;
    for (const UVUPath& p : v.paths) most = std::max(most, padded<T>(p.i * p.k));
    return most;
  }
  explicit UVUPass(const UVUConvolution<T>& all)
      : v(all), scratch(PORTION * (3 * matrix(all) + all.width_y)) {
    M = scratch.take(PORTION * matrix(v));
    tM = scratch.take(PORTION * matrix(v));
    dM = scratch.take(PORTION * matrix(v));
    filters = scratch.take(PORTION * v.width_y);
  }

  // M (edges, ld) of the portion's edges for one path.
  EQUITENSOR_INLINE void fold(const UVUPath& p, int64_t path, const T* y, const int64_t* edges, int64_t count, T* into) {
    for (int64_t e = 0; e < count; e++)
      for (int64_t j = 0; j < p.j; j++) filters[e * p.j + j] = y[edges[e] * v.width_y + p.y + j];
    const int64_t ld = padded<T>(p.i * p.k);
    multiply(count, ld, p.j, filters, p.j, 1, v.coupling[path].data(), ld, into, ld, false);
  }

  // dy of the portion's edges from dM.
  EQUITENSOR_INLINE void unfold(const UVUPath& p, int64_t path, const int64_t* edges, int64_t count, T* dy) {
    const int64_t ld = padded<T>(p.i * p.k);
    for (int64_t e = 0; e < count; e++)
      for (int64_t j = 0; j < p.j; j++) {
        T sum = 0;
        const T* coupling = v.coupling[path].data() + j * ld;
        for (int64_t a = 0; a < p.i * p.k; a++) sum += coupling[a] * dM[e * ld + a];
        dy[edges[e] * v.width_y + p.y + j] += sum;
      }
  }

  template <class F>
  EQUITENSOR_INLINE void portions(int64_t node, const F& body) {
    for (int64_t at = v.start[node]; at < v.start[node + 1]; at += PORTION)
      body(v.order + at, std::min<int64_t>(PORTION, v.start[node + 1] - at));
  }

  EQUITENSOR_INLINE void rows(const UVUPath& p, const int64_t* edges, int64_t count, const UVUArrays<T>& at) {
    for (int64_t e = 0; e < count; e++) {
      const int64_t from = v.sender[edges[e]] * v.width_x + p.x, weight = edges[e] * v.width_w + p.w;
      x[e] = at.x + from;
      w[e] = at.w + weight;
      tx[e] = at.h_x ? at.h_x + from : nullptr;
      tw[e] = at.h_w ? at.h_w + weight : nullptr;
      dx[e] = at.dx ? at.dx + from : nullptr;
      dw[e] = at.dw ? at.dw + weight : nullptr;
    }
  }
};

// z of nodes first..last, added to what is there.
template <class T>
void uvu_values(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  using N = Block<T, 2>;
  UVUPass<T> pass(v);
  for (int64_t node = first; node < last; node++)
    pass.portions(node, [&](const int64_t* edges, int64_t count) EQUITENSOR_LAMBDA {
      for (size_t n = 0; n < v.paths.size(); n++) {
        const UVUPath& p = v.paths[n];
        pass.fold(p, n, at.y, edges, count, pass.M);
        pass.rows(p, edges, count, at);
        const PathRows<T> r{p, pass.x, pass.w, pass.M, count, padded<T>(p.i * p.k)};
        T* z = at.dz + node * v.width_z + p.z;
        over_channels<T>(p.mul, [&](int64_t c, int64_t channels) EQUITENSOR_LAMBDA {
          in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA { push<T, K(), N>(r, k0, c, channels, z); });
        });
      }
    });
}

// The gradients in x, y and w for the slope g, added to what is there; null where not wanted.
template <class T>
void uvu_gradients(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  using N = Block<T, 2>;
  UVUPass<T> pass(v);
  for (int64_t node = first; node < last; node++)
    pass.portions(node, [&](const int64_t* edges, int64_t count) EQUITENSOR_LAMBDA {
      for (size_t n = 0; n < v.paths.size(); n++) {
        const UVUPath& p = v.paths[n];
        const int64_t ld = padded<T>(p.i * p.k);
        pass.fold(p, n, at.y, edges, count, pass.M);
        pass.rows(p, edges, count, at);
        const PathRows<T> r{p, pass.x, pass.w, pass.M, count, ld};
        const T* g = at.g + node * v.width_z + p.z;
        if (at.dx || at.dw)
          over_channels<T>(p.mul, [&](int64_t c, int64_t channels) EQUITENSOR_LAMBDA {
            in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA {
              pull<T, K(), N>(r, k0, c, channels, g, at.dx ? pass.dx : nullptr, at.dw ? pass.dw : nullptr);
            });
          });
        if (at.dy) {
          std::fill(pass.dM, pass.dM + count * ld, T(0));
          for (int64_t e = 0; e < count; e++)
            in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA { moment<T, K(), N>(r, e, k0, g, pass.dM + e * ld); });
          pass.unfold(p, n, edges, count, at.dy);
        }
      }
    });
}

// With Q the derivative of <g, z> along (h_x, h_y, h_w), null where zero: dQ/dg, dQ/dx, dQ/dy, dQ/dw, all added.
template <class T>
void uvu_tangents(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  using N = Block<T, 2>;
  UVUPass<T> pass(v);
  for (int64_t node = first; node < last; node++)
    pass.portions(node, [&](const int64_t* edges, int64_t count) EQUITENSOR_LAMBDA {
      for (size_t n = 0; n < v.paths.size(); n++) {
        const UVUPath& p = v.paths[n];
        const int64_t ld = padded<T>(p.i * p.k);
        pass.fold(p, n, at.y, edges, count, pass.M);
        if (at.h_y) pass.fold(p, n, at.h_y, edges, count, pass.tM);
        pass.rows(p, edges, count, at);
        const PathRows<T> moved_x{p, pass.tx, pass.w, pass.M, count, ld}, moved_w{p, pass.x, pass.tw, pass.M, count, ld};
        const PathRows<T> moved_y{p, pass.x, pass.w, pass.tM, count, ld};
        const T* g = at.g + node * v.width_z + p.z;
        T* dz = at.dz + node * v.width_z + p.z;
        over_channels<T>(p.mul, [&](int64_t c, int64_t channels) EQUITENSOR_LAMBDA {
          in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA {
            if (at.h_x) push<T, K(), N>(moved_x, k0, c, channels, dz);
            if (at.h_w) push<T, K(), N>(moved_w, k0, c, channels, dz);
            if (at.h_y) push<T, K(), N>(moved_y, k0, c, channels, dz);
            // S(h_x, y, w, g) by w; S(x, h_y, w, g) by x and w; S(x, y, h_w, g) by x
            if (at.h_x) pull<T, K(), N>(moved_x, k0, c, channels, g, nullptr, pass.dw);
            if (at.h_y) pull<T, K(), N>(moved_y, k0, c, channels, g, pass.dx, pass.dw);
            if (at.h_w) pull<T, K(), N>(moved_w, k0, c, channels, g, pass.dx, nullptr);
          });
        });
        if (!at.h_x && !at.h_w) continue;
        std::fill(pass.dM, pass.dM + count * ld, T(0));
        for (int64_t e = 0; e < count; e++)
          in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA {
            if (at.h_x) moment<T, K(), N>(moved_x, e, k0, g, pass.dM + e * ld);
            if (at.h_w) moment<T, K(), N>(moved_w, e, k0, g, pass.dM + e * ld);
          });
        pass.unfold(p, n, edges, count, at.dy);
      }
    });
}
