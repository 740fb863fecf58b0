// What one path adds at some channels of a portion of edges: to z, to the gradients, to their changes. Included once
// per instruction set, before uvu_convolution.inl, which says what M, G and t are.

constexpr int64_t PORTION = 32;  // edges of a node that go through together

// Calls body(integral_constant K, offset) for ranges of the k components, none longer than `most`.
template <int most, class F>
EQUITENSOR_INLINE void in_pieces(int64_t k, const F& body) {
  const int64_t pieces = (k + most - 1) / most;
  for (int64_t piece = 0; piece < pieces; piece++) {
    const int64_t begin = k * piece / pieces, size = k * (piece + 1) / pieces - begin;
    switch (size) {
      case 1: body(std::integral_constant<int, 1>{}, begin); break;
      case 2: body(std::integral_constant<int, 2>{}, begin); break;
      case 3: body(std::integral_constant<int, 3>{}, begin); break;
      case 4: body(std::integral_constant<int, 4>{}, begin); break;
      default: body(std::integral_constant<int, most>{}, begin);
    }
  }
}

// The rows of a portion's edges; what is absent reads zeros.
template <class T>
struct EdgeRows {
  int64_t count = 0;
  const T *x[PORTION], *y[PORTION], *w[PORTION], *h_x[PORTION], *h_y[PORTION], *h_w[PORTION];
  T *dx[PORTION], *dw[PORTION];
};

// Rows of the next portion on their way into the cache, some lines with every edge of this one, one row after the other:
// requests that come all at once would have to wait for each other.
template <class T>
struct Ahead {
  static constexpr int64_t line = 64 / sizeof(T);
  const T* const* rows;
  int64_t count, width, lines, row = 0, at = 0;

  Ahead(const T* const* which, int64_t rows_, int64_t width_, int64_t steps)
      : rows(which), count(rows_), width(width_), lines((count * (width / line + 1) + steps - 1) / steps) {}
  EQUITENSOR_INLINE void fetch() {
    for (int64_t l = 0; l < lines && row < count; l++) {
      __builtin_prefetch(rows[row] + at, 0, 3);
      at += line;
      if (at >= width) at = 0, row++;
    }
  }
};

// One path at the channels c .. of one portion, of which `channels` exist.
template <class T>
struct PathPiece {
  const UVUPath& p;
  const EdgeRows<T>& rows;
  Ahead<T>&w, &h_w;
  bool scalar;  // M is a multiple of one
  bool streams_dw;
  const T *M, *tM;  // (edges, ld), each (i, k)
  int64_t ld, c, channels;
};

// z_k += sum_e sum_i M_ik (w x_i) for K components.
template <class T, int K, class N>
void push(const PathPiece<T>& at, int64_t k0, T* z) {
  const int64_t C = at.p.lanes, I = at.p.i, ld = at.p.k, edges = at.rows.count;
  const int64_t from_w = at.p.w + at.c, from_x = at.p.last_x + at.c;
  z += at.p.last_z + k0 * C + at.c;
  N sum[K];
  for (int k = 0; k < K; k++) sum[k] = N::read(z + k * C, N::size);
  for (int64_t e = 0; e < edges; e++) {
    at.w.fetch();
    const T *x = at.rows.x[e] + from_x, *M = at.M + e * at.ld + k0;
    const N w = N::read(at.rows.w[e] + from_w, at.channels);
    if (at.scalar) {
      const N factor = M[k0 * (ld - 1) + k0] * w;
      for (int k = 0; k < K; k++) sum[k] += factor * N::read(x + (k0 + k) * C, N::size);
    } else if (K <= 2) {  // few sums: products with w last, for more that is independent of each other
      N part[K];
      for (int k = 0; k < K; k++) part[k] = N::zero();
      for (int64_t i = 0; i < I; i++) {
        const N u = N::read(x + i * C, N::size);
        for (int k = 0; k < K; k++) part[k] += M[i * ld + k] * u;
      }
      for (int k = 0; k < K; k++) sum[k] += w * part[k];
    } else {
      for (int64_t i = 0; i < I; i++) {
        const N u = N::read(x + i * C, N::size) * w;
        for (int k = 0; k < K; k++) sum[k] += M[i * ld + k] * u;
      }
    }
  }
  for (int k = 0; k < K; k++) sum[k].write(z + k * C, N::size);
}

// The tangent of z: z_k += sum_e sum_i M_ik (h_w x_i + w h_x,i) + tM_ik w x_i.
template <class T, int K, class N>
void push_tangent(const PathPiece<T>& at, int64_t k0, T* z) {
  const int64_t C = at.p.lanes, I = at.p.i, ld = at.p.k, edges = at.rows.count;
  const int64_t from_w = at.p.w + at.c, from_x = at.p.last_x + at.c;
  z += at.p.last_z + k0 * C + at.c;
  N sum[K];
  for (int k = 0; k < K; k++) sum[k] = N::read(z + k * C, N::size);
  for (int64_t e = 0; e < edges; e++) {
    at.w.fetch(), at.h_w.fetch();
    const T *x = at.rows.x[e] + from_x, *h_x = at.rows.h_x[e] + from_x;
    const T *M = at.M + e * at.ld + k0, *tM = at.tM + e * at.ld + k0;
    const N w = N::read(at.rows.w[e] + from_w, at.channels), h_w = N::read(at.rows.h_w[e] + from_w, at.channels);
    if (at.scalar) {
      const int64_t one = k0 * (ld - 1) + k0;
      const N factor = M[one] * h_w + tM[one] * w, moved = M[one] * w;
      for (int k = 0; k < K; k++) {
        sum[k] += factor * N::read(x + (k0 + k) * C, N::size);
        sum[k] += moved * N::read(h_x + (k0 + k) * C, N::size);
      }
    } else {
      for (int64_t i = 0; i < I; i++) {
        const N here = N::read(x + i * C, N::size), v = w * here, u = h_w * here + w * N::read(h_x + i * C, N::size);
        for (int k = 0; k < K; k++) {
          sum[k] += M[i * ld + k] * u;
          sum[k] += tM[i * ld + k] * v;
        }
      }
    }
  }
  for (int k = 0; k < K; k++) sum[k].write(z + k * C, N::size);
}

// What the functions below read: one register of channels, with G_ij of two registers side by side.
template <class T>
EQUITENSOR_INLINE vec<T> read(const T* p, int64_t count) {
  return Block<T, 1>::read(p, count).part[0];
}
template <class T>
EQUITENSOR_INLINE void write(T* p, vec<T> value, int64_t count, bool streams) {
  if (streams && count == Simd<T>::width) return stream(p, value);
  Block<T, 1>{{value}}.write(p, count);
}
template <class T>
EQUITENSOR_INLINE void add(T* p, vec<T> value) {
  store(p, load(p) + value);
}

// Up to five components j of a path: where its weights and these components lie, and its G_ij. `more`: not the first;
// `whole`: all there are.
struct PullStep {
  int64_t w, y, j, G, ld;
  bool more, whole;
};

// Paths that read the same block of x, as many as have their G in the first cache together.
struct PullGroup {
  int64_t last_x, i, lanes, mul, size_of_G;
  std::vector<size_t> paths;
  std::vector<int64_t> G;  // of each
  std::vector<PullStep> steps;
};

// A register of channels c .. of a group in one portion, of which `channels` exist.
template <class T>
struct GroupPiece {
  const PullGroup& group;
  const EdgeRows<T>& rows;
  Ahead<T>& w;
  int64_t c, channels;
  const T* G;
  T* gradients;  // (edges, width, lanes)
  int64_t width;
  bool streams_dw;
};

// dx_i += w sum_j y_j G_ij; dw = sum_j y_j t_j; gradients_j += w t_j, lane by lane, for J components j of a path. x, dx:
// I registers of an edge; where I is 0, memory.
template <class T, int I, int J, bool to_x, bool to_yw>
EQUITENSOR_INLINE void pull(const GroupPiece<T>& at, const PullStep& step, int64_t e, const T* in_x, T* out,
                            const vec<T> (&x)[I + 1], vec<T> (&dx)[I + 1]) {
  constexpr int W = Simd<T>::width;
  const int64_t stride = at.group.lanes, count = I ? I : at.group.i;
  const T *G = at.G + step.G, *in_y = at.rows.y[e] + step.y;
  const vec<T> w = read(at.rows.w[e] + at.c + step.w, at.channels);
  vec<T> t[J], y[J];
#pragma GCC unroll 5
  for (int j = 0; j < J; j++) t[j] = vec<T>{}, y[j] = splat(in_y[j]);
#pragma GCC unroll 7
  for (int64_t i = 0; i < count; i++) {
    vec<T> here{}, back{};
    if (to_yw) here = I ? x[I ? i : 0] : load(in_x + i * stride);
#pragma GCC unroll 5
    for (int j = 0; j < J; j++) {
      const vec<T> g = load(G + i * step.ld + j * 2 * W);
      if (to_yw) t[j] += here * g;
      if (to_x) back += y[j] * g;
    }
    if (to_x && I) dx[I ? i : 0] += w * back;
    if (to_x && !I) add(out + i * stride, w * back);
  }
  if (!to_yw) return;
  T *gradient = at.gradients + (e * at.width + step.y) * W, *dw = at.rows.dw[e] + at.c + step.w;
  vec<T> total = y[0] * t[0];
#pragma GCC unroll 5
  for (int j = 1; j < J; j++) total += y[j] * t[j];
#pragma GCC unroll 5
  for (int j = 0; j < J; j++) add(gradient + j * W, w * t[j]);
  if (step.more) total += read(dw, at.channels);
  write(dw, total, at.channels, at.streams_dw && step.whole);
}

// All steps of a group, with I = 2 l1 + 1 where it is known, else 0.
template <class T, int I, bool to_x, bool to_yw>
void pull_group(const GroupPiece<T>& at) {
  const int64_t stride = at.group.lanes, from_x = at.group.last_x + at.c;
  for (int64_t e = 0; e < at.rows.count; e++) {
    const T* in_x = at.rows.x[e] + from_x;
    T* out = at.rows.dx[e] + from_x;
    vec<T> x[I + 1], dx[I + 1];
#pragma GCC unroll 7
    for (int i = 0; i < I; i++) {
      if (to_yw) x[i] = load(in_x + i * stride);
      if (to_x) dx[i] = load(out + i * stride);
    }
    for (const PullStep& step : at.group.steps) {
      at.w.fetch();
      switch (step.j) {
        case 1: pull<T, I, 1, to_x, to_yw>(at, step, e, in_x, out, x, dx); break;
        case 2: pull<T, I, 2, to_x, to_yw>(at, step, e, in_x, out, x, dx); break;
        case 3: pull<T, I, 3, to_x, to_yw>(at, step, e, in_x, out, x, dx); break;
        case 4: pull<T, I, 4, to_x, to_yw>(at, step, e, in_x, out, x, dx); break;
        default: pull<T, I, 5, to_x, to_yw>(at, step, e, in_x, out, x, dx);
      }
    }
#pragma GCC unroll 7
    for (int i = 0; i < I; i++)
      if (to_x) store(out + i * stride, dx[i]);
  }
}

// The tangents of dw and of the other gradients.
template <class T, int J>
void pull_tangent_yw(const PathPiece<T>& at, int64_t j0, const T* G, T* gradients, int64_t width) {
  constexpr int W = Simd<T>::width;
  const int64_t C = at.p.lanes, I = at.p.i, ld = at.p.j * 2 * W, edges = at.rows.count, channels = at.channels;
  const int64_t from_w = at.p.w + at.c, from_x = at.p.last_x + at.c, from_y = at.p.y + j0;
  G += j0 * 2 * W;
  for (int64_t e = 0; e < edges; e++) {
    const T *x = at.rows.x[e] + from_x, *h_x = at.rows.h_x[e] + from_x;
    vec<T> t[J], s[J];
    for (int j = 0; j < J; j++) t[j] = s[j] = vec<T>{};
    for (int64_t i = 0; i < I; i++) {
      const vec<T> here = load(x + i * C), moved = load(h_x + i * C);
      for (int j = 0; j < J; j++) {
        const vec<T> g = load(G + i * ld + j * 2 * W);
        t[j] += here * g;
        s[j] += moved * g;
      }
    }
    const T *y = at.rows.y[e] + from_y, *h_y = at.rows.h_y[e] + from_y;
    const vec<T> w = read(at.rows.w[e] + from_w, channels), h_w = read(at.rows.h_w[e] + from_w, channels);
    T *gradient = gradients + (e * width + from_y) * W, *dw = at.rows.dw[e] + from_w;
    vec<T> total{};
    for (int j = 0; j < J; j++) {
      total += splat(y[j]) * s[j];
      total += splat(h_y[j]) * t[j];
    }
    for (int j = 0; j < J; j++) add(gradient + j * W, w * s[j] + h_w * t[j]);
    if (j0) total += read(dw, channels);
    write(dw, total, channels, at.streams_dw && J == at.p.j);
  }
}

// The tangent of dx: h_w sum_j y_j G_ij + w sum_j h_y,j G_ij.
template <class T, int J>
void pull_tangent_x(const PathPiece<T>& at, int64_t j0, const T* G) {
  constexpr int W = Simd<T>::width;
  const int64_t C = at.p.lanes, I = at.p.i, ld = at.p.j * 2 * W, edges = at.rows.count, channels = at.channels;
  const int64_t from_w = at.p.w + at.c, from_x = at.p.last_x + at.c, from_y = at.p.y + j0;
  G += j0 * 2 * W;
  for (int64_t e = 0; e < edges; e++) {
    const vec<T> w = read(at.rows.w[e] + from_w, channels), h_w = read(at.rows.h_w[e] + from_w, channels);
    T* dx = at.rows.dx[e] + from_x;
    vec<T> y[J], h_y[J];
    for (int j = 0; j < J; j++) y[j] = splat(at.rows.y[e][from_y + j]), h_y[j] = splat(at.rows.h_y[e][from_y + j]);
    for (int64_t i = 0; i < I; i++) {
      vec<T> by_y{}, by_h{};
      for (int j = 0; j < J; j++) {
        const vec<T> g = load(G + i * ld + j * 2 * W);
        by_y += y[j] * g;
        by_h += h_y[j] * g;
      }
      add(dx + i * C, h_w * by_y + w * by_h);
    }
  }
}
